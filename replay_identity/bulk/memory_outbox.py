"""An in-memory outbox for runs without a ledger."""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from itertools import count
from queue import SimpleQueue
from threading import Lock
from typing import Any, Final

import attrs

from ..ledger import Batch, Claim, JobEntries, StoredJob
from ..outcomes import Accepted, Adjustment, Broken, Outcome, Rejected, Skipped
from ..traits import UserTraits
from .repeated import MergedUser
from .report import BackendReport
from .unanswered import UNANSWERED, Deferrals, NoAnswer, UnansweredUsers, UserBackoffs

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
    """An outbox that users are put into straight from the source; a crash loses them, and the jobs that they are in.

    Updates of a user who waits to be sent are merged. Updates of a user in flight are sent after the outcome.

    Attributes:
        report: Counts users and outcomes.
        clock: Returns seconds since some fixed moment.
        now: Returns seconds since 1970.
    """

    report: BackendReport
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
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
    # By the id of each job; bodies are dropped once the vendor has them.
    _batches: dict[int, Batch] = attrs.field(factory=dict[int, Batch], init=False)
    _job_ids: "count[int]" = attrs.field(factory=lambda: count(1), init=False)

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
        self._settle(self._key(claim.user, claim.row_id), claim.row_id, outcome, lost)

    def defer(self, claim: Claim, outcome: NoAnswer, seconds: float) -> None:
        """Record the outcome of *claim*, and send the user again after that many seconds."""
        self._defer(self._key(claim.user, claim.row_id), claim.row_id, outcome, seconds)

    def jobs(self) -> Sequence[StoredJob]:
        """Return no jobs: nothing is known of earlier runs."""
        return ()

    def start_jobs(self, batches: Sequence[Batch], *, replaced: StoredJob | None = None) -> Sequence[StoredJob]:
        """Keep *batches* until their jobs have ended; they replace a job if one is given."""
        if replaced is not None:
            del self._batches[replaced.id]
        return [self._start_job(batch) for batch in batches]

    def name_job(self, job: StoredJob, vendor_job: str) -> StoredJob:
        """Drop the body of *job*, which need not be sent again, and return it with the vendor's id."""
        self._batches[job.id] = attrs.evolve(self._batches[job.id], body=b"")
        return attrs.evolve(job, vendor_job=vendor_job)

    def entries(self, job: StoredJob) -> JobEntries:
        """Return the users of *job*, in the order of the batch's items."""
        return JobEntries.of(self._batches[job.id].entries)

    def body(self, job: StoredJob) -> bytes:
        """Return the request body of a job whose id at the vendor is not known yet."""
        return self._batches[job.id].body

    def end_job(
        self,
        job: StoredJob,
        outcomes: Sequence[Outcome],
        backoffs: UserBackoffs,
        *,
        entries: JobEntries | None = None,
    ) -> None:
        """Forget *job* and settle its users; see `JobOutbox`."""
        users = self.entries(job) if entries is None else entries
        del self._batches[job.id]
        accepted: list[int] = []
        for key, row_id, outcome in zip(self._keys(users), users.row_ids, outcomes, strict=True):
            if type(outcome) is Accepted and not outcome.adjustments:
                # Nearly all users: counted together.
                accepted.append(row_id)
                self._end(key)
            elif isinstance(outcome, UNANSWERED):
                self._defer(key, row_id, outcome, backoffs.next(row_id, outcome))
            else:
                backoffs.forget((row_id,))
                self._settle(key, row_id, outcome)
        backoffs.forget(accepted)
        self._unanswered.forget(accepted)
        self.report.add_accepted(len(accepted))

    def drop_job(self, job: StoredJob) -> None:
        """Forget *job*, which the vendor did not take; its users are sent again."""
        for key in self._keys(self.entries(job)):
            self._send_again(key, self._ready)
        del self._batches[job.id]

    def settle_entries(self, entries: JobEntries, outcome: Outcome) -> None:
        """Settle users of a batch that could not be built."""
        for key, row_id in zip(self._keys(entries), entries.row_ids, strict=True):
            self._settle(key, row_id, outcome)

    def flush(self) -> None:
        """Do nothing: nothing is kept on disk."""

    def tick(self, *, is_idle: bool) -> None:
        """Do nothing: nothing is kept on disk."""

    def purge(self) -> None:
        """Do nothing: nothing is kept on disk."""

    def backlog(self) -> int:
        """Return the approximate number of users who are neither settled nor in flight; safe from any thread."""
        return self.pending() - len(self._in_flight)

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

    def _start_job(self, batch: Batch) -> StoredJob:
        job = StoredJob(next(self._job_ids), batch.idempotency_key, len(batch.entries), int(self.now()))
        self._batches[job.id] = batch
        return job

    def _settle(self, key: Hashable, row_id: int, outcome: Outcome, lost: tuple[Adjustment, ...] = ()) -> None:
        """Record the outcome of the user of *key*."""
        if isinstance(outcome, _FINAL):
            self.report.add(outcome, lost)
            self._unanswered.forget((row_id,))
            self._end(key)
        elif self._unanswered.may_send_again(row_id, outcome):
            self._send_again(key, self._ready)
        else:
            self._abandoned += 1
            self._end(key)

    def _defer(self, key: Hashable, row_id: int, outcome: NoAnswer, seconds: float) -> None:
        """Record the outcome of the user of *key*, and send them again after that many seconds."""
        if self._unanswered.record(row_id, outcome, is_attempt=True):
            self._send_again(key, self._deferred)
            self._unanswered.defer(row_id, key, seconds)
        else:
            self._abandoned += 1
            self._end(key)

    def _end(self, key: Hashable) -> None:
        """Stop sending the user of *key* as claimed; an update is sent next."""
        del self._in_flight[key]
        if key in self._updates:
            self._ready[key] = self._updates.pop(key)

    def _send_again(self, key: Hashable, queue: dict[Hashable, _QueuedUser]) -> None:
        """Put the user of *key* into *queue* with the newest state."""
        queued = queue[key] = self._in_flight.pop(key)
        if key in self._updates:
            self._merge(queued, self._updates.pop(key).user)

    def _key(self, user: UserTraits, row_id: int) -> Hashable:
        """Return what the backend knows *user* by, or *row_id* for an anonymous user."""
        return _key_of(user.user_id, user.vendor_ids.get(self.report.backend), row_id)

    def _keys(self, entries: JobEntries) -> Iterable[Hashable]:
        """Return what the backend knows each of *entries* by."""
        vendor_ids = map(entries.vendor_ids.get, range(len(entries)))
        return map(_key_of, entries.user_ids, vendor_ids, entries.row_ids)


def _key_of(user_id: str | None, vendor_id: str | None, row_id: int) -> Hashable:
    if user_id is not None:
        return user_id
    return row_id if vendor_id is None else (vendor_id,)
