"""What may go wrong with a batch import after it was accepted."""

from collections import deque
from typing import Any

import attrs
from attrs import validators


def _is_count(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is not None and (not isinstance(value, int) or value < 0):
        raise ValueError(f"{attribute.name} must be a whole number from 0, or None")


@attrs.frozen(kw_only=True)
class JobFault:
    """What goes wrong with one job; without any field set, nothing does.

    Attributes:
        seconds: How long the job runs, in place of the rules' `job_seconds`; `math.inf` is for ever.
        applies: Only so many of its items are handled, in order, and then the job is FAILED; 0 is a job that
            failed as a whole.
        lists_items: Whether the items that were not handled are listed as errors, or are not heard of again.
        says: A status that polls tell in place of the true one, such as UNKNOWN.
        polls: How many polls are told so; None is all of them.
        vanishes: The job can not be found by anybody, though it runs.
    """

    seconds: float | None = attrs.field(default=None, validator=validators.optional(validators.ge(0)))
    applies: int | None = attrs.field(default=None, validator=_is_count)
    lists_items: bool = False
    says: str | None = None
    polls: int | None = attrs.field(default=1, validator=_is_count)
    vanishes: bool = False


NO_FAULT = JobFault()


@attrs.define
class JobFaults:
    """The faults that wait for jobs, first added first taken; safe to use from any thread."""

    _waiting: deque[JobFault] = attrs.field(init=False, factory=deque[JobFault])

    def add(self, fault: JobFault, *, times: int = 1) -> None:
        """Let *fault* happen to each of the next *times* jobs that are accepted."""
        self._waiting.extend([fault] * times)

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        self._waiting.clear()

    def take(self) -> JobFault:
        """Return what goes wrong with the next job."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return NO_FAULT
