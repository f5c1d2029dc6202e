"""Users who were sent without a usable answer: how often, why, and who is sent again later."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import count
from typing import Final, Generic, TypeAlias, TypeVar

import attrs

from ..outcomes import Outcome, Unavailable, Unknown
from ..retry import Backoff

# A user who is sent this often in one run without a usable answer is left pending for the next run.
MAX_ATTEMPTS: Final = 20

# An outcome that leaves the user pending, though the settings are right.
NoAnswer: TypeAlias = Unavailable | Unknown
# For isinstance, which takes a tuple three times as fast as a union.
UNANSWERED: Final = (Unavailable, Unknown)

T = TypeVar("T")


@attrs.frozen(order=True)
class _Deferred(Generic[T]):
    """A user who is not sent before the moment *due*; numbers keep the order of equal moments."""

    due: float
    number: int
    row_id: int = attrs.field(order=False)
    item: T = attrs.field(order=False)


@attrs.frozen
class Deferrals:
    """The users who are sent later, if nobody else is left to send.

    Attributes:
        count: Number of users.
        seconds: Seconds until the first of them is sent.
        cause: Why that user is sent later.
    """

    count: int
    seconds: float
    cause: str


@attrs.define
class UserBackoffs:
    """How long each user without a usable answer waits: longer each time.

    Attributes:
        initial: Seconds after the first time.
        maximum: Maximum seconds, unless the vendor asks for more.
    """

    initial: float
    maximum: float
    _by_row_id: dict[int, Backoff] = attrs.field(factory=dict[int, Backoff], init=False)

    def next(self, row_id: int, outcome: NoAnswer) -> float:
        """Return the seconds to wait after *outcome*."""
        backoff = self._by_row_id.get(row_id)
        if backoff is None:
            backoff = self._by_row_id[row_id] = Backoff(self.initial, self.maximum)
        min_wait = outcome.retry_after if isinstance(outcome, Unavailable) else None
        return max(backoff.next(), min_wait or 0.0)

    def forget(self, row_ids: Iterable[int]) -> None:
        """Forget users who got a usable answer."""
        if self._by_row_id:
            for row_id in row_ids:
                self._by_row_id.pop(row_id, None)


@attrs.define
class UnansweredUsers(Generic[T]):
    """The users of one run without a usable answer.

    Attributes:
        clock: Returns seconds since some fixed moment.
    """

    clock: Callable[[], float] = time.monotonic
    _attempts: Counter[int] = attrs.field(factory=Counter[int], init=False)
    _outcomes: dict[int, NoAnswer] = attrs.field(factory=dict[int, NoAnswer], init=False)
    _deferred: list[_Deferred[T]] = attrs.field(factory=list[_Deferred[T]], init=False)
    _numbers: "count[int]" = attrs.field(factory=count, init=False)

    def may_send_again(self, row_id: int, outcome: Outcome) -> bool:
        """Record the outcome of a user who is not deferred; return False if the user is abandoned for this run."""
        if not isinstance(outcome, UNANSWERED):
            self.forget((row_id,))
            return True
        # The whole request was rejected for now, which says nothing about its users.
        return self.record(row_id, outcome, is_attempt=isinstance(outcome, Unknown))

    def record(self, row_id: int, outcome: NoAnswer, *, is_attempt: bool) -> bool:
        """Record the last outcome of a user; return False if the user is abandoned for this run."""
        self._outcomes[row_id] = outcome
        self._attempts[row_id] += is_attempt
        return outcome.retryable and self._attempts[row_id] < MAX_ATTEMPTS

    def forget(self, row_ids: Iterable[int]) -> None:
        """Forget users who got a usable answer."""
        if self._outcomes:
            for row_id in row_ids:
                self._outcomes.pop(row_id, None)
                self._attempts.pop(row_id, None)

    def defer(self, row_id: int, item: T, seconds: float) -> None:
        """Return *item* from `take_due` after that many seconds."""
        heappush(self._deferred, _Deferred(self.clock() + seconds, next(self._numbers), row_id, item))

    def take_due(self) -> list[T]:
        """Remove and return the items that are due."""
        due: list[T] = []
        while self._deferred and self._deferred[0].due <= self.clock():
            due.append(heappop(self._deferred).item)
        return due

    @property
    def deferred(self) -> int:
        """Return the number of deferred users."""
        return len(self._deferred)

    def deferrals(self) -> Deferrals | None:
        """Return the deferred users, or None if there are none."""
        if not self._deferred:
            return None
        first = self._deferred[0]
        return Deferrals(self.deferred, first.due - self.clock(), self._outcomes[first.row_id].cause)

    def outcomes(self) -> Iterable[NoAnswer]:
        """Return the last outcome of each user who got no usable answer since."""
        return self._outcomes.values()
