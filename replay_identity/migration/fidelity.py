"""What the limits of each vendor make of users and of each of their properties."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self, TypeAlias

import attrs

from ..errors import printable
from ..model import UserTraits
from ..outcome import Rejected, Skipped, Violation
from ..route import Route
from ..values import is_nested
from .backend_fidelity import TRAITS, BackendFidelity, Shape

# Users repeat the names of their properties and what happens to them; so many different ways are counted apart.
_MOST_SHAPES: Final = 2000
_Shapes: TypeAlias = Counter[Shape]


@attrs.define(eq=False)
class Fidelity:
    """What becomes of users and of their properties at each of several vendors.

    Attributes:
        routes: The vendors, and what they may see.
    """

    routes: Sequence[Route]
    _counted: dict[str, BackendFidelity] = attrs.field(init=False)
    _shapes: dict[str, _Shapes] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._counted = {
            route.name: BackendFidelity(most_unique=route.backend.limits.unique_traits) for route in self.routes
        }
        self._shapes = {route.name: Counter() for route in self.routes}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], routes: Sequence[Route]) -> Self:
        """Return the count that `as_dict` was asked for, of those of its vendors to whom there are *routes*."""
        fidelity = cls(routes)
        for name, counted in fidelity._counted.items():
            if name in document:
                fidelity._counted[name] = BackendFidelity.from_dict(document[name], counted.most_unique)
        return fidelity

    @property
    def backends(self) -> Mapping[str, BackendFidelity]:
        """Return the counts by name of the backend."""
        self._count_shapes()
        return self._counted

    def add(self, user: UserTraits) -> None:
        """Count one user."""
        for route in self.routes:
            self._add(user, route)

    def merge(self, other: "Fidelity") -> None:
        """Count all that *other* counted."""
        mine = self.backends
        for name, counted in other.backends.items():
            mine[name].merge(counted)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON has them."""
        return {name: counted.as_dict() for name, counted in self.backends.items()}

    def _add(self, user: UserTraits, route: Route) -> None:
        counted = self._counted[route.name]
        counted.users += 1
        try:
            shape = _shape(user, route)
        except Exception:  # noqa: BLE001  # One adapter's bug must not hide what becomes of users elsewhere.
            counted.broken += 1
            return
        if shape is None:
            counted.skipped += 1
            return
        if shape.violations:
            counted.refused += 1
        else:
            counted.sent += 1
        shapes = self._shapes[route.name]
        shapes[shape] += 1
        if len(shapes) > _MOST_SHAPES:
            self._count_shapes()

    def _count_shapes(self) -> None:
        for name, shapes in self._shapes.items():
            for shape, users in shapes.items():
                self._counted[name].count(shape, users)
            shapes.clear()


def _shape(user: UserTraits, route: Route) -> Shape | None:
    """Return how *user* is worded, or None where there is nothing to send."""
    seen = route.see(user)
    if isinstance(seen, Skipped):
        return None
    if isinstance(seen, Rejected):
        return Shape(tuple(_paths(user)), (), _broken(seen.violations))
    plan = route.backend.plan(seen)
    if plan.request is None and not plan.violations:
        return None
    return Shape(tuple(_paths(seen)), plan.adjustments, _broken(plan.violations))


def _broken(violations: Sequence[Violation]) -> frozenset[tuple[str, str]]:
    return frozenset([(violation.path, violation.rule) for violation in violations])


def _paths(user: UserTraits) -> list[str]:
    """Return the paths of all that *user* says, as adjustments name them."""
    paths = [name for name in ("name", "email") if getattr(user, name) is not None]
    _add_paths(user.traits, TRAITS, paths)
    return paths


def _add_paths(traits: Mapping[str, Any], parents: str, paths: list[str]) -> None:
    for name, value in traits.items():
        if is_nested(value):
            _add_paths(value, f"{parents}{name}.", paths)
        else:
            paths.append(printable(parents + name))
