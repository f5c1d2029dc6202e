"""Counts of what became of many users at each backend, in bounded memory."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar, assert_never

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
    explain,
)
from ..outcomes import Violation as OneViolation

# Users bring the names of traits, so there is no end to them: further ones are counted together.
MOST_PATHS: Final = 1000
OTHER: Final = "…other"

_INDEX: Final = re.compile(r"\[\d+\]")

K = TypeVar("K")


@attrs.frozen
class AdjustmentKey:
    """One way in which a field is changed; attributes as in `Adjustment`."""

    path: str
    kind: str
    rule: str


@attrs.frozen
class ViolationKey:
    """One rule that a field breaks; attributes as in `Violation`."""

    path: str
    rule: str
    limit: int | None
    unit: str | None


@attrs.frozen
class Cause:
    """One reason for which a vendor did not take a user: its code or ours, never its words.

    Attributes:
        outcome: Name of the outcome.
        cause: The reason.
    """

    outcome: str
    cause: str


@attrs.define
class ViolationCount:
    """How often a rule was broken, and how far it was at most."""

    count: int = 0
    largest: int | None = None

    def add(self, count: int, actual: int | None) -> None:
        """Count *count* more, of which *actual* is the largest measure."""
        self.count += count
        if actual is not None:
            self.largest = actual if self.largest is None else max(self.largest, actual)


@attrs.define
class BackendStats:
    """What became of users at one backend.

    Attributes:
        outcomes: Users by name of the outcome.
        adjusted: Accepted users of whom something was changed, with or without a loss.
        lossy: Accepted users of whom something was lost.
        adjustments: How often each field was changed, and how.
        violations: How often each field broke which rule.
        causes: How often a vendor did not take a user, and why.
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
        """Return how many users the vendor took."""
        return self.outcomes[Accepted.__name__]

    @property
    def skipped(self) -> int:
        """Return for how many users there was nothing to send."""
        return self.outcomes[Skipped.__name__]

    @property
    def rejected(self) -> int:
        """Return how many users will be refused again as they are, our own bugs included."""
        return self.outcomes[Rejected.__name__] + self.outcomes[Broken.__name__]

    @property
    def pending(self) -> int:
        """Return how many users are worth another try, after a while or after the settings are mended."""
        return sum(self.outcomes[kind.__name__] for kind in (Unavailable, Unknown, Misconfigured))

    def add(self, outcome: Outcome) -> None:
        """Count *outcome*."""
        if isinstance(outcome, Accepted):
            self.accept(outcome.adjustments)
            return
        self.outcomes[type(outcome).__name__] += 1
        match outcome:
            case Rejected(violations=violations, code=code):
                for key, actual in _worst(violations):
                    self._breach(key, 1, actual)
                if not violations:
                    self._cause(outcome, code or "no code")
            case Misconfigured():
                self._cause(outcome, explain(outcome))
            case Unavailable(cause=cause) | Unknown(cause=cause) | Broken(error=cause):
                self._cause(outcome, cause)
            case Skipped(reason=reason):
                self._cause(outcome, reason)
            case _:
                assert_never(outcome)

    def accept(self, adjustments: Sequence[Adjustment]) -> None:
        """Count one user whom the vendor took with these *adjustments*."""
        self.outcomes[Accepted.__name__] += 1
        if adjustments:
            self.adjusted += 1
            self.lossy += any(adjustment.lossy for adjustment in adjustments)
            self.adjustments.update({self._adjustment(adjustment) for adjustment in adjustments})

    def merge(self, other: "BackendStats") -> None:
        """Count all that *other* counted."""
        self.outcomes.update(other.outcomes)
        self.adjusted += other.adjusted
        self.lossy += other.lossy
        for adjusted, count in other.adjustments.items():
            self.adjustments[attrs.evolve(adjusted, path=self._path(adjusted.path))] += count
        for broken, violation_count in other.violations.items():
            self._breach(broken, violation_count.count, violation_count.largest)
        for reason, count in other.causes.items():
            self.causes[attrs.evolve(reason, cause=self._bounded(reason.cause, self._causes))] += count

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON has them, the most frequent first."""
        return {
            "outcomes": dict(sorted(self.outcomes.items())),
            "adjusted": self.adjusted,
            "lossy": self.lossy,
            "adjustments": [{**attrs.asdict(key), "count": count} for key, count in most_frequent(self.adjustments)],
            "violations": [
                {**attrs.asdict(key), "largest": violation_count.largest, "count": violation_count.count}
                for key, violation_count in worst_first(self.violations)
            ],
            "causes": [{**attrs.asdict(key), "count": count} for key, count in most_frequent(self.causes)],
        }

    def _adjustment(self, adjustment: Adjustment) -> AdjustmentKey:
        return AdjustmentKey(self._path(_without_indexes(adjustment.path)), adjustment.kind, adjustment.rule)

    def _breach(self, key: ViolationKey, count: int, actual: int | None) -> None:
        key = attrs.evolve(key, path=self._path(key.path))
        self.violations.setdefault(key, ViolationCount()).add(count, actual)

    def _cause(self, outcome: Outcome, cause: str) -> None:
        self.causes[Cause(type(outcome).__name__, self._bounded(cause, self._causes))] += 1

    def _path(self, path: str) -> str:
        return self._bounded(path, self._paths)

    def _bounded(self, name: str, known: set[str]) -> str:
        """Return *name* while there is room for it among those *known*, then `OTHER`."""
        if name not in known:
            if len(known) >= MOST_PATHS:
                return OTHER
            known.add(name)
        return name


@attrs.define
class Stats:
    """What became of users at every backend.

    Attributes:
        users: How many users were counted.
        backends: The counts by the names of the backends, in the order in which they were met.
    """

    users: int = 0
    backends: dict[str, BackendStats] = attrs.field(factory=dict[str, BackendStats])

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Count one more user, and what became of them."""
        self.users += 1
        for outcome in outcomes:
            self.backends.setdefault(outcome.backend, BackendStats()).add(outcome)

    def merge(self, other: "Stats") -> None:
        """Count all that *other* counted."""
        self.users += other.users
        for name, backend in other.backends.items():
            self.backends.setdefault(name, BackendStats()).merge(backend)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON has them."""
        return {"users": self.users, "backends": {name: stats.as_dict() for name, stats in self.backends.items()}}


def most_frequent(counts: Counter[K]) -> list[tuple[K, int]]:
    """Return *counts*, the largest first and by name where they are equal."""
    return sorted(counts.items(), key=_by_count)


def worst_first(violations: Mapping[ViolationKey, ViolationCount]) -> list[tuple[ViolationKey, ViolationCount]]:
    """Return *violations*, the most frequent first and by name where they are equal."""
    return sorted(violations.items(), key=lambda item: _by_count((item[0], item[1].count)))


def _by_count(item: tuple[object, int]) -> tuple[int, str]:
    return -item[1], repr(item[0])


_Total: TypeAlias = tuple[ViolationKey, int | None]


def _worst(violations: Iterable[OneViolation]) -> Iterator[_Total]:
    """Yield each rule that one user breaks once, with the largest measure."""
    largest: dict[ViolationKey, int | None] = {}
    for violation in violations:
        key = ViolationKey(_without_indexes(violation.path), violation.rule, violation.limit, violation.unit)
        measures = [measure for measure in (largest.get(key), violation.actual) if measure is not None]
        largest[key] = max(measures, default=None)
    yield from largest.items()


def _without_indexes(path: str) -> str:
    """Return *path* with ``[]`` for each place in a list, so that a list is one field however long it is."""
    return _INDEX.sub("[]", path) if "[" in path else path
