"""What may go wrong with single events of a request that is answered 200."""

import threading
from collections.abc import Iterable

import attrs
from attrs import validators

from .verdict import Result, Verdict


def _is_count(_: object, __: object, value: object) -> None:
    if value is not None and (not isinstance(value, int) or value < 1):
        raise ValueError("times must be a whole number from 1, or None")


def _frozen(distinct_ids: Iterable[str] | None) -> frozenset[str] | None:
    return None if distinct_ids is None else frozenset(distinct_ids)


@attrs.frozen(kw_only=True)
class EventFault:
    """What is answered for an event in place of PostHog's own verdict.

    Attributes:
        result: `retry` and `drop` keep nothing of it, `warning` keeps it and leaves the person as they are.
        details: Why, in PostHog's word.
        distinct_ids: The users whose events it hits; None is all of them.
        times: How many events it hits; None is all of them.
    """

    result: Result = attrs.field(validator=validators.in_(("ok", "warning", "drop", "retry")))
    details: str | None = None
    distinct_ids: frozenset[str] | None = attrs.field(default=None, converter=_frozen, repr=False)
    times: int | None = attrs.field(default=1, validator=_is_count)

    def matches(self, distinct_id: str) -> bool:
        """Say whether the fault is meant for an event of that user."""
        return self.distinct_ids is None or distinct_id in self.distinct_ids


@attrs.define(eq=False)
class _Waiting:
    fault: EventFault
    left: int | None


@attrs.define
class EventFaults:
    """The faults that wait for events, first added first taken; safe to use from any thread."""

    _waiting: list[_Waiting] = attrs.field(init=False, factory=list[_Waiting])
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock, repr=False)

    def add(self, fault: EventFault) -> None:
        """Let *fault* happen to the next events it matches."""
        with self._lock:
            self._waiting.append(_Waiting(fault, left=fault.times))

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        with self._lock:
            self._waiting.clear()

    def take(self, distinct_id: str) -> Verdict | None:
        """Return what is answered for an event of that user, and use up one of the fault's times."""
        with self._lock:
            for waiting in self._waiting:
                if waiting.fault.matches(distinct_id):
                    self._use_up(waiting)
                    return Verdict(waiting.fault.result, waiting.fault.details)
        return None

    def _use_up(self, waiting: _Waiting) -> None:
        if waiting.left is None:
            return
        waiting.left -= 1
        if not waiting.left:
            self._waiting.remove(waiting)
