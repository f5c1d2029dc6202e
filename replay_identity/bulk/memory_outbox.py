"""An in-memory outbox for runs without a ledger."""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final

import attrs

from ..ledger import Claim
from ..outcomes import Accepted, Adjustment, Broken, Outcome, Rejected, Skipped
from ..traits import UserTraits
from .report import BackendReport
from .unanswered import NextDeferred, NoAnswer, UnansweredUsers

# After these outcomes the same traits need not be sent again.
_FINAL: Final = (Accepted, Skipped, Rejected, Broken)


@attrs.define
class MemoryOutbox:
    """An outbox that users are put into straight from the source; a crash loses them.

    Several updates of one user are sent one after the other, in the order of the source.

    Attributes:
        report: Counts users and outcomes.
        clock: Returns seconds since some fixed moment.
    """

    report: BackendReport
    clock: Callable[[], float] = time.monotonic
    _incoming: "SimpleQueue[Sequence[UserTraits]]" = attrs.field(
        factory=SimpleQueue["Sequence[UserTraits]"], init=False
    )
    _ready: deque[Claim] = attrs.field(factory=deque[Claim], init=False)
    # By the id of each user with a claim in flight: the updates to send after it; None, as for nearly all, if none.
    _queued_updates: dict[str, deque[Claim] | None] = attrs.field(factory=dict[str, deque[Claim] | None], init=False)
    _unanswered: UnansweredUsers[Claim] = attrs.field(init=False)
    _next_row_id: int = attrs.field(default=0, init=False)
    _abandoned: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._unanswered = UnansweredUsers(self.clock)

    def enqueue(self, users: Sequence[UserTraits]) -> None:
        """Add *users*; safe from the thread that reads the source."""
        self.report.upserts.pending += len(users)
        self._incoming.put(users)

    def next(self) -> Claim | None:
        """Return the next claim that is not in flight, or None."""
        self._ready.extend(self._unanswered.take_due())
        if not self._ready:
            self._receive()
        return self._ready.popleft() if self._ready else None

    @property
    def has_confirmed_state(self) -> bool:
        """Return False: nothing is known of earlier runs."""
        return False

    def compare(
        self,
        claim: Claim,
        fields: Mapping[str, Any],  # noqa: ARG002  # Part of the interface.
    ) -> tuple[Claim, Collection[str] | None]:
        """Return *claim* and None: nothing counts as confirmed."""
        return claim, None

    def stored_names(self, claim: Claim) -> Collection[str]:  # noqa: ARG002  # Part of the interface.
        """Return no names: nothing is known of earlier runs."""
        return ()

    def settle(self, claim: Claim, outcome: Outcome, *, lost: tuple[Adjustment, ...] = ()) -> None:
        """Record the outcome of *claim*, and what was *lost* of a user who need not be sent."""
        if isinstance(outcome, _FINAL):
            self.report.add(outcome, lost)
            self._unanswered.forget(claim.row_id)
            self._release_next(claim)
        elif self._unanswered.may_send_again(claim.row_id, outcome):
            self._ready.append(claim)
        else:
            self._abandon(claim)

    def defer(self, claim: Claim, outcome: NoAnswer, seconds: float) -> None:
        """Record the outcome of *claim*, and send the user again after that many seconds."""
        if self._unanswered.record(claim.row_id, outcome, is_attempt=True):
            self._unanswered.defer(claim.row_id, claim, seconds)
        else:
            self._abandon(claim)

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

    def deferred(self) -> int:
        """Return the number of users who are sent again later."""
        return self._unanswered.deferred

    def next_deferred(self) -> NextDeferred | None:
        """Return the deferred user who is sent first, or None if others are left to send."""
        only_deferred = self.pending() <= self._abandoned + self.deferred()
        return self._unanswered.next_deferred() if only_deferred else None

    def unanswered(self) -> Iterable[Outcome]:
        """Return the last outcome of each pending user who was sent without a usable answer."""
        return self._unanswered.outcomes()

    def _abandon(self, claim: Claim) -> None:
        self._abandoned += 1
        self._release_next(claim)

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
