"""Who is to be sent to one backend, and what became of them: as protocol, and out of a ledger."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import attrs

from ..ledger import Claim, JobEntry, Ledger, Settlement, StoredJob
from ..outcomes import Outcome, Rejected, Skipped, SkipReason, Unknown, Violation
from .report import BackendReport


@attrs.define
class BitSet:
    """A set of places, which count up from 1."""

    _bits: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    _count: int = attrs.field(default=0, init=False)

    def __contains__(self, row_id: int) -> bool:
        byte = row_id >> 3
        return byte < len(self._bits) and bool(self._bits[byte] & 1 << (row_id & 7))

    def __len__(self) -> int:
        return self._count

    def add(self, row_id: int) -> None:
        """Take *row_id* in."""
        byte, bit = row_id >> 3, 1 << (row_id & 7)
        if byte >= len(self._bits):
            self._bits.extend(bytes(byte + 1))  # At least twice as long, so that this happens rarely.
        if not self._bits[byte] & bit:
            self._bits[byte] |= bit
            self._count += 1

    def discard(self, row_id: int) -> None:
        """Take *row_id* out, if it is in."""
        byte, bit = row_id >> 3, 1 << (row_id & 7)
        if byte < len(self._bits) and self._bits[byte] & bit:
            self._bits[byte] ^= bit
            self._count -= 1

    def update(self, row_ids: Iterable[int]) -> None:
        """Take all *row_ids* in."""
        for row_id in row_ids:
            self.add(row_id)

    def difference_update(self, row_ids: Iterable[int]) -> None:
        """Take all *row_ids* out, if they are in."""
        for row_id in row_ids:
            self.discard(row_id)


# Claims taken out at once, and outcomes written down at once, for each of which the disk is waited for.
_GROUP: Final = 500
_MOST_UNWRITTEN: Final = 2000
# Seconds that an outcome may wait to be written down with others, and between two looks for new claims.
_SOON: Final = 0.2
# Seconds that it may wait for a moment in which there is nothing else to do.
_LATEST: Final = 1.0
# So many claims that were handed over are kept in memory, of about 2 KB each.
_MOST_HANDED_OVER: Final = 10_000
# So often a user is sent in one run without an answer; then the run leaves them pending.
MOST_UNKNOWN: Final = 20

_ANONYMOUS: Final = Violation("user_id", "anonymous-user")


class Outbox(Protocol):
    """Claims out, outcomes in; used by the one thread that delivers to its backend."""

    def next(self) -> Claim | None:
        """Return somebody to send who is not under way, or None if there is nobody just now."""
        ...

    def settle(self, claim: Claim, outcome: Outcome) -> None:
        """Take note of what became of a claim."""
        ...

    def flush(self) -> None:
        """Write down what was taken note of."""
        ...

    def tick(self, *, is_idle: bool) -> None:
        """Write down what has waited for long enough; *is_idle* tells that there is nothing else to do."""
        ...

    def tidy(self) -> None:
        """Have what was erased forgotten, unless somebody is under way."""
        ...

    def backlog(self) -> int:
        """Return about how many users are not even under way, from any thread."""
        ...

    def is_empty(self) -> bool:
        """Tell whether nobody is left to be sent, now and under way."""
        ...

    def pending(self) -> int:
        """Return how many users are not settled."""
        ...


def _settlements(entries: Sequence[JobEntry], outcomes: Sequence[Outcome]) -> list[Settlement]:
    pairs = zip(entries, outcomes, strict=bool(outcomes))
    return [Settlement(entry.row_id, entry.version, outcome) for entry, outcome in pairs]


@attrs.define
class LedgerOutbox:
    """Claims out of a ledger, which survive a crash.

    Attributes:
        ledger: The ledger.
        backend: Name of the backend.
        report: What is counted once it is on disk.
        full_state: Whether claims are to all of a user, and not only to what the vendor does not hold yet.
        clock: Seconds since some fixed moment.
    """

    ledger: Ledger
    backend: str
    report: BackendReport
    full_state: bool = False
    clock: Callable[[], float] = time.monotonic
    _ready: deque[Claim] = attrs.field(factory=deque[Claim], init=False)
    _handed_over: deque[Claim] = attrs.field(factory=deque[Claim], init=False)
    # Whom not to claim: those under way, and those this run has given up on.
    _in_flight: BitSet = attrs.field(factory=BitSet, init=False)
    _abandoned: int = attrs.field(default=0, init=False)
    _unknown: Counter[int] = attrs.field(factory=Counter[int], init=False)
    _settlements: list[Settlement] = attrs.field(factory=list[Settlement], init=False)
    _after: int = attrs.field(default=0, init=False)
    _highest: int = attrs.field(default=0, init=False)
    _next_poll: float = attrs.field(default=0.0, init=False)
    _unwritten_since: float = attrs.field(default=0.0, init=False)
    _is_untidy: bool = attrs.field(default=False, init=False)

    def offer(self, claims: Sequence[Claim]) -> None:
        """Take *claims* to users who were just put and are new, so that they need not be read again; from any thread.

        Of many only some are taken: they are due all the same.
        """
        if len(self._handed_over) < _MOST_HANDED_OVER:
            self._handed_over.extend(claims)

    def next(self) -> Claim | None:
        """Return somebody to send who is not under way, or None if there is nobody just now."""
        while not self._ready:
            if not self._claim():
                return None
        claim = self._ready.popleft()
        self._in_flight.add(claim.row_id)
        return claim

    def settle(self, claim: Claim, outcome: Outcome) -> None:
        """Take note of what became of a claim; it is written down with others."""
        if not self._settlements:
            self._unwritten_since = self.clock()
        self._settlements.append(Settlement(claim.row_id, claim.version, outcome))
        if len(self._settlements) >= _MOST_UNWRITTEN:
            self.flush()

    def flush(self) -> None:
        """Write down what was taken note of."""
        settlements, self._settlements = self._settlements, []
        if settlements:
            self._count(settlements, self.ledger.settle(self.backend, settlements))

    def backlog(self) -> int:
        """Return about how many users are not even under way, from any thread."""
        return self.report.given - self.report.settled - self._in_flight_count()

    def tick(self, *, is_idle: bool) -> None:
        """Write down what has waited for long enough; *is_idle* tells that there is nothing else to do."""
        if self._settlements and self.clock() - self._unwritten_since >= (_SOON if is_idle else _LATEST):
            self.flush()

    def tidy(self) -> None:
        """Have SQLite forget what was erased, unless somebody is under way."""
        if self._is_untidy and not self._in_flight_count():
            self._is_untidy = not self.ledger.checkpoint_wal()

    def is_empty(self) -> bool:
        """Tell whether nobody is left to be sent, now and under way, but for those this run has given up on."""
        return not (self._ready or self._in_flight_count()) and self.pending() <= self._abandoned

    def pending(self) -> int:
        """Return how many users are due."""
        return self.ledger.pending_count(self.backend)

    def jobs(self) -> Sequence[StoredJob]:
        """Return the batches under way since an earlier run, whose users `next` does not return."""
        jobs = self.ledger.jobs(self.backend)
        self._in_flight.update(entry.row_id for job in jobs for entry in self.ledger.entries(job))
        return jobs

    def end_job(
        self, job: StoredJob, outcomes: Sequence[Outcome] = (), *, entries: Sequence[JobEntry] | None = None
    ) -> None:
        """Take note of what became of the members of a batch; without outcomes they are to be sent again.

        Args:
            job: The batch.
            outcomes: What became of each of its members.
            entries: These, where they are at hand and need not be read.
        """
        if entries is None:
            entries = self.ledger.entries(job)
        settlements = _settlements(entries, outcomes)
        self._count(settlements, self.ledger.end_job(self.backend, job, settlements))
        if not outcomes:
            self._in_flight.difference_update(entry.row_id for entry in entries)

    def settle_members(self, entries: Sequence[JobEntry], outcomes: Sequence[Outcome]) -> None:
        """Take note of what became of users who were to be a batch and are none."""
        settlements = _settlements(entries, outcomes)
        self._count(settlements, self.ledger.settle(self.backend, settlements))

    def _claim(self) -> bool:
        """Take out some who are due, and tell whether there were any; not all of them have to be sent."""
        claims = self._claim_due() or self._claim_handed_over()
        for claim in claims:
            known = self._known(claim)
            if known is None:
                self._ready.append(claim)
            else:
                self._in_flight.add(claim.row_id)
                self.settle(claim, known)
        return bool(claims)

    def _claim_due(self) -> Sequence[Claim]:
        """Return claims out of the ledger, to users before those who were handed over."""
        now = self.clock()
        if now < self._next_poll:
            return ()
        before = self._handed_over[0].row_id if self._handed_over else None
        claims = self.ledger.claim(
            self.backend,
            after=self._after,
            before=before,
            count=_GROUP,
            skip=self._in_flight,
            full_state=self.full_state,
        )
        self._advance_cursor(claims)
        if len(claims) < _GROUP:
            self._next_poll = now + _SOON
            if before is None:
                self._start_over_if_needed(len(claims))
                self.tidy()
        return claims

    def _claim_handed_over(self) -> Sequence[Claim]:
        """Return claims that were handed over, but none that was taken out of the ledger or overtaken meanwhile."""
        while self._handed_over:
            count = min(_GROUP, len(self._handed_over))
            claims = [self._handed_over.popleft() for _ in range(count)]
            claims = [one for one in claims if one.row_id > self._highest and one.row_id not in self._in_flight]
            claims = self.ledger.still_current(self.backend, claims)
            self._advance_cursor(claims)
            if claims:
                return claims
        return ()

    def _advance_cursor(self, claims: Sequence[Claim]) -> None:
        if claims:
            self._after = claims[-1].row_id
            self._highest = max(self._highest, self._after)

    def _start_over_if_needed(self, claimed: int) -> None:
        """Look from the beginning next time if somebody is due there: those who failed, or who were put once more."""
        if self.pending() > claimed + len(self._in_flight):
            self._after = 0

    def _in_flight_count(self) -> int:
        return len(self._in_flight) - self._abandoned

    def _known(self, claim: Claim) -> Outcome | None:
        """Return what becomes of a claim where that is known without the adapter."""
        if claim.unchanged:
            return Skipped(self.backend, SkipReason.UNCHANGED)
        if claim.user.user_id is None and self.backend not in claim.user.vendor_ids:
            # The vendor could not find them again: each update would make another one.
            return Rejected(self.backend, (_ANONYMOUS,))
        return None

    def _count(self, settlements: Sequence[Settlement], settled: set[int]) -> None:
        self._is_untidy = self._is_untidy or bool(settled)
        for settlement in settlements:
            row_id = settlement.row_id
            if row_id in settled:
                self.report.add(settlement.outcome)
                self._unknown.pop(row_id, None)
            elif self._is_given_up(settlement):
                self._abandoned += 1
                continue
            self._in_flight.discard(row_id)

    def _is_given_up(self, settlement: Settlement) -> bool:
        """Tell whether the vendor has left a user without an answer too often."""
        if not isinstance(settlement.outcome, Unknown):
            return False
        self._unknown[settlement.row_id] += 1
        return self._unknown[settlement.row_id] >= MOST_UNKNOWN
