"""The jobs at one vendor that have not ended, and whether any of them makes progress."""

from collections.abc import Callable
from typing import Final

import attrs

from .._text import pluralize
from ..adapters.protocols import JobProgress
from ..errors import printable
from ..ledger import StoredJob

# Jobs named in the problem of a run.
_MAX_NAMED: Final = 3


@attrs.define
class _OpenJob:
    """One job and its progress.

    Both *done* and *statuses* only grow, so that counts that go backwards, or statuses that alternate, do not look like
    progress.

    Attributes:
        job: The job.
        done: Largest number of users that the vendor has reported as imported or rejected.
        statuses: Statuses seen so far.
        obstacle: Why the last request brought no progress, or None if it did.
    """

    job: StoredJob
    done: int = -1
    statuses: set[str | None] = attrs.field(factory=set[str | None])
    obstacle: str | None = None

    def __str__(self) -> str:
        name = "a new batch" if self.job.vendor_job is None else printable(self.job.vendor_job)
        return f"{name} ({self.obstacle})"


@attrs.define
class OpenJobs:
    """The jobs at one vendor that have not ended.

    Attributes:
        clock: Returns seconds since some fixed moment.
    """

    clock: Callable[[], float]
    _by_key: dict[str, _OpenJob] = attrs.field(factory=dict[str, _OpenJob], init=False)
    _progress_at: float = attrs.field(default=0.0, init=False)

    @property
    def count(self) -> int:
        """Return the number of jobs."""
        return len(self._by_key)

    @property
    def users(self) -> int:
        """Return the number of their users."""
        return sum(each.job.size for each in self._by_key.values())

    def add(self, job: StoredJob) -> None:
        """Add *job*, or replace it by itself with the vendor's id."""
        self._by_key[job.idempotency_key] = _OpenJob(job)
        self._progress_at = self.clock()

    def remove(self, job: StoredJob) -> None:
        """Remove *job*, which has ended."""
        del self._by_key[job.idempotency_key]
        self._progress_at = self.clock()

    def record_poll(self, job: StoredJob, progress: JobProgress) -> None:
        """Record what the vendor has reported about *job*."""
        known = self._by_key[job.idempotency_key]
        done = min(job.size, progress.imported + progress.rejected)
        if progress.running and done <= known.done and progress.status in known.statuses:
            known.obstacle = "still running" if progress.status is None else f"status {progress.status}"
            return
        known.done, known.obstacle = max(known.done, done), None
        known.statuses.add(progress.status)
        self._progress_at = self.clock()

    def record_obstacle(self, job: StoredJob, obstacle: str) -> None:
        """Record why *job* makes no progress."""
        self._by_key[job.idempotency_key].obstacle = obstacle

    def describe_stall(self, patience: float) -> str | None:
        """Return a text that names the jobs if all of them made no progress for *patience* seconds, else None."""
        jobs = list(self._by_key.values())
        if self.clock() - self._progress_at <= patience or any(each.obstacle is None for each in jobs):
            return None
        named = ", ".join(map(str, jobs[:_MAX_NAMED]))
        more = f" and {len(jobs) - _MAX_NAMED:,} more" if len(jobs) > _MAX_NAMED else ""
        return f"{pluralize(len(jobs), 'job')} without progress for {patience:g} s: {named}{more}"
