"""What a run tells: while it runs, and at its end."""

from typing import Any

import attrs

from ..ledger import UpsertCounts
from ..outcomes import Accepted, Outcome, lossy_adjustments
from ..sources import BadRow
from .stats import BackendStats


@attrs.define
class BackendReport:
    """One backend's books of one run, counted in users. They close: given = accepted + unchanged + rejected + pending.

    Attributes:
        backend: Name of the backend.
        carried: Users who were due before the run, or whom another process put meanwhile.
        elsewhere: Users of those whom another process settled meanwhile.
        put: What the rows of this run meant.
        stats: What became of those who were due, and why.
        pending: Users who are still due.
        problem: Why the backend was given up on, or None.
    """

    backend: str
    carried: int = 0
    elsewhere: int = 0
    upserts: UpsertCounts = attrs.field(factory=UpsertCounts)
    stats: BackendStats = attrs.field(factory=BackendStats)
    pending: int = 0
    problem: str | None = None

    @property
    def given(self) -> int:
        """Return how many users the backend had to be brought up to date with by this run."""
        return self.carried - self.elsewhere + self.upserts.pending + self.upserts.unchanged + self.upserts.rejected

    @property
    def accepted(self) -> int:
        """Return how many users the vendor took."""
        return self.stats.accepted

    @property
    def unchanged(self) -> int:
        """Return how many users needed no request: the vendor holds them, or a route keeps them from it."""
        return self.upserts.unchanged + self.stats.skipped

    @property
    def rejected(self) -> int:
        """Return how many users are refused as they are, now or in an earlier run."""
        return self.upserts.rejected + self.stats.rejected

    @property
    def settled(self) -> int:
        """Return how many users are not pending."""
        return self.accepted + self.unchanged + self.rejected

    @property
    def is_closed(self) -> bool:
        """Tell whether every user is accounted for."""
        return self.given == self.settled + self.pending

    def close(self, pending: int) -> None:
        """Take note of how many users are left; what the run does not know of, another process did meanwhile."""
        self.pending = pending
        more = self.settled + pending - self.given
        self.carried += max(0, more)
        self.elsewhere += max(0, -more)

    def add(self, outcome: Outcome) -> None:
        """Count one user who is due no more."""
        if isinstance(outcome, Accepted):
            # In bulk only losses are counted: nearly every user is adjusted without one.
            self.stats.accept(lossy_adjustments(outcome.adjustments))
        else:
            self.stats.add(outcome)

    def as_dict(self) -> dict[str, Any]:
        """Return the books as JSON has them."""
        counted = self.stats.as_dict()
        return {
            "given": self.given,
            "carried": self.carried,
            "elsewhere": self.elsewhere,
            "accepted": self.accepted,
            "unchanged": self.unchanged,
            "rejected": self.rejected,
            "pending": self.pending,
            "coalesced": self.upserts.already_pending,
            "lossy": self.stats.lossy,
            "problem": self.problem,
            **{name: counted[name] for name in ("adjustments", "violations", "causes")},
        }


@attrs.frozen
class Progress:
    """How far one backend is.

    Attributes:
        backend: Name of the backend.
        given: Users known so far who have to be brought up to date.
        settled: Users who are.
        status_text: What is being waited for, or an empty text.
        problem: Why the backend was given up on, or None.
    """

    backend: str
    given: int
    settled: int
    status_text: str = ""
    problem: str | None = None


@attrs.define
class SyncReport:
    """The closed books of one run.

    Attributes:
        rows: Rows that were read.
        bad_rows: The first rows that were no users.
        bad_row_count: How many there were.
        counts: One backend each, in the order given.
        stopped: Why the run ended before its end, or None.
    """

    rows: int = 0
    bad_rows: list[BadRow] = attrs.field(factory=list[BadRow])
    bad_row_count: int = 0
    backends: tuple[BackendReport, ...] = ()
    stopped: str | None = None

    def __getitem__(self, backend: str) -> BackendReport:
        """Return the books of the backend of that name, or raise KeyError."""
        return {counts.backend: counts for counts in self.backends}[backend]

    @property
    def pending(self) -> int:
        """Return how many users are still due, at all backends together."""
        return sum(counts.pending for counts in self.backends)

    @property
    def rejected(self) -> int:
        """Return how many users were refused, at all backends together."""
        return sum(counts.rejected for counts in self.backends)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return {
            "rows": self.rows,
            "bad_row_count": self.bad_row_count,
            "bad_rows": [attrs.asdict(row) for row in self.bad_rows],
            "backends": {counts.backend: counts.as_dict() for counts in self.backends},
            "stopped": self.stopped,
        }
