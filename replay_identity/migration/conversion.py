"""Users as a vendor shows them, made into users as every vendor can be told of them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast, get_args

import attrs

from .._values import is_nested
from ..adapters.protocols import StoredUser
from ..errors import InvalidTraitsError
from ..mapping import CompiledMapping, RowMapping
from ..sources import BadRow, Row
from ..traits import EMAIL_KEYS, NAME_KEYS, USER_ID_KEYS, TraitType, UserTraits

_VENDOR_ID: Final = "vendor_id"
# What a mapping finds, or would take for, the user's own fields; a trait of such a name it finds under `_ASIDE` and it.
_TAKEN: Final = frozenset({*USER_ID_KEYS, *NAME_KEYS, *EMAIL_KEYS, _VENDOR_ID})
_ASIDE: Final = "traits."
_KNOWN: Final[Mapping[str, TraitType]] = {name: name for name in get_args(TraitType)}


def _plan_of(conversion: "Conversion") -> CompiledMapping | None:
    return None if conversion.mapping is None else CompiledMapping.compile(conversion.mapping)


def _names_after(conversion: "Conversion") -> Mapping[str, str]:
    if conversion.mapping is None:
        return {}
    return {path: rule.rename for path, rule in conversion.mapping.fields.items() if rule.rename is not None}


@attrs.frozen
class Conversion:
    """How a vendor's users become rows.

    In a mapping, ``user_id``, ``name``, ``email`` and ``vendor_id`` are the user's own fields, and every other path is
    a trait's; ``traits.NAME`` is a trait that has the name of an own field.

    Attributes:
        mapping: What is made of their fields, or None.
    """

    mapping: RowMapping | None = None
    _plan: CompiledMapping | None = attrs.field(
        init=False, repr=False, default=attrs.Factory(_plan_of, takes_self=True)
    )
    _renamed: Mapping[str, str] = attrs.field(
        init=False, repr=False, default=attrs.Factory(_names_after, takes_self=True)
    )

    def row(self, stored: StoredUser, number: int, moment: datetime | None = None) -> Row | BadRow:
        """Return *stored*, who was asked for at that *moment*, as row *number*; who has no id stays anonymous."""
        try:
            return Row(number, self._user(stored, moment))
        except InvalidTraitsError as error:
            return BadRow(number, number, str(error))

    def _user(self, stored: StoredUser, moment: datetime | None) -> UserTraits:
        types = _types(stored)
        traits = _typed(stored.traits, types, "")
        if self._plan is None:
            return UserTraits(
                stored.user_id,
                name=stored.name,
                email=stored.email,
                traits=traits,
                types=types,
                observed_at=moment,
            )
        aside = {name: f"{_ASIDE}{name}" for name in traits if name in _TAKEN}
        row = {aside.get(name, name): value for name, value in traits.items()}
        user = self._plan.to_user({**row, **self._own(stored)})
        names = {given: name for name, given in aside.items()}
        return attrs.evolve(
            user,
            traits={names.get(name, name): value for name, value in user.traits.items()},
            types={**{self._path(path): declared for path, declared in types.items()}, **user.types},
            observed_at=user.observed_at or moment,
        )

    def _own(self, stored: StoredUser) -> dict[str, Any]:
        """Return the user's own fields as a row has them."""
        own = {"user_id": stored.user_id, "name": stored.name, "email": stored.email}
        return {**own, _VENDOR_ID: stored.vendor_id} if self._wants_vendor_id(stored) else own

    def _wants_vendor_id(self, stored: StoredUser) -> bool:
        """Tell whether the mapping has a place for the vendor's id of this user; as an id it is for who has none."""
        if self.mapping is None or _VENDOR_ID not in {*self.mapping.fields, *self.mapping.user_fields.values()}:
            return False
        return stored.user_id is None or self._renamed.get(_VENDOR_ID) not in USER_ID_KEYS

    def _path(self, path: str) -> str:
        """Return the *path* of a trait as the mapping renames it, or what it is in."""
        for old, new in self._renamed.items():
            if path == old or path.startswith(f"{old}."):
                return new + path[len(old) :]
        return path


def _types(stored: StoredUser) -> dict[str, TraitType]:
    """Return the types that the vendor declares and knows one of; of a trait seen with several, none is right."""
    return {
        path: _KNOWN[declared]
        for path, declared in stored.types.items()
        if isinstance(declared, str) and declared in _KNOWN and path not in stored.type_conflicts
    }


def _typed(traits: Mapping[str, Any], types: Mapping[str, str], parents: str) -> dict[str, Any]:
    """Return *traits* with each number as what it is declared to be: JSON has one kind of number."""
    return {name: _value(value, types, parents + name) for name, value in traits.items()}


def _value(value: Any, types: Mapping[str, str], path: str) -> Any:  # noqa: ANN401  # Of JSON.
    if is_nested(value):
        return _typed(value, types, f"{path}.")
    declared = types.get(path, "")
    if declared not in _NUMBERS:
        return value
    if isinstance(value, list):
        return [_number(item, declared) for item in cast("list[object]", value)]
    return _number(value, declared)


_NUMBERS: Final = frozenset({"int", "ints", "real", "reals"})


def _number(value: object, declared: str) -> object:
    """Return *value* as a number of the *declared* type, where that is the same number."""
    if declared.startswith("int"):
        return int(value) if type(value) is float and value.is_integer() else value
    return float(value) if type(value) is int and float(value) == value else value
