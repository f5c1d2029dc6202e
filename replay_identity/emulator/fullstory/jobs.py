"""Batch imports: how many there may be, and whose turn it is."""

import base64
import hashlib
import math
import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs

from ..answer import JsonObject
from ..rate_limit import Clock
from .batch_rules import BatchRules
from .job import BatchJob, Job, JobStatus
from .job_faults import JobFaults
from .refusal import RefusalError, refusal, too_many_requests

Write: TypeAlias = Callable[[JsonObject], str]
"""Applies an item and returns the user's Fullstory id, or refuses it."""

# Policy: a client is never told to wait longer for a job to end, however long the job runs.
LONGEST_WAIT = 60

SERVER_ERROR = refusal(500)


@attrs.define(kw_only=True)
class Jobs:
    """All batch imports of one organisation."""

    rules: BatchRules
    clock: Clock = attrs.field(repr=False)
    write: Write = attrs.field(repr=False)
    faults: JobFaults
    _known: dict[str, Job] = attrs.field(init=False, factory=dict[str, Job])
    _in_progress: dict[str, Job] = attrs.field(init=False, factory=dict[str, Job])
    _accepted: int = attrs.field(init=False, default=0)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock, repr=False)

    def accept(self, items: Sequence[JsonObject]) -> Job:
        """Take a job on, or refuse it with 429."""
        with self._lock:
            # Policy: what was there before decides, as in "once there are"; the job's own items do not count.
            operations = sum(job.size for job in self._in_progress.values())
            if len(self._in_progress) >= self.rules.max_jobs or operations >= self.rules.max_operations:
                raise too_many_requests(self._seconds_to_wait())

            job = self._new_job(items)
            self._known[job.id] = self._in_progress[job.id] = job
            return job

    def find(self, job_id: str) -> Job:
        """Return the job, or refuse with 404."""
        job = self._known.get(job_id)
        if job is None or job.fault.vanishes or self._is_forgotten(job):
            raise refusal(404)
        return job

    def all(self) -> Sequence[BatchJob]:
        """Return every job as it stands, oldest first."""
        return tuple(job.snapshot() for job in list(self._known.values()))

    def due_items(self) -> int:
        """Return how many items would be applied now, if all that are due were."""
        with self._lock:
            return sum(job.end - job.position for job in self._due())

    def work(self, most: int) -> float | None:
        """Apply at most *most* of the items that are due.

        Returns:
            The seconds after which more will be due, or None where time alone makes nothing due.
        """
        with self._lock:
            while due := self._due():
                if not most:
                    return 0.0
                # Policy: one job after the other, by the time at which they are due, each in the order of its items.
                job = min(due, key=lambda job: (not job.position, job.due))
                most -= self._apply(job, most)

            timed = [job.due for job in self._in_progress.values() if self._was_polled_enough(job)]
            next_due = min(timed, default=math.inf)
            return None if math.isinf(next_due) else next_due - self.clock()

    def clear(self) -> None:
        """Forget all jobs and what was to go wrong with them; those in progress end. Ids go on."""
        # Whoever resets the emulator does so from another thread, perhaps in the middle of a slice.
        with self._lock:
            self._known.clear()
            self._in_progress.clear()
            self.faults.clear()

    def _new_job(self, items: Sequence[JsonObject]) -> Job:
        self._accepted += 1
        fault = self.faults.take()
        return Job(
            id=_job_id(self._accepted),
            size=len(items),
            seconds=self.rules.job_seconds if fault.seconds is None else fault.seconds,
            fault=fault,
            items=items,
            created=self.clock(),
        )

    def _due(self) -> Sequence[Job]:
        self._start()
        now = self.clock()
        return [job for job in self._in_progress.values() if job.due <= now and self._was_polled_enough(job)]

    def _start(self) -> None:
        # "After 100 in-progress batches, future batch requests will be accepted, but will not start."
        running = sum(not math.isinf(job.started) for job in self._in_progress.values())
        waiting = [job for job in self._in_progress.values() if math.isinf(job.started)]
        for job in waiting[: self.rules.max_running - running]:
            job.started = self.clock()

    def _was_polled_enough(self, job: Job) -> bool:
        return job.polls >= self.rules.job_polls

    def _apply(self, job: Job, most: int) -> int:
        items = job.items[job.position : min(job.end, job.position + most)]
        for item in items:
            self._apply_item(job, item)
        job.position += len(items)
        if job.position == job.end:
            self._finish(job)
        return len(items)

    def _apply_item(self, job: Job, item: JsonObject) -> None:
        try:
            job.imports.append(self.write(item))
        except RefusalError as error:
            job.fail([item], error)

    def _finish(self, job: Job) -> None:
        if job.fault.lists_items:
            job.fail(job.items[job.end :], SERVER_ERROR)
        job.items = ()
        job.finished = self.clock()
        job.status = self._final_status(job)
        self._in_progress.pop(job.id, None)

    def _final_status(self, job: Job) -> JobStatus:
        if job.fault.applies is not None or self.rules.final_status == "always-failed":
            return "FAILED"
        return "FAILED" if job.errors and self.rules.final_status == "spec" else "COMPLETED"

    def _is_forgotten(self, job: Job) -> bool:
        kept = self.rules.result_seconds
        return job.finished is not None and kept is not None and self.clock() - job.finished >= kept

    def _seconds_to_wait(self) -> int:
        soonest = min((job.due for job in self._in_progress.values()), default=math.inf) - self.clock()
        return max(1, math.ceil(min(soonest, LONGEST_WAIT)))


def _job_id(number: int) -> str:
    # The examples end in "=" ("abd123="); a slash and a plus sign have to be percent-encoded for sure.
    digest = hashlib.sha256(f"job {number}".encode()).digest()
    return f"j/+{base64.b64encode(digest[:10]).decode()}"
