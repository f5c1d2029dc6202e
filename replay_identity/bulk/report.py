"""The report of a run, and its progress while it runs."""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import attrs

from ..deletion import DeletionReceipt, DeletionStatus
from ..ledger import AccountCounts, AccountInfo, UpsertCounts
from ..outcomes import Accepted, Adjustment, Misconfigured, Outcome, lossy_adjustments
from ..sources import BadRow, SourceNotes
from .stats import BackendStats


@attrs.define
class BackendReport:
    """Counts of one backend's users in one run: given = accepted + unchanged + rejected + pending.

    Attributes:
        backend: Name of the backend.
        account: Printable name of its account, without secrets.
        former_account: Account that the same key belonged to before this run, if its vendor now names another
            organisation; else empty.
        new_account: True if the ledger has never been used for the account.
        other_accounts: Accounts that the ledger has been used for under the same name, the latest first.
        carried: Users who were pending before the run, or that another process upserted during it.
        elsewhere: Users of those that another process settled during the run, without rejecting them.
        rejected_elsewhere: Users of this run's rows, or pending before it, that another process rejected meanwhile.
        upserts: What the rows of this run changed.
        stats: Outcomes of the pending users, with their causes.
        pending: Users who are still pending.
        problem: Why the run gave up on the backend, or None.
        abandoned_jobs: The vendor's ids of jobs that had not ended within `DeliveryOptions.job_patience`.
    """

    backend: str
    account: str = ""
    former_account: str = ""
    new_account: bool = False
    other_accounts: tuple[AccountCounts, ...] = ()
    carried: int = 0
    elsewhere: int = 0
    rejected_elsewhere: int = 0
    upserts: UpsertCounts = attrs.field(factory=UpsertCounts)
    stats: BackendStats = attrs.field(factory=BackendStats)
    pending: int = 0
    problem: str | None = None
    abandoned_jobs: list[str] = attrs.field(factory=list[str])

    def open(self, info: AccountInfo) -> None:
        """Take over what the ledger knew of the account."""
        self.new_account, self.other_accounts = info.is_new, info.others

    @property
    def given(self) -> int:
        """Return the number of users that this run had to bring up to date."""
        return self.carried - self.elsewhere + self.upserts.pending + self.upserts.unchanged + self.upserts.rejected

    @property
    def accepted(self) -> int:
        """Return the number of users that the vendor accepted."""
        return self.stats.accepted

    @property
    def unchanged(self) -> int:
        """Return the number of users who needed no request: already confirmed, or kept away by a route."""
        return self.upserts.unchanged + self.stats.skipped

    @property
    def rejected(self) -> int:
        """Return the number of users who were rejected, in this run or an earlier one."""
        return self.upserts.rejected + self.stats.rejected + self.rejected_elsewhere

    @property
    def settled(self) -> int:
        """Return the number of users who are not pending."""
        return self.accepted + self.unchanged + self.rejected

    @property
    def is_closed(self) -> bool:
        """Return True if every user is accounted for."""
        return self.given == self.settled + self.pending

    def add(self, outcome: Outcome, lost: tuple[Adjustment, ...] = ()) -> None:
        """Count one settled user, and what was *lost* of a user who needs no request."""
        if lost:
            self.stats.add_adjustments(lost)
        if isinstance(outcome, Accepted):
            # Nearly every user has lossless adjustments; in bulk only losses are worth counting.
            self.stats.accept(lossy_adjustments(outcome.adjustments))
        else:
            self.stats.add(outcome)

    def add_accepted(self, count: int) -> None:
        """Count settled users that the vendor accepted without losses."""
        if count:
            self.stats.outcomes[Accepted.__name__] += count

    def close(self, pending: int, unanswered: Iterable[Outcome] = ()) -> None:
        """Close the counters with the users still *pending*; attribute any difference to other processes.

        Args:
            pending: Number of users who are still pending.
            unanswered: Last outcome of each of them who was sent.
        """
        for outcome in unanswered:
            self.add(outcome)
        self.pending = pending
        surplus = self.settled + pending - self.given
        self.carried += max(0, surplus)
        self.elsewhere += max(0, -surplus)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON-compatible values."""
        stats = self.stats.as_dict()
        return {
            "account": self.account,
            "former_account": self.former_account,
            "new_account": self.new_account,
            "other_accounts": [attrs.asdict(counts) for counts in self.other_accounts],
            "given": self.given,
            "carried": self.carried,
            "elsewhere": self.elsewhere,
            "accepted": self.accepted,
            "unchanged": self.unchanged,
            "rejected": self.rejected,
            "rejected_elsewhere": self.rejected_elsewhere,
            "pending": self.pending,
            "coalesced": self.upserts.already_pending,
            "lossy": self.stats.lossy,
            "problem": self.problem,
            "abandoned_jobs": self.abandoned_jobs,
            **{name: stats[name] for name in ("adjustments", "violations", "causes")},
        }


@attrs.frozen
class Progress:
    """The progress of one backend during a run.

    Attributes:
        backend: Name of the backend.
        given: Users known so far who have to be brought up to date.
        settled: Users of those who are no longer pending.
        status_text: What the backend is waiting for, or an empty string.
        problem: Why the run gave up on the backend, or None.
    """

    backend: str
    given: int
    settled: int
    status_text: str = ""
    problem: str | None = None


class MirrorState(StrEnum):
    """Whether users who are not in the source count as vanished, and whether they may be deleted."""

    COMPLETE = "complete"
    FIRST_RUN = "first run"  # Only remembers the users.
    NO_USERS = "no users"  # An empty source is a failed export.
    BAD_ROWS = "bad rows"  # One of them may be about a user who is still there.
    LEFT_OUT = "left out"  # The mapping left rows out, whose users are still there.
    NOT_READ = "not read"  # Not to its end.
    TOO_MANY = "too many"  # More vanished than may be deleted.


@attrs.define
class MirrorReport:
    """Which users vanished from the source of a mirror, and what was done about them.

    Attributes:
        known: Users that the ledger knew from earlier runs of the mirror.
        state: Whether users count as vanished, and whether they may be deleted.
        vanished: Users who were in the source before and are not any more; 0 unless the source was complete.
        max_deletions: The most users to delete in this run, or None if it only reports them.
        deleted: Users who were deleted at every backend that can delete them.
        receipts: Number of receipts by status, by name of the backend.
        problem: Why the run stopped deleting users, or None.
        retryable: True if a later run may delete users that this one did not.
        misconfigured: True if a vendor refused the settings.
    """

    known: int = 0
    state: MirrorState = MirrorState.COMPLETE
    vanished: int = 0
    max_deletions: int | None = None
    deleted: int = 0
    receipts: dict[str, Counter[DeletionStatus]] = attrs.field(factory=dict[str, Counter[DeletionStatus]])
    problem: str | None = None
    retryable: bool = False
    misconfigured: bool = False

    @property
    def is_usable(self) -> bool:
        """Return True if the source was complete, and no more users vanished than may be deleted."""
        return self.state in {MirrorState.COMPLETE, MirrorState.FIRST_RUN}

    def add(self, receipt: DeletionReceipt) -> None:
        """Count one *receipt*."""
        self.receipts.setdefault(receipt.backend, Counter())[receipt.status] += 1
        self.retryable = self.retryable or receipt.retryable
        self.misconfigured = self.misconfigured or isinstance(receipt.outcome, Misconfigured)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-compatible values."""
        return attrs.asdict(
            self, value_serializer=lambda _, __, value: str(value) if isinstance(value, StrEnum) else value
        )


@attrs.define
class SyncReport:
    """The report of one run.

    Attributes:
        rows: Number of rows read.
        bad_rows: The first invalid rows.
        bad_row_count: Number of invalid rows.
        backends: One report per backend, in the order given.
        stopped: Why the run ended early, or None.
        mirror: Which users vanished from the source, or None if it is not mirrored.
        notes: How the source was read.
    """

    rows: int = 0
    bad_rows: list[BadRow] = attrs.field(factory=list[BadRow])
    bad_row_count: int = 0
    backends: tuple[BackendReport, ...] = ()
    stopped: str | None = None
    mirror: MirrorReport | None = None
    notes: SourceNotes = attrs.field(factory=SourceNotes)

    def __getitem__(self, backend: str) -> BackendReport:
        """Return the report of the backend of that name, or raise KeyError."""
        return {report.backend: report for report in self.backends}[backend]

    @property
    def pending(self) -> int:
        """Return the number of pending users at all backends together."""
        return sum(backend.pending for backend in self.backends)

    @property
    def rejected(self) -> int:
        """Return the number of rejected users at all backends together."""
        return sum(backend.rejected for backend in self.backends)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-compatible values."""
        return {
            "rows": self.rows,
            "bad_row_count": self.bad_row_count,
            "bad_rows": [attrs.asdict(row) for row in self.bad_rows],
            "backends": {backend.backend: backend.as_dict() for backend in self.backends},
            "stopped": self.stopped,
            "mirror": None if self.mirror is None else self.mirror.as_dict(),
            "source": self.notes.as_dict(),
        }
