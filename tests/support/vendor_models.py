"""What each vendor should hold after a user was sent, written from the vendors' documents and not from the adapters."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final, TypeAlias, TypeGuard

import attrs
import orjson
from support.in_process import World

from replay_identity import REMOVE, UserTraits

# What a vendor holds of one user, by field; as JSON text, because 1 == 1.0 == True in Python.
Fields: TypeAlias = Mapping[str, Any]
LOGROCKET_MAXIMUM: Final = 1024


class RefusedError(Exception):
    """The user breaks a rule of the vendor, so nothing is sent."""


@attrs.frozen
class RouteModel:
    """Which traits a route lets through, by top-level name, and under which name."""

    only: frozenset[str] | None = None
    exclude: frozenset[str] = frozenset()
    rename: tuple[tuple[str, str], ...] = ()

    def apply(self, user: UserTraits) -> tuple[dict[str, str], dict[str, Any]]:
        """Return the user's own fields and traits that pass.

        Raises:
            RefusedError: Two traits would have one name.
        """
        own = {name: getattr(user, name) for name in ("name", "email") if getattr(user, name) is not None}
        own = {name: text for name, text in own.items() if self._allows(name)}
        traits: dict[str, Any] = {}
        for name, value in user.traits.items():
            if self._allows(name):
                new_name = dict(self.rename).get(name, name)
                if new_name in traits:
                    raise RefusedError
                traits[new_name] = value
        return own, traits

    def _allows(self, name: str) -> bool:
        """Return True if *name*, or what it is nested in by its dots, may pass."""
        parts = name.split(".")
        parents = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
        return (self.only is None or bool(parents & self.only)) and not parents & self.exclude


@attrs.define
class VendorModel(ABC):
    """The fields of each user at one vendor: always the value of the newest user sent that named the field."""

    users: dict[str, dict[str, Any]] = attrs.field(factory=dict[str, dict[str, Any]])

    def send(self, user: UserTraits, route: RouteModel, *, adapt: bool) -> None:
        """Apply *user*.

        Raises:
            RefusedError: The user breaks a rule; then nothing changes.
        """
        own, traits = route.apply(user)
        encoded = self.encode(own, traits, adapt=adapt)
        fields = self.users.setdefault(user.user_id or "", {})
        for name, value in encoded.items():
            if value is None:
                for known in [known for known in fields if known == name or known.startswith(f"{name}.")]:
                    del fields[known]
        fields.update({name: value for name, value in encoded.items() if value is not None})

    def differences(self, world: World) -> list[str]:
        """Return the users and fields that the emulator holds otherwise, with both values."""
        found: list[str] = []
        for user_id, expected in self.users.items():
            stored = {name: _text(value) for name, value in self.stored(world, user_id).items()}
            wanted = {name: _text(value) for name, value in expected.items()}
            found.extend(
                f"{user_id} {name}: the vendor has {stored.get(name)}, not {wanted.get(name)}"
                for name in sorted(stored.keys() | wanted.keys())
                if stored.get(name) != wanted.get(name)
            )
        return found

    @abstractmethod
    def encode(self, own: Mapping[str, str], traits: Mapping[str, Any], *, adapt: bool) -> Fields:
        """Return the fields that the vendor should hold; None for a field, and all below it, to remove."""

    @abstractmethod
    def stored(self, world: World, user_id: str) -> Fields:
        """Return the fields that the emulator holds of one user."""


class LogRocketModel(VendorModel):
    """Strings under flat names; name and e-mail address are fields of their own, even among the traits."""

    def encode(self, own: Mapping[str, str], traits: Mapping[str, Any], *, adapt: bool) -> Fields:
        """Return a name, an e-mail address and ``traits.`` with the dotted name."""
        fields: dict[str, Any] = dict(own)
        for path, value in leaves(traits):
            name = ".".join(path)
            if name in {"name", "email"}:
                if fields.get(name, value) != value:
                    raise RefusedError
                fields[name] = value
                continue
            if f"traits.{name}" in fields:
                raise RefusedError
            fields[f"traits.{name}"] = self._value(value, adapt=adapt)
        return fields

    def _value(self, value: Any, *, adapt: bool) -> str | None:
        if value is REMOVE or value == "":
            return None
        text = _as_javascript(value)
        if len(text) > LOGROCKET_MAXIMUM and not adapt:
            raise RefusedError
        return text[:LOGROCKET_MAXIMUM]

    def stored(self, world: World, user_id: str) -> Fields:
        """Return the fields of the emulated user."""
        user = world.logrocket.users.get(user_id)
        if user is None:
            return {}
        own = {name: value for name, value in (("name", user.name), ("email", user.email)) if value is not None}
        return own | {f"traits.{name}": value for name, value in user.traits.items()}


class FullstoryModel(VendorModel):
    """Typed properties; with *adapt*, a character that is not allowed in a name becomes an underscore."""

    def encode(self, own: Mapping[str, str], traits: Mapping[str, Any], *, adapt: bool) -> Fields:
        """Return ``display_name``, ``email`` and each property with its type."""
        names = {"name": "display_name", "email": "email"}
        fields: dict[str, Any] = {names[name]: text for name, text in own.items()}
        for path, value in leaves(self._renamed(traits, adapt=adapt)):
            fields[f"properties.{'.'.join(path)}"] = _typed(value)
        return fields

    def _renamed(self, traits: Mapping[str, Any], *, adapt: bool) -> dict[str, Any]:
        renamed: dict[str, Any] = {}
        for name, value in traits.items():
            new_name = re.sub("[^A-Za-z0-9_]", "_", name)
            if (new_name != name and not adapt) or new_name in renamed:
                raise RefusedError
            renamed[new_name] = self._renamed(value, adapt=adapt) if is_mapping(value) else value
        return renamed

    def stored(self, world: World, user_id: str) -> Fields:
        """Return the fields of the emulated user, with the types of the newest payload that named each."""
        user = world.fullstory.by_uid(user_id)
        if user is None:
            return {}
        own = {"display_name": user.display_name, "email": user.email}
        fields: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
        types = self._newest_types(world.fullstory.history(user_id))
        for path, value in leaves(user.properties):
            name = ".".join(path)
            fields[f"properties.{name}"] = [value, types[name]]
        return fields

    def _newest_types(self, history: Sequence[Any]) -> dict[str, str]:
        types: dict[str, str] = {}
        for payload in history:
            declared: Any = payload.get("schema", {}).get("properties", {})
            for path, value in leaves(payload.get("properties", {})):
                name = ".".join(path)
                types[name] = declared.get(name) or _inferred(value)
        return types


def leaves(traits: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each value that is not nested, with its path."""
    for name, value in traits.items():
        if is_mapping(value):
            for path, leaf in leaves(value):
                yield (name, *path), leaf
        else:
            yield (name,), value


def is_mapping(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Return True if *value* is nested."""
    return isinstance(value, dict)


def merged(older: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, Any]:
    """Return *older* traits updated with *newer* ones, name by name."""
    result = dict(older)
    for name, value in newer.items():
        known = result.get(name)
        result[name] = merged(known, value) if is_mapping(known) and is_mapping(value) else value
    return result


def _inferred(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    return "str" if isinstance(value, str) else "real"


def _typed(value: Any) -> list[Any]:
    match value:
        case bool():
            return [value, "bool"]
        case int():
            return [value, "int"]
        case float():
            return [value, "real"]
        case date():
            return [value.isoformat(), "date"]
        case _:
            return [value, "str"]


def _as_javascript(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()
