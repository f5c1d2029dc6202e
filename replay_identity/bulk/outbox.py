"""The outbox protocol and its ledger-backed implementation."""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from ..ledger import Account, Batch, Claim, JobEntries, Ledger, Settlement, StoredJob
from ..ledger.merging import field_names
from ..ledger.store import PathsOf
from ..outcomes import Accepted, Adjustment, Broken, Outcome, Rejected, Violation, lossy_adjustments
from .report import BackendReport
from .unanswered import UNANSWERED, Deferrals, NoAnswer, UnansweredUsers, UserBackoffs

_CLAIM_SIZE: Final = 500
# The most outcomes written in one transaction; each transaction waits for the disk.
_MAX_UNWRITTEN: Final = 2000
# Seconds before outcomes are written while the worker is idle, and while it is busy.
_FLUSH_IDLE_S: Final = 0.2
_FLUSH_BUSY_S: Final = 1.0
# Seconds between two searches of the ledger after one that found few pending users, and the least multiple of the
# processor's time that it took to count them: with a million users in flight, that takes long.
_CLAIM_INTERVAL_S: Final = 0.2
_CLAIM_INTERVAL_FACTOR: Final = 50
# Offered claims kept in memory, of about 2 KB each.
_MAX_OFFERED: Final = 10_000

_ANONYMOUS: Final = Violation("user_id", "anonymous-user")


class Outbox(Protocol):
    """The pending users of one backend, as the one thread that delivers to it sees them."""

    @property
    def has_confirmed_state(self) -> bool:
        """Return True if the outbox knows what the vendor has confirmed."""
        ...

    def next(self) -> Claim | None:
        """Return the next claim that is not in flight, or None."""
        ...

    def compare(self, claim: Claim, fields: Mapping[str, Any]) -> tuple[Claim, Collection[str] | None]:
        """Compare *fields*, as encoded for the vendor, with what it has confirmed.

        Return the claim to settle, and the names of the fields that differ; None if nothing is known to be confirmed.
        """
        ...

    def stored_names(self, claim: Claim) -> Collection[str]:
        """Return the names of the fields that the vendor was ever sent of the user, as far as known."""
        ...

    def settle(self, claim: Claim, outcome: Outcome, *, lost: tuple[Adjustment, ...] = ()) -> None:
        """Record the outcome of *claim*, and what was *lost* of a user who needs no request."""
        ...

    def defer(self, claim: Claim, outcome: NoAnswer, seconds: float) -> None:
        """Record the outcome of *claim*, and send the user again after that many seconds."""
        ...

    def flush(self) -> None:
        """Write all recorded outcomes."""
        ...

    def tick(self, *, is_idle: bool) -> None:
        """Write outcomes that have waited long enough; sooner if the worker *is_idle*."""
        ...

    def purge(self) -> None:
        """Purge erased values from the disk; no-op while claims are in flight."""
        ...

    def backlog(self) -> int:
        """Return the approximate number of pending users who are not in flight; safe from any thread."""
        ...

    def is_empty(self) -> bool:
        """Return True if nobody is left to send or in flight."""
        ...

    def pending(self) -> int:
        """Return the number of users who are not settled."""
        ...

    def deferred(self) -> int:
        """Return the number of users who are sent again later."""
        ...

    def deferrals(self) -> Deferrals | None:
        """Return the users who are sent later, or None if others are left to send."""
        ...

    def has_other_settings(self) -> bool:
        """Return True if another process has begun to deliver with other settings."""
        ...

    def unanswered(self) -> Iterable[Outcome]:
        """Return the last outcome of each pending user who was sent without a usable answer."""
        ...


class JobOutbox(Outbox, Protocol):
    """An outbox that also keeps import jobs, each from before it is sent until its users are settled."""

    @property
    def report(self) -> BackendReport:
        """Return the report that counts the outcomes."""
        ...

    def jobs(self) -> Sequence[StoredJob]:
        """Return the unfinished jobs of earlier runs and mark their users as in flight."""
        ...

    def start_jobs(self, batches: Sequence[Batch], *, replaced: StoredJob | None = None) -> Sequence[StoredJob]:
        """Store *batches* before they are sent; they replace a job if one is given."""
        ...

    def name_job(self, job: StoredJob, vendor_job: str) -> StoredJob:
        """Store the vendor's id of *job*, and erase its body, which need not be sent again."""
        ...

    def entries(self, job: StoredJob) -> JobEntries:
        """Return the users of *job*, in the order of the batch's items."""
        ...

    def body(self, job: StoredJob) -> bytes:
        """Return the request body of a job whose id at the vendor is not known yet."""
        ...

    def end_job(
        self,
        job: StoredJob,
        outcomes: Sequence[Outcome],
        backoffs: UserBackoffs,
        *,
        entries: JobEntries | None = None,
    ) -> None:
        """Delete *job* and settle its users, all at once; those without a usable answer are deferred.

        Args:
            job: The job.
            outcomes: One outcome for each user.
            backoffs: How long users are deferred.
            entries: The users, if the caller has read them already.
        """
        ...

    def drop_job(self, job: StoredJob) -> None:
        """Delete *job*, which the vendor did not take; its users are sent again."""
        ...

    def settle_entries(self, entries: JobEntries, outcome: Outcome) -> None:
        """Settle users of a batch that could not be built."""
        ...


@attrs.define
class BitSet:
    """A set of non-negative integers that takes one bit each."""

    _bits: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    _count: int = attrs.field(default=0, init=False)

    def __contains__(self, number: int) -> bool:
        byte = number >> 3
        return byte < len(self._bits) and bool(self._bits[byte] & 1 << (number & 7))

    def __len__(self) -> int:
        return self._count

    def add(self, number: int) -> None:
        """Add *number*."""
        byte, bit = number >> 3, 1 << (number & 7)
        if byte >= len(self._bits):
            self._bits.extend(bytes(byte + 1))  # At least doubles the size, so that this happens rarely.
        if not self._bits[byte] & bit:
            self._bits[byte] |= bit
            self._count += 1

    def discard(self, number: int) -> None:
        """Remove *number* if it is in the set."""
        byte, bit = number >> 3, 1 << (number & 7)
        if byte < len(self._bits) and self._bits[byte] & bit:
            self._bits[byte] ^= bit
            self._count -= 1

    def update(self, numbers: Iterable[int]) -> None:
        """Add all *numbers*."""
        for number in numbers:
            self.add(number)

    def clear(self) -> None:
        """Remove all numbers."""
        # Of the same size, since another thread may be about to read a byte.
        self._bits[:] = bytes(len(self._bits))
        self._count = 0

    def difference_update(self, numbers: Iterable[int]) -> None:
        """Remove those of *numbers* that are in the set."""
        # Not one call of discard for each, since a job has thousands (`benchmarks/run.py --only fullstory`).
        bits, removed = self._bits, 0
        for number in numbers:
            byte, bit = number >> 3, 1 << (number & 7)
            if byte < len(bits) and bits[byte] & bit:
                bits[byte] ^= bit
                removed += 1
        self._count -= removed


@attrs.define
class Held:
    """The row ids to leave out when users are claimed: those in flight, and those with further rows."""

    in_flight: BitSet
    held: BitSet

    def __contains__(self, row_id: int) -> bool:
        return row_id in self.in_flight or row_id in self.held


@attrs.define
class LedgerOutbox:
    """An outbox over a ledger, which survives a crash.

    Attributes:
        ledger: The ledger.
        account: The backend's account.
        report: Counts each outcome once it is on disk.
        held: Row ids of users who must not be delivered yet.
        opened_at: Version of the ledger when the run began.
        paths_of: Returns the paths of what the backend sends of a user, as losses name them.
        clock: Returns seconds since some fixed moment.
        now: Returns seconds since 1970.
    """

    ledger: Ledger
    account: Account
    report: BackendReport
    held: BitSet = attrs.field(factory=BitSet)
    opened_at: int = 0
    paths_of: PathsOf = field_names
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    _ready: deque[Claim] = attrs.field(factory=deque[Claim], init=False)
    _offered: deque[Claim] = attrs.field(factory=deque[Claim], init=False)
    # Row ids not to claim: users in flight, and users abandoned for this run.
    _in_flight: BitSet = attrs.field(factory=BitSet, init=False)
    _skip: Held = attrs.field(init=False)
    _abandoned: int = attrs.field(default=0, init=False)
    _rejected: BitSet = attrs.field(factory=BitSet, init=False)
    _unanswered: UnansweredUsers[int] = attrs.field(init=False)
    _settlements: list[Settlement] = attrs.field(factory=list[Settlement], init=False)
    _cursor: int = attrs.field(default=0, init=False)
    _highest: int = attrs.field(default=0, init=False)
    _next_claim_at: float = attrs.field(default=0.0, init=False)
    _unwritten_since: float = attrs.field(default=0.0, init=False)
    _needs_purge: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._skip = Held(self._in_flight, self.held)
        self._unanswered = UnansweredUsers(self.clock)

    @property
    def has_confirmed_state(self) -> bool:
        """Return True: the ledger knows what the vendor has confirmed."""
        return True

    def offer(self, claims: Sequence[Claim]) -> None:
        """Offer *claims* of newly inserted users, so that they need not be read back; safe from any thread.

        Claims beyond the limit are ignored: their users are pending in the ledger.
        """
        if len(self._offered) < _MAX_OFFERED:
            self._offered.extend(claims)

    def next(self) -> Claim | None:
        """Return the next claim that is not in flight, or None."""
        if due := self._unanswered.take_due():
            self._in_flight.difference_update(due)
            self._cursor, self._next_claim_at = 0, 0.0
        while not self._ready:
            if not self._claim():
                return None
        claim = self._ready.popleft()
        self._in_flight.add(claim.row_id)
        return claim

    def compare(self, claim: Claim, fields: Mapping[str, Any]) -> tuple[Claim, Collection[str] | None]:
        """Compare *fields*, as encoded for the vendor, with what it has confirmed; see `Ledger.compare`."""
        return self.ledger.compare(claim, fields)

    def stored_names(self, claim: Claim) -> Collection[str]:
        """Return the names of the fields that the vendor has of the user, or may have."""
        return self.ledger.stored_names(claim)

    def settle(self, claim: Claim, outcome: Outcome, *, lost: tuple[Adjustment, ...] = ()) -> None:
        """Record the outcome of *claim*, which is written together with others."""
        self._record(Settlement(claim.row_id, claim.version, outcome, claim.fields, claim.in_doubt, lost))

    def _record(self, settlement: Settlement) -> None:
        if not self._settlements:
            self._unwritten_since = self.clock()
        self._settlements.append(settlement)
        if len(self._settlements) >= _MAX_UNWRITTEN:
            self.flush()

    def defer(self, claim: Claim, outcome: NoAnswer, seconds: float) -> None:
        """Record the outcome of *claim*, and send the user again after that many seconds."""
        settlement = self._deferral(claim.row_id, claim.version, outcome, seconds)
        if settlement is not None:
            self._record(settlement)

    def _deferral(self, row_id: int, version: int, outcome: NoAnswer, seconds: float) -> Settlement | None:
        """Return what to store of a deferral, so that another run waits, too; None if the user is abandoned."""
        if not self._unanswered.record(row_id, outcome, is_attempt=True):
            self._abandoned += 1
            return None
        self._unanswered.defer(row_id, row_id, seconds)
        return Settlement(row_id, version, outcome, not_before=self.now() + seconds)

    def flush(self) -> None:
        """Write all recorded outcomes."""
        settlements, self._settlements = self._settlements, []
        if settlements:
            self._settle(settlements)

    def tick(self, *, is_idle: bool) -> None:
        """Write outcomes that have waited long enough; sooner if the worker *is_idle*."""
        max_age = _FLUSH_IDLE_S if is_idle else _FLUSH_BUSY_S
        if self._settlements and self.clock() - self._unwritten_since >= max_age:
            self.flush()

    def purge(self) -> None:
        """Purge erased values from the disk; no-op while claims are in flight."""
        if self._needs_purge and self._in_flight_count() <= self.deferred():
            self._needs_purge = not self.ledger.purge()

    def backlog(self) -> int:
        """Return the approximate number of pending users who could be sent now; safe from any thread."""
        return self.report.given - self.report.settled - self._in_flight_count() - len(self.held)

    def is_empty(self) -> bool:
        """Return True if nobody is left to send or in flight, except users abandoned for this run."""
        is_busy = self._ready or self._in_flight_count() > self.deferred()
        return not is_busy and self.pending() <= self._abandoned

    def pending(self) -> int:
        """Return the number of pending users."""
        return self.ledger.pending_count(self.account)

    def rejected_elsewhere(self) -> int:
        """Return the number of users, pending before this run or upserted by it, that another process rejected."""
        upserted = self.report.upserts.versions
        return sum(
            each.row_id not in self._rejected
            and (each.since <= self.opened_at or each.since in upserted or each.version in upserted)
            for each in self.ledger.rejected_since(self.account, self.opened_at)
        )

    def deferred(self) -> int:
        """Return the number of users who are sent again later."""
        return self._unanswered.deferred

    def deferrals(self) -> Deferrals | None:
        """Return the users who are sent later, or None if others are left to send."""
        now = self.now()
        if self.ledger.pending_count(self.account, due_at=now) > self._abandoned:
            return None
        due, own = self.ledger.next_due(self.account, now=now), self._unanswered.deferrals()
        if due is None:
            return own
        count = self.pending() - self._abandoned
        return Deferrals(count, due - now, "an earlier run deferred them" if own is None else own.cause)

    def unanswered(self) -> Iterable[Outcome]:
        """Return the last outcome of each pending user who was sent without a usable answer."""
        return self._unanswered.outcomes()

    def jobs(self) -> Sequence[StoredJob]:
        """Return the unfinished jobs of earlier runs and mark their users as in flight."""
        jobs = self.ledger.jobs(self.account)
        for job in jobs:
            self._in_flight.update(self.ledger.entries(job).row_ids)
        return jobs

    def start_jobs(self, batches: Sequence[Batch], *, replaced: StoredJob | None = None) -> Sequence[StoredJob]:
        """Store *batches* before they are sent; they replace a job if one is given."""
        if replaced is not None:
            return self.ledger.split_job(self.account, replaced, batches)
        return [self.ledger.start_job(self.account, batch) for batch in batches]

    def name_job(self, job: StoredJob, vendor_job: str) -> StoredJob:
        """Store the vendor's id of *job*, and erase its body, which need not be sent again."""
        return self.ledger.name_job(job, vendor_job)

    def entries(self, job: StoredJob) -> JobEntries:
        """Return the users of *job*, in the order of the batch's items."""
        return self.ledger.entries(job)

    def body(self, job: StoredJob) -> bytes:
        """Return the request body of a job whose id at the vendor is not known yet."""
        return self.ledger.body(job)

    def end_job(
        self,
        job: StoredJob,
        outcomes: Sequence[Outcome],
        backoffs: UserBackoffs,
        *,
        entries: JobEntries | None = None,
    ) -> None:
        """Delete *job* and settle its users in one transaction; see `JobOutbox`."""
        entries = self.ledger.entries(job) if entries is None else entries
        settlements: list[Settlement] = []
        for entry in zip(_columns(entries), outcomes, strict=True):
            (row_id, version, fields, in_doubt), outcome = entry
            if isinstance(outcome, UNANSWERED):
                deferral = self._deferral(row_id, version, outcome, backoffs.next(row_id, outcome))
                settlements += [] if deferral is None else [deferral]
            else:
                settlements.append(Settlement(row_id, version, outcome, fields, in_doubt))
        backoffs.forget([each.row_id for each in settlements if not each.not_before])
        settled = self.ledger.end_job(self.account, job, settlements, paths_of=self.paths_of)
        self._count(settlements, settled)

    def drop_job(self, job: StoredJob) -> None:
        """Delete *job*, which the vendor did not take; its users are sent again."""
        row_ids = self.ledger.entries(job).row_ids
        self.ledger.end_job(self.account, job)
        self._in_flight.difference_update(row_ids)

    def settle_entries(self, entries: JobEntries, outcome: Outcome) -> None:
        """Settle users of a batch that could not be built."""
        self._settle(
            [
                Settlement(row_id, version, outcome, fields, in_doubt)
                for row_id, version, fields, in_doubt in _columns(entries)
            ]
        )

    def has_other_settings(self) -> bool:
        """Return True if another process has begun to deliver with other settings."""
        return self.ledger.has_other_settings(self.account)

    def _claim(self) -> bool:
        """Claim more users; return False if there are none. Some may be settled at once, without being sent."""
        claims = self._claim_pending() or self._claim_offered()
        for claim in claims:
            rejection = self._rejection(claim)
            if rejection is None:
                self._ready.append(claim)
            else:
                self._in_flight.add(claim.row_id)
                self.settle(claim, rejection)
        return bool(claims)

    def _rejection(self, claim: Claim) -> Outcome | None:
        """Return the outcome of *claim* if it would certainly be rejected, else None."""
        if claim.user.user_id is None and self.account.backend not in claim.user.vendor_ids:
            # The vendor could not find the user again: each update would create another one.
            return Rejected(self.account.backend, (_ANONYMOUS,))
        return claim.rejection

    def _claim_pending(self) -> Sequence[Claim]:
        """Claim users from the ledger, up to the first offered one."""
        now = self.clock()
        if now < self._next_claim_at:
            return ()
        before = self._offered[0].row_id if self._offered else None
        claims = self.ledger.claim(
            self.account,
            after=self._cursor,
            before=before,
            limit=_CLAIM_SIZE,
            skip=self._skip,
            now=self.now(),
        )
        self._advance_cursor(claims)
        if len(claims) < _CLAIM_SIZE:
            self._next_claim_at = now + _CLAIM_INTERVAL_S
            if before is None:
                # The time of the processor, since other threads and processes may make this one wait for the ledger.
                started = time.thread_time()
                self._rewind_if_needed(len(claims))
                seconds = time.thread_time() - started
                self._next_claim_at = now + max(_CLAIM_INTERVAL_S, _CLAIM_INTERVAL_FACTOR * seconds)
                self.purge()
        return claims

    def _claim_offered(self) -> Sequence[Claim]:
        """Return offered claims, without those that were claimed from the ledger or are outdated by now."""
        while self._offered:
            count = min(_CLAIM_SIZE, len(self._offered))
            claims = [self._offered.popleft() for _ in range(count)]
            claims = [claim for claim in claims if claim.row_id > self._highest and claim.row_id not in self._in_flight]
            claims = self.ledger.still_current(self.account, claims)
            self._advance_cursor(claims)
            if claims:
                return claims
        return ()

    def _advance_cursor(self, claims: Sequence[Claim]) -> None:
        if claims:
            self._cursor = claims[-1].row_id
            self._highest = max(self._highest, self._cursor)

    def _rewind_if_needed(self, claimed: int) -> None:
        """Start the next search at the first row if users before the cursor failed or were upserted again."""
        if self.pending() > claimed + len(self._in_flight) + len(self.held):
            self._cursor = 0

    def _settle(self, settlements: Sequence[Settlement]) -> None:
        self._count(settlements, self.ledger.settle(self.account, settlements, paths_of=self.paths_of))

    def _in_flight_count(self) -> int:
        return len(self._in_flight) - self._abandoned

    def _count(self, settlements: Sequence[Settlement], settled: set[int]) -> None:
        """Count the outcomes of *settlements*, of which the ledger has *settled* those row ids."""
        self._needs_purge = self._needs_purge or bool(settled)
        accepted: list[int] = []
        for each in settlements:
            # Nearly all users: counted together (`benchmarks/run.py --only fullstory`).
            if type(each.outcome) is Accepted and each.row_id in settled and not _lost(each):
                accepted.append(each.row_id)
            elif not each.not_before:
                self._count_outcome(each, is_settled=each.row_id in settled)
        self.report.add_accepted(len(accepted))
        self._unanswered.forget(accepted)
        self._in_flight.difference_update(accepted)

    def _count_outcome(self, settlement: Settlement, *, is_settled: bool) -> None:
        row_id, outcome = settlement.row_id, settlement.outcome
        if not self._unanswered.may_send_again(row_id, outcome):
            self._abandoned += 1
            return
        if is_settled:
            self.report.add(outcome, settlement.lost)
            if isinstance(outcome, Rejected | Broken):
                self._rejected.add(row_id)
        self._in_flight.discard(row_id)


def _columns(entries: JobEntries) -> Iterable[tuple[int, int, bytes, bool]]:
    """Return the row id and the version of each user, their fields, and whether they were in doubt."""
    in_doubt = map(entries.in_doubt.__contains__, range(len(entries)))
    return zip(entries.row_ids, entries.versions, entries.fields, in_doubt, strict=True)


def _lost(settlement: Settlement) -> bool:
    """Return True if the report names losses of an accepted user."""
    outcome = settlement.outcome
    return bool(settlement.lost or (isinstance(outcome, Accepted) and lossy_adjustments(outcome.adjustments)))
