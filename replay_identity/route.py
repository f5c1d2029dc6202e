"""Which users, and which of their traits, one backend gets."""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import attrs

from .backend import IdentityBackend, Plan
from .errors import ConfigurationError, printable
from .exchange import Exchange
from .model import TraitType, UserTraits
from .outcome import Outcome, Rejected, Skipped, Violation
from .values import is_nested


class CollisionError(Exception):
    """Two traits of one user would have the same name."""


def _check_names(_instance: object, attribute: "attrs.Attribute[Any]", names: AbstractSet[str] | None) -> None:
    if isinstance(names, str):
        raise ConfigurationError(
            attribute.name, "is one string", f'write {attribute.name}={{"..."}} for a set of names'
        )


@attrs.frozen
class Route:
    """A backend, and what it may see.

    Names are a trait's, dotted with its parents' for a nested one; ``name`` and ``email`` are the user's own fields.

    Attributes:
        backend: The backend.
        when: Tells whether this user goes to the backend at all.
        only: The names that may be sent, with all that is nested in them; None for all.
        exclude: The names that may not be sent, with all that is nested in them.
        rename: New names by old name; a nested trait stays where it is nested.
    """

    backend: IdentityBackend
    when: Callable[[UserTraits], bool] | None = attrs.field(default=None, kw_only=True)
    only: AbstractSet[str] | None = attrs.field(default=None, kw_only=True, validator=_check_names)
    exclude: AbstractSet[str] = attrs.field(default=frozenset[str](), kw_only=True, validator=_check_names)
    rename: Mapping[str, str] = attrs.field(factory=dict[str, str], kw_only=True)

    @property
    def name(self) -> str:
        """Return the name of the backend."""
        return self.backend.name

    def see(self, user: UserTraits) -> UserTraits | Skipped | Rejected:
        """Return what the backend may see of *user*, or why it sees nothing of them."""
        if self.when is not None and not self.when(user):
            return Skipped(self.name, _FILTERED)
        if self.only is None and not self.exclude and not self.rename:
            return user
        try:
            traits = self._seen(user.traits, "", inside=self.only is None)
        except CollisionError as collision:
            return Rejected(self.name, (_violation(collision),))
        return attrs.evolve(
            user,
            name=user.name if self._sees("name") else None,
            email=user.email if self._sees("email") else None,
            traits=traits,
            types=self._renamed_types(user.types),
        )

    def plan(self, user: UserTraits) -> Plan | Skipped:
        """Return what the backend would send for *user*, or why it would not be asked."""
        seen = self.see(user)
        if isinstance(seen, Rejected):
            return Plan(self.name, None, violations=seen.violations)
        return seen if isinstance(seen, Skipped) else self.backend.plan(seen)

    def identify(self, user: UserTraits) -> Exchange[Outcome]:
        """Send what the backend may see of *user*."""
        seen = self.see(user)
        if not isinstance(seen, UserTraits):
            return seen
        return (yield from self.backend.identify(seen))

    def _sees(self, name: str) -> bool:
        return name not in self.exclude and (self.only is None or name in self.only)

    def _seen(self, traits: Mapping[str, Any], parents: str, *, inside: bool) -> dict[str, Any]:
        """Return the traits that may be sent; *inside* tells whether a parent of theirs was named by `only`."""
        seen: dict[str, Any] = {}
        for name, value in traits.items():
            path = parents + name
            paths = frozenset(_prefixes(path))  # A name may have dots of its own, as a column of a file has.
            named = inside or not paths.isdisjoint(self.only or ())
            if not paths.isdisjoint(self.exclude) or not (named or is_nested(value)):
                continue
            new_name = self.rename.get(path, name)
            if new_name in seen:
                raise CollisionError(path)
            seen[new_name] = self._seen(value, f"{path}.", inside=named) if is_nested(value) else value
        return seen

    def _renamed_types(self, types: Mapping[str, TraitType]) -> dict[str, TraitType]:
        """Return the declared types by new path; that of a renamed trait wins over one declared for its new name."""
        renamed = {path: self._renamed(path) for path in types}
        return {renamed[path]: types[path] for path in sorted(types, key=lambda path: renamed[path] != path)}

    def _renamed(self, path: str) -> str:
        """Return the dotted *path* as it reads once every part of it is renamed."""
        return ".".join(
            self.rename.get(prefix, part) for prefix, part in zip(_prefixes(path), path.split("."), strict=True)
        )


def _prefixes(path: str) -> list[str]:
    """Return the dotted *path* and the paths of its parents, the outermost first."""
    parts = path.split(".")
    return [".".join(parts[: index + 1]) for index in range(len(parts))]


_FILTERED = "kept from this backend by its route"


def _violation(collision: CollisionError) -> Violation:
    return Violation(printable(f"traits.{collision}"), "name-collision")


def routes_to(backends: Iterable[IdentityBackend | Route]) -> list[Route]:
    """Return a route to each of the *backends*.

    Raises:
        ConfigurationError: There is none, or two have one name.
    """
    routes = [backend if isinstance(backend, Route) else Route(backend) for backend in backends]
    names = [route.name for route in routes]
    if not all(names):
        raise ConfigurationError("name", "is empty", "a backend's name tells its outcomes from the others'")
    if not names:
        raise ConfigurationError("backends", "is empty", "pass at least one backend")
    if len(set(names)) < len(names):
        raise ConfigurationError(
            "backends", "holds two of one name", 'give one another, as in LogRocket(..., name="b")'
        )
    return routes
