"""An in-memory outbox for runs without a ledger."""

from collections import Counter, deque
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Final

import attrs

from ..ledger import Claim
from ..outcomes import Accepted, Broken, Outcome, Rejected, Skipped, Unknown
from ..traits import UserTraits
from .outbox import MAX_UNKNOWN
from .report import BackendReport

# After these outcomes the same traits need not be sent again.
_FINAL: Final = (Accepted, Skipped, Rejected, Broken)


@attrs.define
class MemoryOutbox:
    """An outbox that users are put into straight from the source; a crash loses them.

    Several updates of one user are sent one after the other, in the order of the source.

    Attributes:
        report: Counts users and outcomes.
    """

    report: BackendReport
    _incoming: "SimpleQueue[Sequence[UserTraits]]" = attrs.field(
        factory=SimpleQueue["Sequence[UserTraits]"], init=False
    )
    _ready: deque[Claim] = attrs.field(factory=deque[Claim], init=False)
    # By the id of each user with a claim in flight: the updates to send after it; None, as for nearly all, if none.
    _queued_updates: dict[str, deque[Claim] | None] = attrs.field(factory=dict[str, deque[Claim] | None], init=False)
    _unknown_counts: Counter[int] = attrs.field(factory=Counter[int], init=False)
    _next_row_id: int = attrs.field(default=0, init=False)
    _abandoned: int = attrs.field(default=0, init=False)

    def enqueue(self, users: Sequence[UserTraits]) -> None:
        """Add *users*; safe from the thread that reads the source."""
        self.report.upserts.pending += len(users)
        self._incoming.put(users)

    def next(self) -> Claim | None:
        """Return the next claim that is not in flight, or None."""
        if not self._ready:
            self._receive()
        return self._ready.popleft() if self._ready else None

    def settle(self, claim: Claim, outcome: Outcome) -> None:
        """Record the outcome of *claim*."""
        if isinstance(outcome, _FINAL):
            self.report.add(outcome)
            if self._unknown_counts:
                self._unknown_counts.pop(claim.row_id, None)
            self._release_next(claim)
            return
        if isinstance(outcome, Unknown):
            self._unknown_counts[claim.row_id] += 1
            # An anonymous user who is sent again could become two.
            if not outcome.retryable or self._unknown_counts[claim.row_id] >= MAX_UNKNOWN:
                self._abandoned += 1
                self._release_next(claim)
                return
        self._ready.append(claim)

    def flush(self) -> None:
        """Do nothing: nothing is kept on disk."""

    def tick(self, *, is_idle: bool) -> None:
        """Do nothing: nothing is kept on disk."""

    def purge(self) -> None:
        """Do nothing: nothing is kept on disk."""

    def backlog(self) -> int:
        """Return the number of users who are not settled."""
        return self.pending()

    def is_empty(self) -> bool:
        """Return True if nobody is left to send or in flight, except users abandoned for this run."""
        return self.pending() <= self._abandoned

    def pending(self) -> int:
        """Return the number of users who are not settled."""
        return self.report.given - self.report.settled

    def _receive(self) -> None:
        try:
            users = self._incoming.get_nowait()
        except Empty:
            return
        for row_id, user in enumerate(users, self._next_row_id):
            claim = Claim(row_id, 0, user)
            if not self._is_queued(claim):
                self._ready.append(claim)
        self._next_row_id += len(users)

    def _is_queued(self, claim: Claim) -> bool:
        """Queue *claim* behind an earlier update of the same user; return False if there is none."""
        user_id = self._id_of(claim.user)
        if user_id is None:
            return False
        if user_id not in self._queued_updates:
            self._queued_updates[user_id] = None
            return False
        queue = self._queued_updates[user_id]
        if queue is None:
            queue = self._queued_updates[user_id] = deque()
        queue.append(claim)
        return True

    def _release_next(self, claim: Claim) -> None:
        """Make the next update of the user of *claim* ready to be sent."""
        user_id = self._id_of(claim.user)
        if user_id is None:
            return
        if queue := self._queued_updates[user_id]:
            self._ready.append(queue.popleft())
        else:
            del self._queued_updates[user_id]

    def _id_of(self, user: UserTraits) -> str | None:
        """Return the id that the backend knows *user* by, or None for an anonymous user."""
        return user.vendor_ids.get(self.report.backend) if user.user_id is None else user.user_id
