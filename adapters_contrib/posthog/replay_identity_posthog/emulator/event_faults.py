"""Faults of single events, in a request that gets a 200."""

import threading
from collections.abc import Iterable

import attrs
from attrs import validators

from .verdict import Result, Verdict


def _is_count(_: object, __: object, value: object) -> None:
    if value is not None and (not isinstance(value, int) or value < 1):
        raise ValueError("times: expected a whole number from 1, or None")


def _frozen(distinct_ids: Iterable[str] | None) -> frozenset[str] | None:
    return None if distinct_ids is None else frozenset(distinct_ids)


@attrs.frozen(kw_only=True)
class EventFault:
    """A result that replaces PostHog's own for an event.

    Attributes:
        result: With `retry` and `drop` the event is not stored; with `warning` it is, and the person stays unchanged.
        details: PostHog's tag for the reason.
        distinct_ids: The users whose events are affected; None means all.
        times: The number of events affected; None means all.
    """

    result: Result = attrs.field(validator=validators.in_(("ok", "warning", "drop", "retry")))
    details: str | None = None
    distinct_ids: frozenset[str] | None = attrs.field(default=None, converter=_frozen, repr=False)
    times: int | None = attrs.field(default=1, validator=_is_count)

    def matches(self, distinct_id: str) -> bool:
        """Return True if the fault affects events of that user."""
        return self.distinct_ids is None or distinct_id in self.distinct_ids


@attrs.define(eq=False)
class _Scheduled:
    fault: EventFault
    remaining: int | None


@attrs.define
class EventFaults:
    """The scheduled faults of events, in the order they were added. Thread-safe."""

    _scheduled: list[_Scheduled] = attrs.field(init=False, factory=list[_Scheduled])
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock, repr=False)

    def add(self, fault: EventFault) -> None:
        """Schedule *fault* for the next events that it matches."""
        with self._lock:
            self._scheduled.append(_Scheduled(fault, remaining=fault.times))

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._scheduled.clear()

    def take(self, distinct_id: str) -> Verdict | None:
        """Return the result of the first fault for an event of that user, and count it; None without a fault."""
        with self._lock:
            for scheduled in self._scheduled:
                if scheduled.fault.matches(distinct_id):
                    self._count(scheduled)
                    return Verdict(scheduled.fault.result, scheduled.fault.details)
        return None

    def _count(self, scheduled: _Scheduled) -> None:
        if scheduled.remaining is None:
            return
        scheduled.remaining -= 1
        if not scheduled.remaining:
            self._scheduled.remove(scheduled)
