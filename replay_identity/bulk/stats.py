"""Counts of outcomes per backend, in bounded memory."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar, assert_never

import attrs

from ..outcomes import (
    Accepted,
    Adjustment,
    Broken,
    Misconfigured,
    Outcome,
    Rejected,
    Skipped,
    Unavailable,
    Unknown,
    Violation,
    explain,
)

# Names of traits come from the data, so their number is unbounded: further ones are counted together as `OTHER`.
MAX_PATHS: Final = 1000
OTHER: Final = "…other"

_INDEX: Final = re.compile(r"\[\d+\]")

K = TypeVar("K")


@attrs.frozen
class AdjustmentKey:
    """One way in which a field was adjusted; attributes as in `Adjustment`."""

    path: str
    kind: str
    rule: str


@attrs.frozen
class ViolationKey:
    """One rule that a field broke; attributes as in `Violation`."""

    path: str
    rule: str
    limit: int | None
    unit: str | None


@attrs.frozen
class Cause:
    """One cause of an outcome: the vendor's code or a text of this library, never the vendor's message.

    Attributes:
        outcome: Name of the outcome.
        cause: The cause.
    """

    outcome: str
    cause: str


@attrs.define
class ViolationCount:
    """The number of users who broke a rule, and the largest measure found."""

    count: int = 0
    largest: int | None = None

    def add(self, count: int, actual: int | None) -> None:
        """Add *count* users; the largest measure is *actual*."""
        self.count += count
        if actual is not None:
            self.largest = actual if self.largest is None else max(self.largest, actual)


@attrs.define
class BackendStats:
    """Outcomes of many users at one backend.

    Attributes:
        outcomes: Number of users by name of the outcome.
        adjusted: Number of users with any adjustment.
        lossy: Number of users with a lossy adjustment.
        adjustments: Number of users by adjustment.
        violations: Number of users, and the largest measure, by violation.
        causes: Number of users who were not accepted, by cause.
    """

    outcomes: Counter[str] = attrs.field(factory=Counter[str])
    adjusted: int = 0
    lossy: int = 0
    adjustments: Counter[AdjustmentKey] = attrs.field(factory=Counter[AdjustmentKey])
    violations: dict[ViolationKey, ViolationCount] = attrs.field(factory=dict[ViolationKey, ViolationCount])
    causes: Counter[Cause] = attrs.field(factory=Counter[Cause])
    _paths: set[str] = attrs.field(init=False, factory=set[str])
    _causes: set[str] = attrs.field(init=False, factory=set[str])

    @property
    def accepted(self) -> int:
        """Return the number of users that the vendor accepted."""
        return self.outcomes[Accepted.__name__]

    @property
    def skipped(self) -> int:
        """Return the number of users with nothing to send."""
        return self.outcomes[Skipped.__name__]

    @property
    def rejected(self) -> int:
        """Return the number of users who would be rejected again, bugs of an adapter included."""
        return self.outcomes[Rejected.__name__] + self.outcomes[Broken.__name__]

    @property
    def pending(self) -> int:
        """Return the number of users to send again, later or once the settings are fixed."""
        return sum(self.outcomes[kind.__name__] for kind in (Unavailable, Unknown, Misconfigured))

    def add(self, outcome: Outcome) -> None:
        """Count *outcome*."""
        if isinstance(outcome, Accepted):
            self.accept(outcome.adjustments)
            return
        self.outcomes[type(outcome).__name__] += 1
        match outcome:
            case Rejected(violations=violations, code=code):
                for key, largest in _largest_by_rule(violations):
                    self._count_violation(key, 1, largest)
                if not violations:
                    self._count_cause(outcome, code or "no code")
            case Misconfigured():
                self._count_cause(outcome, explain(outcome))
            case Unavailable(cause=cause) | Unknown(cause=cause) | Broken(error=cause):
                self._count_cause(outcome, cause)
            case Skipped(reason=reason):
                self._count_cause(outcome, reason)
            case _:
                assert_never(outcome)

    def accept(self, adjustments: Sequence[Adjustment]) -> None:
        """Count one accepted user with these *adjustments*."""
        self.outcomes[Accepted.__name__] += 1
        if adjustments:
            self.add_adjustments(adjustments)

    def add_adjustments(self, adjustments: Sequence[Adjustment]) -> None:
        """Count the *adjustments* of one user."""
        self.adjusted += 1
        self.lossy += any(adjustment.lossy for adjustment in adjustments)
        self.adjustments.update({self._adjustment_key(adjustment) for adjustment in adjustments})

    def merge(self, other: "BackendStats") -> None:
        """Add all counts of *other*."""
        self.outcomes.update(other.outcomes)
        self.adjusted += other.adjusted
        self.lossy += other.lossy
        for adjustment, count in other.adjustments.items():
            self.adjustments[attrs.evolve(adjustment, path=self._bounded_path(adjustment.path))] += count
        for violation, total in other.violations.items():
            self._count_violation(violation, total.count, total.largest)
        for cause, count in other.causes.items():
            self.causes[attrs.evolve(cause, cause=bounded(cause.cause, self._causes))] += count

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON-compatible values, the most frequent first."""
        return {
            "outcomes": dict(sorted(self.outcomes.items())),
            "adjusted": self.adjusted,
            "lossy": self.lossy,
            "adjustments": [{**attrs.asdict(key), "count": count} for key, count in most_frequent(self.adjustments)],
            "violations": [
                {**attrs.asdict(key), "largest": total.largest, "count": total.count}
                for key, total in worst_first(self.violations)
            ],
            "causes": [{**attrs.asdict(key), "count": count} for key, count in most_frequent(self.causes)],
        }

    def _adjustment_key(self, adjustment: Adjustment) -> AdjustmentKey:
        path = self._bounded_path(_without_indexes(adjustment.path))
        return AdjustmentKey(path, adjustment.kind, adjustment.rule)

    def _count_violation(self, key: ViolationKey, count: int, largest: int | None) -> None:
        key = attrs.evolve(key, path=self._bounded_path(key.path))
        self.violations.setdefault(key, ViolationCount()).add(count, largest)

    def _count_cause(self, outcome: Outcome, cause: str) -> None:
        self.causes[Cause(type(outcome).__name__, bounded(cause, self._causes))] += 1

    def _bounded_path(self, path: str) -> str:
        return bounded(path, self._paths)


@attrs.define
class Stats:
    """Outcomes of many users at every backend.

    Attributes:
        users: Number of users counted.
        backends: Counts by name of the backend, in the order of their first outcome.
    """

    users: int = 0
    backends: dict[str, BackendStats] = attrs.field(factory=dict[str, BackendStats])

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Count one user with one outcome per backend."""
        self.users += 1
        for outcome in outcomes:
            self.backends.setdefault(outcome.backend, BackendStats()).add(outcome)

    def merge(self, other: "Stats") -> None:
        """Add all counts of *other*."""
        self.users += other.users
        for name, backend in other.backends.items():
            self.backends.setdefault(name, BackendStats()).merge(backend)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON-compatible values."""
        return {"users": self.users, "backends": {name: stats.as_dict() for name, stats in self.backends.items()}}


def bounded(name: str, known: set[str]) -> str:
    """Return *name* and add it to *known*, or return `OTHER` once `MAX_PATHS` other names are known."""
    if name not in known:
        if len(known) >= MAX_PATHS:
            return OTHER
        known.add(name)
    return name


def most_frequent(counts: Counter[K]) -> list[tuple[K, int]]:
    """Return the items of *counts*, largest count first, ties sorted by key."""
    return sorted(counts.items(), key=_by_count)


def worst_first(violations: Mapping[ViolationKey, ViolationCount]) -> list[tuple[ViolationKey, ViolationCount]]:
    """Return the items of *violations*, largest count first, ties sorted by key."""
    return sorted(violations.items(), key=lambda item: _by_count((item[0], item[1].count)))


def _by_count(item: tuple[object, int]) -> tuple[int, str]:
    return -item[1], repr(item[0])


def _largest_by_rule(violations: Iterable[Violation]) -> Iterable[tuple[ViolationKey, int | None]]:
    """Return each rule that one user broke once, with the largest measure."""
    largest: dict[ViolationKey, int | None] = {}
    for violation in violations:
        key = ViolationKey(_without_indexes(violation.path), violation.rule, violation.limit, violation.unit)
        measures = [measure for measure in (largest.get(key), violation.actual) if measure is not None]
        largest[key] = max(measures, default=None)
    return largest.items()


def _without_indexes(path: str) -> str:
    """Replace each list index in *path* by ``[]``, so that a list counts as one field whatever its length."""
    return _INDEX.sub("[]", path) if "[" in path else path
