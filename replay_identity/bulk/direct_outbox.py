"""Who is to be sent straight from the source, and what became of them: for runs without a ledger."""

from collections import Counter, deque
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Final

import attrs

from ..ledger import Claim
from ..model import UserTraits
from ..outcome import Accepted, Broken, Outcome, Rejected, Skipped, Unknown
from .books import Books
from .outbox import MOST_UNKNOWN

# After these the same traits need not be sent again.
_FINAL: Final = (Accepted, Skipped, Rejected, Broken)


@attrs.define
class DirectOutbox:
    """Claims straight from the source, which a crash loses: for runs without a ledger, which send no batches.

    Attributes:
        books: What is counted.
    """

    books: Books
    _incoming: "SimpleQueue[Sequence[UserTraits]]" = attrs.field(
        factory=SimpleQueue["Sequence[UserTraits]"], init=False
    )
    _ready: deque[Claim] = attrs.field(factory=deque[Claim], init=False)
    _unknown: Counter[int] = attrs.field(factory=Counter[int], init=False)
    _places: int = attrs.field(default=0, init=False)
    _given_up: int = attrs.field(default=0, init=False)

    def put(self, users: Sequence[UserTraits]) -> None:
        """Take in *users*; from the thread that reads the source."""
        self.books.put.due += len(users)
        self._incoming.put(users)

    def next(self) -> Claim | None:
        """Return somebody to send who is not under way, or None if there is nobody just now."""
        if not self._ready:
            self._take_in()
        return self._ready.popleft() if self._ready else None

    def settle(self, claim: Claim, outcome: Outcome) -> None:
        """Take note of what became of a claim."""
        if isinstance(outcome, _FINAL):
            self.books.add(outcome)
            if self._unknown:
                self._unknown.pop(claim.place, None)
            return
        if isinstance(outcome, Unknown):
            self._unknown[claim.place] += 1
            # Sent again, an anonymous user could become two.
            if not outcome.retryable or self._unknown[claim.place] >= MOST_UNKNOWN:
                self._given_up += 1
                return
        self._ready.append(claim)

    def flush(self) -> None:
        """Do nothing: nothing is kept."""

    def tick(self, *, is_idle: bool) -> None:
        """Do nothing, as `flush`."""

    def tidy(self) -> None:
        """Do nothing, as `flush`."""

    def backlog(self) -> int:
        """Return how many users are not settled."""
        return self.pending()

    def is_empty(self) -> bool:
        """Tell whether nobody is left to be sent, now and under way."""
        return self.pending() <= self._given_up

    def pending(self) -> int:
        """Return how many users are not settled."""
        return self.books.given - self.books.settled

    def _take_in(self) -> None:
        try:
            users = self._incoming.get_nowait()
        except Empty:
            return
        self._ready.extend(Claim(place, 0, user) for place, user in enumerate(users, self._places))
        self._places += len(users)
