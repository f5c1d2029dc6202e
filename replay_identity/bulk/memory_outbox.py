"""An in-memory outbox for runs without a ledger."""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from queue import SimpleQueue
from threading import Lock
from typing import Any, Final

import attrs

from ..ledger import Claim
from ..outcomes import Accepted, Adjustment, Broken, Outcome, Rejected, Skipped
from ..traits import UserTraits
from .repeated import MergedUser
from .report import BackendReport
from .unanswered import Deferrals, NoAnswer, UnansweredUsers

# After these outcomes the same traits need not be sent again.
_FINAL: Final = (Accepted, Skipped, Rejected, Broken)


@attrs.define
class _QueuedUser:
    """A user to send, merged with later updates until they are sent."""

    row_id: int
    user: UserTraits
    _merged: MergedUser | None = None

    @property
    def removed(self) -> tuple[str, ...]:
        return () if self._merged is None else self._merged.removed

    def merge(self, update: UserTraits) -> None:
        if self._merged is None:
            self._merged = MergedUser(self.user)
        self._merged.merge(update)
        self.user = self._merged.user


@attrs.define
class MemoryOutbox:
    """An outbox that users are put into straight from the source; a crash loses them.

    Updates of a user who waits to be sent are merged. Updates of a user in flight are sent after the outcome.

    Attributes:
        report: Counts users and outcomes.
        clock: Returns seconds since some fixed moment.
    """

    report: BackendReport
    clock: Callable[[], float] = time.monotonic
    _incoming: "SimpleQueue[Sequence[UserTraits]]" = attrs.field(
        factory=SimpleQueue["Sequence[UserTraits]"], init=False
    )
    # By the key of each user; a user is in one of these, and only one in flight may have an update besides.
    _ready: OrderedDict[Hashable, _QueuedUser] = attrs.field(factory=OrderedDict[Hashable, _QueuedUser], init=False)
    _deferred: dict[Hashable, _QueuedUser] = attrs.field(factory=dict[Hashable, _QueuedUser], init=False)
    _in_flight: dict[Hashable, _QueuedUser] = attrs.field(factory=dict[Hashable, _QueuedUser], init=False)
    _updates: dict[Hashable, _QueuedUser] = attrs.field(factory=dict[Hashable, _QueuedUser], init=False)
    _unanswered: UnansweredUsers[Hashable] = attrs.field(init=False)
    # The thread that reads the source and the one that delivers change the counts of upserts.
    _counts_lock: Lock = attrs.field(factory=Lock, init=False)
    _next_row_id: int = attrs.field(default=0, init=False)
    _abandoned: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._unanswered = UnansweredUsers(self.clock)

    def enqueue(self, users: Sequence[UserTraits]) -> None:
        """Add *users*; safe from the thread that reads the source."""
        with self._counts_lock:
            self.report.upserts.pending += len(users)
        self._incoming.put(users)

    def next(self) -> Claim | None:
        """Return the next claim that is not in flight, or None."""
        for key in self._unanswered.take_due():
            self._ready[key] = self._deferred.pop(key)
        while not self._incoming.empty():
            self._receive(self._incoming.get())
        if not self._ready:
            return None
        key, queued = self._ready.popitem(last=False)
        self._in_flight[key] = queued
        return Claim(queued.row_id, 0, queued.user, queued.removed)

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
        """Record the outcome of *claim*, and what was *lost* of a user who needs no request."""
        if isinstance(outcome, _FINAL):
            self.report.add(outcome, lost)
            self._unanswered.forget(claim.row_id)
            self._end(claim)
        elif self._unanswered.may_send_again(claim.row_id, outcome):
            self._send_again(claim, self._ready)
        else:
            self._abandoned += 1
            self._end(claim)

    def defer(self, claim: Claim, outcome: NoAnswer, seconds: float) -> None:
        """Record the outcome of *claim*, and send the user again after that many seconds."""
        if self._unanswered.record(claim.row_id, outcome, is_attempt=True):
            self._unanswered.defer(claim.row_id, self._send_again(claim, self._deferred), seconds)
        else:
            self._abandoned += 1
            self._end(claim)

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

    def deferrals(self) -> Deferrals | None:
        """Return the users who are sent later, or None if others are left to send."""
        return self._unanswered.deferrals() if self.pending() <= self._abandoned + self.deferred() else None

    def has_other_settings(self) -> bool:
        """Return False: no other process has these users."""
        return False

    def unanswered(self) -> Iterable[Outcome]:
        """Return the last outcome of each pending user who was sent without a usable answer."""
        return self._unanswered.outcomes()

    def _receive(self, users: Sequence[UserTraits]) -> None:
        for row_id, user in enumerate(users, self._next_row_id):
            key = self._key(user, row_id)
            if key in self._in_flight:
                queue = self._updates
            else:
                queue = self._deferred if key in self._deferred else self._ready
            if key in queue:
                self._merge(queue[key], user)
            else:
                queue[key] = _QueuedUser(row_id, user)
        self._next_row_id += len(users)

    def _merge(self, queued: _QueuedUser, update: UserTraits) -> None:
        queued.merge(update)
        with self._counts_lock:
            self.report.upserts.pending -= 1
            self.report.upserts.already_pending += 1

    def _end(self, claim: Claim) -> None:
        """Stop sending the user of *claim* as claimed; an update is sent next."""
        key = self._key(claim.user, claim.row_id)
        del self._in_flight[key]
        if key in self._updates:
            self._ready[key] = self._updates.pop(key)

    def _send_again(self, claim: Claim, queue: dict[Hashable, _QueuedUser]) -> Hashable:
        """Put the user of *claim* into *queue* with the newest state; return the key."""
        key = self._key(claim.user, claim.row_id)
        queued = queue[key] = self._in_flight.pop(key)
        if key in self._updates:
            self._merge(queued, self._updates.pop(key).user)
        return key

    def _key(self, user: UserTraits, row_id: int) -> Hashable:
        """Return what the backend knows *user* by, or *row_id* for an anonymous user."""
        if user.user_id is not None:
            return user.user_id
        vendor_id = user.vendor_ids.get(self.report.backend)
        return row_id if vendor_id is None else (vendor_id,)
