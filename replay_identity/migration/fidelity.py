"""Count what each backend's limits do to users and to each of their properties."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self, TypeAlias

import attrs

from .._paths import leaves, prefixes
from ..adapters.limits import Limit
from ..bulk.stats import MAX_PATHS, OTHER
from ..errors import printable
from ..outcomes import LOSSY_KINDS, Adjustment, Rejected, Skipped, Violation
from ..router import Route
from ..traits import UserTraits

_TRAITS: Final = "traits"
_COLLISION: Final = "name-collision"
# Fields of `BackendFidelity` that count users.
_USER_COUNTS: Final = ("users", "sent", "rejected", "skipped", "broken")


@attrs.define
class PropertyFidelity:
    """What happens to the values of one property at one backend.

    ``users`` is the sum of the next five numbers. The numbers after these count each way in which a value is changed.

    Attributes:
        users: Users who have the property.
        as_is: Values sent unchanged.
        lossless: Values sent changed, without loss.
        lossy: Values sent with a loss, or dropped while the user is sent.
        rejected: Values for which the user is rejected.
        held_back: Valid values of users who are rejected for another property.
        coerced: Values sent as another type or text.
        flattened: Values sent under a dotted name.
        lifted: Values sent as a field of the vendor's own.
        removed: Empty values, which the vendor treats as a removal.
        warned: Values sent unchanged that the vendor may reject or drop.
        renamed: Values sent under a valid name.
        truncated: Values sent in part.
        dropped: Values not sent.
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

    def add(self, names: Sequence[str], users: int) -> None:
        """Add *users* to each of the numbers called *names*."""
        for name in names:
            setattr(self, name, getattr(self, name) + users)

    def merge(self, other: "PropertyFidelity") -> None:
        """Add the numbers of *other*."""
        for field in attrs.fields(PropertyFidelity):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


@attrs.frozen
class AdaptationPattern:
    """What users who are encoded alike have in common: their properties, adjustments and violations."""

    paths: tuple[str, ...]
    adjustments: tuple[Adjustment, ...] = ()
    violations: frozenset[tuple[str, str]] = frozenset()


@attrs.define
class BackendFidelity:
    """What happens to users and their properties at one backend.

    Attributes:
        users: Users counted; the sum of the next four numbers.
        sent: Users who are within the limits, or adapted to them.
        rejected: Users who exceed a limit.
        skipped: Users without anything to send, or that a route excludes.
        broken: Users that made the adapter raise an exception.
        properties: What happens to each property, by path.
        collisions: Users with a property that would get the name of another one, by path.
        sent_names: Names under which properties are sent, dotted if nested; at most 1,000 of them.
        max_unique_names: How many of these names the vendor allows per organisation, or None if it does not say.
    """

    users: int = 0
    sent: int = 0
    rejected: int = 0
    skipped: int = 0
    broken: int = 0
    properties: dict[str, PropertyFidelity] = attrs.field(factory=dict[str, PropertyFidelity])
    collisions: Counter[str] = attrs.field(factory=Counter[str])
    sent_names: set[str] = attrs.field(factory=set[str])
    max_unique_names: Limit | None = None

    @property
    def unique_names(self) -> int:
        """The number of names under which properties are sent; counting stops at 1,000."""
        return len(self.sent_names)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], max_unique_names: Limit | None) -> Self:
        """Return the counts that `as_dict` returned as *document*."""
        return cls(
            **{name: document[name] for name in _USER_COUNTS},
            properties={path: PropertyFidelity(**counts) for path, counts in document["properties"].items()},
            collisions=Counter(document["collisions"]),
            sent_names=set(document["sent_names"]),
            max_unique_names=max_unique_names,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the counts for JSON."""
        return {
            **{name: getattr(self, name) for name in _USER_COUNTS},
            "properties": {path: attrs.asdict(self.properties[path]) for path in sorted(self.properties)},
            "collisions": dict(sorted(self.collisions.items())),
            "sent_names": sorted(self.sent_names),
            "unique_names": self.unique_names,
            "max_unique_names": None if self.max_unique_names is None else self.max_unique_names.maximum,
        }

    def merge(self, other: "BackendFidelity") -> None:
        """Add the counts of *other*."""
        for name in _USER_COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for path, counts in other.properties.items():
            self._property(path).merge(counts)
        for path, users in other.collisions.items():
            self.collisions[self._bounded(path)] += users
        for name in other.sent_names:
            self._add_sent_name(name)

    def add_properties(self, pattern: AdaptationPattern, users: int) -> None:
        """Count the properties of *users* who share *pattern*."""
        adjustments_at: dict[str, list[Adjustment]] = {}
        for adjustment in pattern.adjustments:
            adjustments_at.setdefault(adjustment.path, []).append(adjustment)
        rejected = {path for path, _ in pattern.violations}
        for path in pattern.paths:
            affected_by = _objects_and(path)
            adjustments = [adjustment for prefix in affected_by for adjustment in adjustments_at.get(prefix, ())]
            counts = self._property(path)
            if pattern.violations:
                counts.add(("users", "held_back" if rejected.isdisjoint(affected_by) else "rejected"), users)
            else:
                counts.add(_count_names(adjustments), users)
                self._add_sent_names(path, adjustments)
        for path in {path for path, rule in pattern.violations if rule == _COLLISION}:
            self.collisions[self._bounded(path)] += users

    def _add_sent_names(self, path: str, adjustments: Sequence[Adjustment]) -> None:
        """Record the name under which the property at *path* is sent, unless it is a user field or not sent."""
        name = path.removeprefix(f"{_TRAITS}.")
        if name == path or any(adjustment.kind in {"dropped", "lifted", "removed"} for adjustment in adjustments):
            return
        for adjustment in adjustments:
            if adjustment.sent_as is not None:
                name = adjustment.sent_as + path[len(adjustment.path) :]
        self._add_sent_name(name)

    def _add_sent_name(self, name: str) -> None:
        if len(self.sent_names) < MAX_PATHS:
            self.sent_names.add(name)

    def _property(self, path: str) -> PropertyFidelity:
        return self.properties.setdefault(self._bounded(path), PropertyFidelity())

    def _bounded(self, path: str) -> str:
        return path if path in self.properties or len(self.properties) < MAX_PATHS else OTHER


def _count_names(adjustments: Sequence[Adjustment]) -> list[str]:
    """Return the fields of `PropertyFidelity` that count a value with these *adjustments*."""
    kinds = {adjustment.kind for adjustment in adjustments}
    if not kinds:
        return ["users", "as_is"]
    return ["users", "lossless" if LOSSY_KINDS.isdisjoint(kinds) else "lossy", *kinds]


def _objects_and(path: str) -> list[str]:
    """Return the paths of the objects that hold the property at *path*, the outermost first, and *path* itself."""
    return [prefix for prefix in prefixes(path) if prefix != _TRAITS]


# Users have few patterns. Properties are counted once per pattern, not once per user; that many patterns are kept.
_MAX_PATTERNS: Final = 2000
_Patterns: TypeAlias = Counter[AdaptationPattern]


@attrs.define(eq=False)
class Fidelity:
    """Counts what happens to users and their properties at several backends.

    Attributes:
        routes: Routes to the backends.
    """

    routes: Sequence[Route]
    _backends: dict[str, BackendFidelity] = attrs.field(init=False)
    _patterns: dict[str, _Patterns] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._backends = {
            route.name: BackendFidelity(max_unique_names=route.backend.limits.unique_traits) for route in self.routes
        }
        self._patterns = {route.name: Counter() for route in self.routes}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], routes: Sequence[Route]) -> Self:
        """Return the counts that `as_dict` returned as *document*, for the backends that *routes* lead to."""
        fidelity = cls(routes)
        for name, backend in fidelity._backends.items():
            if name in document:
                fidelity._backends[name] = BackendFidelity.from_dict(document[name], backend.max_unique_names)
        return fidelity

    @property
    def backends(self) -> Mapping[str, BackendFidelity]:
        """The counts by name of the backend."""
        self._count_patterns()
        return self._backends

    def add(self, user: UserTraits) -> None:
        """Count one user."""
        for route in self.routes:
            self._add(user, route)

    def merge(self, other: "Fidelity") -> None:
        """Add the counts of *other*."""
        backends = self.backends
        for name, backend in other.backends.items():
            backends[name].merge(backend)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts for JSON, by name of the backend."""
        return {name: backend.as_dict() for name, backend in self.backends.items()}

    def _add(self, user: UserTraits, route: Route) -> None:
        backend = self._backends[route.name]
        backend.users += 1
        try:
            pattern = _pattern(user, route)
        except Exception:  # noqa: BLE001  # A bug in one adapter must not hide the counts of the others.
            backend.broken += 1
            return
        if pattern is None:
            backend.skipped += 1
            return
        if pattern.violations:
            backend.rejected += 1
        else:
            backend.sent += 1
        patterns = self._patterns[route.name]
        patterns[pattern] += 1
        if len(patterns) > _MAX_PATTERNS:
            self._count_patterns()

    def _count_patterns(self) -> None:
        for name, patterns in self._patterns.items():
            for pattern, users in patterns.items():
                self._backends[name].add_properties(pattern, users)
            patterns.clear()


def _pattern(user: UserTraits, route: Route) -> AdaptationPattern | None:
    """Return how *user* is encoded, or None if there is nothing to send."""
    filtered = route.apply(user)
    if isinstance(filtered, Skipped):
        return None
    if isinstance(filtered, Rejected):
        return AdaptationPattern(_paths(user), (), _path_rules(filtered.violations))
    plan = route.backend.plan(filtered)
    if plan.request is None and not plan.violations:
        return None
    return AdaptationPattern(_paths(filtered), plan.adjustments, _path_rules(plan.violations))


def _path_rules(violations: Sequence[Violation]) -> frozenset[tuple[str, str]]:
    return frozenset([(violation.path, violation.rule) for violation in violations])


def _paths(user: UserTraits) -> tuple[str, ...]:
    """Return the path of each value of *user*, written as in adjustments."""
    fields = [name for name in ("name", "email") if getattr(user, name) is not None]
    return (*fields, *[printable(".".join((_TRAITS, *names))) for names, _ in leaves(user.traits)])
