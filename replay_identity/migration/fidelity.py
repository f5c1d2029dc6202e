"""What the limits of each vendor make of users and of each of their properties."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Self, TypeAlias

import attrs

from .._values import is_nested
from ..adapters.limits import Limit
from ..bulk.stats import MAX_PATHS, OTHER
from ..errors import printable
from ..outcomes import LOSSY_KINDS, Adjustment, Rejected, Skipped, Violation
from ..router import Route
from ..traits import UserTraits

# What the path of every trait begins with.
TRAITS: Final = "traits."
_COLLISION: Final = "name-collision"


@attrs.define
class PropertyFidelity:
    """What becomes of the values of one property at one vendor.

    The first five numbers add up to *users*; of a value that is changed, each way of it counts.

    Attributes:
        users: Users who have the property.
        as_is: Values that are sent as they are.
        lossless: Values that are sent otherwise, in such a way that nothing is lost.
        lossy: Values of which something is lost, or which are not sent, though the user is.
        rejected: Values for which the user is refused.
        held_back: Values that could be sent, of users who are refused for something else.
        coerced: Sent as another type or text.
        flattened: Sent under a dotted name.
        lifted: Sent as the vendor's own field.
        removed: Empty values, which the vendor takes for a removal.
        warned: Sent as they are, though the vendor may refuse or drop them.
        renamed: Sent under a legal name.
        truncated: Sent in part.
        dropped: Not sent.
    """

    users: int = 0
    as_is: int = 0
    lossless: int = 0
    lossy: int = 0
    rejected: int = 0
    held_back: int = 0
    coerced: int = 0
    flattened: int = 0
    lifted: int = 0
    removed: int = 0
    warned: int = 0
    renamed: int = 0
    truncated: int = 0
    dropped: int = 0

    def count(self, names: Sequence[str], users: int) -> None:
        """Add so many *users* to each of the numbers of these *names*."""
        for name in names:
            setattr(self, name, getattr(self, name) + users)

    def merge(self, other: "PropertyFidelity") -> None:
        """Count all that *other* counted."""
        for field in attrs.fields(PropertyFidelity):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


@attrs.frozen
class AdaptationPattern:
    """One way of being worded: which properties there are, what was done to them, and what was refused."""

    paths: tuple[str, ...]
    adjustments: tuple[Adjustment, ...] = ()
    violations: frozenset[tuple[str, str]] = frozenset()


@attrs.define
class BackendFidelity:
    """What becomes of users and of their properties at one vendor; users = sent + refused + skipped + broken.

    Attributes:
        users: Users who were looked at.
        sent: Users who keep to the limits, or are made to.
        rejected: Users who break a limit.
        skipped: Users of whom there is nothing to send, or whom a route keeps away.
        broken: Users at whom the adapter failed.
        properties: What becomes of each property, by its path.
        collisions: Users by the path of a property that would have the name of another one.
        sent_names: The names under which properties are sent, nested ones dotted; of very many only some.
        most_unique: How many of these the vendor lets the organisation have, or None where it does not say.
    """

    users: int = 0
    sent: int = 0
    rejected: int = 0
    skipped: int = 0
    broken: int = 0
    properties: dict[str, PropertyFidelity] = attrs.field(factory=dict[str, PropertyFidelity])
    collisions: Counter[str] = attrs.field(factory=Counter[str])
    sent_names: set[str] = attrs.field(factory=set[str])
    most_unique: Limit | None = None

    @property
    def unique(self) -> int:
        """Return under how many names properties are sent; at most `MAX_PATHS` are told apart."""
        return len(self.sent_names)

    def merge(self, other: "BackendFidelity") -> None:
        """Count all that *other* counted."""
        for name in ("users", "sent", "refused", "skipped", "broken"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for path, counted in other.properties.items():
            self._property(path).merge(counted)
        for path, count in other.collisions.items():
            self.collisions[self._known(path)] += count
        for name in other.sent_names:
            self._send(name)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON has them, the properties by name."""
        return {
            "users": self.users,
            "sent": self.sent,
            "refused": self.rejected,
            "skipped": self.skipped,
            "broken": self.broken,
            "properties": {path: attrs.asdict(self.properties[path]) for path in sorted(self.properties)},
            "collisions": dict(sorted(self.collisions.items())),
            "sent_names": sorted(self.sent_names),
            "unique": self.unique,
            "most_unique": None if self.most_unique is None else self.most_unique.maximum,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], most_unique: Limit | None) -> Self:
        """Return the counts that `as_dict` was asked for."""
        totals = {name: document[name] for name in ("users", "sent", "refused", "skipped", "broken")}
        return cls(
            **totals,
            properties={path: PropertyFidelity(**counted) for path, counted in document["properties"].items()},
            collisions=Counter(document["collisions"]),
            sent_names=set(document["sent_names"]),
            most_unique=most_unique,
        )

    def count(self, shape: AdaptationPattern, users: int) -> None:
        """Count so many *users* of this *shape*."""
        done: dict[str, list[Adjustment]] = {}
        for adjustment in shape.adjustments:
            done.setdefault(adjustment.path, []).append(adjustment)
        rejected = {path for path, _ in shape.violations}
        for path in shape.paths:
            parents = list(_prefixes(path))
            adjustments = [adjustment for parent in parents for adjustment in done.get(parent, ())]
            found = self._property(path)
            if not shape.violations:
                found.count(_fates(adjustments), users)
                self._send_as(path, adjustments)
            else:
                found.count(("users", "held_back" if rejected.isdisjoint(parents) else "refused"), users)
        for path in {path for path, rule in shape.violations if rule == _COLLISION}:
            self.collisions[self._known(path)] += users

    def _send_as(self, path: str, adjustments: Sequence[Adjustment]) -> None:
        """Take note of the name under which the property of this *path* is sent, if it is."""
        name = path.removeprefix(TRAITS)
        if name == path or any(one.kind in {"dropped", "lifted", "removed"} for one in adjustments):
            return
        for adjustment in adjustments:
            if adjustment.sent_as is not None:
                name = adjustment.sent_as + path[len(adjustment.path) :]
        self._send(name)

    def _send(self, name: str) -> None:
        if len(self.sent_names) < MAX_PATHS:
            self.sent_names.add(name)

    def _property(self, path: str) -> PropertyFidelity:
        return self.properties.setdefault(self._known(path), PropertyFidelity())

    def _known(self, path: str) -> str:
        return path if path in self.properties or len(self.properties) < MAX_PATHS else OTHER


def _fates(adjustments: Sequence[Adjustment]) -> list[str]:
    """Return the names of the numbers in which a value counts to which *adjustments* were made."""
    kinds = {adjustment.kind for adjustment in adjustments}
    if not kinds:
        return ["users", "as_is"]
    return ["users", "lossless" if LOSSY_KINDS.isdisjoint(kinds) else "lossy", *kinds]


def _prefixes(path: str) -> Iterator[str]:
    """Yield the paths of what the property of this *path* is in, the outermost first, and its own."""
    parts = path.split(".")
    return (".".join(parts[:end]) for end in range(1 if len(parts) == 1 else 2, len(parts) + 1))


# Users repeat the names of their properties and what happens to them; so many different ways are counted apart.
_MOST_SHAPES: Final = 2000
_Shapes: TypeAlias = Counter[AdaptationPattern]


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
            counted.rejected += 1
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


def _shape(user: UserTraits, route: Route) -> AdaptationPattern | None:
    """Return how *user* is worded, or None where there is nothing to send."""
    seen = route.apply(user)
    if isinstance(seen, Skipped):
        return None
    if isinstance(seen, Rejected):
        return AdaptationPattern(tuple(_paths(user)), (), _broken(seen.violations))
    plan = route.backend.plan(seen)
    if plan.request is None and not plan.violations:
        return None
    return AdaptationPattern(tuple(_paths(seen)), plan.adjustments, _broken(plan.violations))


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
