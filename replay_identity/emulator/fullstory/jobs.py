"""Batch imports: the jobs, the pages of their results, and the runner that applies them in the background."""

import asyncio
import base64
import hashlib
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

import attrs

from ..http import JsonObject, JsonValue
from ..rate_limit import Clock
from .batch_rules import BatchRules, JobFault, JobFaults, LastPage
from .errors import FullstoryHttpError, http_error, invalid, too_many_requests

JobStatus: TypeAlias = Literal["PROCESSING", "COMPLETED", "FAILED"]
ResultKind: TypeAlias = Literal["imports", "errors"]

WriteItem: TypeAlias = Callable[[JsonObject], str]
"""Applies an item and returns the user's Fullstory id, or raises FullstoryHttpError."""

# Policy: the Retry-After of a 429 has a maximum in seconds, however long the jobs run.
MAX_RETRY_AFTER: Final = 60

# Maximum number of items applied at once, during which no request is served: a few milliseconds.
SLICE: Final = 100

# Maximum number of items that a request applies before it is served, so that tests with few items need not wait.
MAX_INLINE: Final = 500


@attrs.frozen(kw_only=True)
class BatchJob:
    """A snapshot of a batch import.

    Attributes:
        id: The id of the job.
        status: The real status of the job.
        items: Number of items in the batch.
        imports: Number of items imported so far.
        errors: Number of items failed so far.
        polls: Number of status polls so far.
    """

    id: str
    status: JobStatus
    items: int
    imports: int
    errors: int
    polls: int


@attrs.define(kw_only=True, eq=False)
class EmulatedJob:
    """A batch import and its progress."""

    id: str
    size: int
    seconds: float
    fault: JobFault
    items: Sequence[JsonObject] = attrs.field(repr=False)
    created: float
    started: float = math.inf
    finished: float | None = None
    status: JobStatus = "PROCESSING"
    polls: int = 0
    position: int = 0
    imports: list[str] = attrs.field(factory=list[str], repr=False)
    errors: list[JsonValue] = attrs.field(factory=list[JsonValue], repr=False)

    @property
    def due(self) -> float:
        """The time at which its items are applied, if it was polled often enough."""
        return self.started + self.seconds

    @property
    def end(self) -> int:
        """The number of items that will be applied."""
        return self.size if self.fault.max_applied is None else min(self.size, self.fault.max_applied)

    @property
    def reported_status(self) -> str:
        """The status that the next poll reports."""
        status, polls = self.fault.reported_status, self.fault.reported_polls
        if status is None or (polls is not None and self.polls >= polls):
            return self.status
        return status

    def add_errors(self, items: Sequence[JsonObject], error: FullstoryHttpError) -> None:
        """List *items* as failed."""
        # The one documented code of an item is invalid_parameter (2026-11-21,
        # https://developer.fullstory.com/server/asynchronous-workflows/). Policy: it stands for every rejected value.
        code = "invalid_parameter" if error.code == "invalid_argument" else error.code
        self.errors.extend({"message": error.message, "code": code, "user": item} for item in items)

    def metadata(self, status: str) -> JsonObject:
        """Return the job as Fullstory's JSON."""
        fields: JsonObject = {"id": self.id, "status": status, "created": rfc3339(self.created)}
        return fields if self.finished is None else {**fields, "finished": rfc3339(self.finished)}

    def snapshot(self) -> BatchJob:
        """Return a snapshot of the job."""
        return BatchJob(
            id=self.id,
            status=self.status,
            items=self.size,
            imports=len(self.imports),
            errors=len(self.errors),
            polls=self.polls,
        )


def rfc3339(seconds: float) -> str:
    """Return a time as Fullstory writes it: with milliseconds, but without trailing zeros."""
    moment = datetime.fromtimestamp(seconds, UTC)
    fraction = f".{moment.microsecond // 1000:03}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"


SERVER_ERROR: Final = http_error(500)


@attrs.define(kw_only=True)
class EmulatedJobs:
    """All batch imports of one organisation."""

    rules: BatchRules
    clock: Clock = attrs.field(repr=False)
    write: WriteItem = attrs.field(repr=False)
    faults: JobFaults
    _by_id: dict[str, EmulatedJob] = attrs.field(init=False, factory=dict[str, EmulatedJob])
    _in_progress: dict[str, EmulatedJob] = attrs.field(init=False, factory=dict[str, EmulatedJob])
    _accepted: int = attrs.field(init=False, default=0)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock, repr=False)

    def accept(self, items: Sequence[JsonObject]) -> EmulatedJob:
        """Create a job.

        Raises:
            FullstoryHttpError: Too many jobs or items are in progress (429).
        """
        with self._lock:
            # Policy: as in "once there are", the limits do not count the new job's own items.
            operations = sum(job.size for job in self._in_progress.values())
            if len(self._in_progress) >= self.rules.max_jobs or operations >= self.rules.max_operations:
                raise too_many_requests(self._retry_after())

            job = self._new_job(items)
            self._by_id[job.id] = self._in_progress[job.id] = job
            return job

    def find(self, job_id: str) -> EmulatedJob:
        """Return the job.

        Raises:
            FullstoryHttpError: There is no such job (404).
        """
        job = self._by_id.get(job_id)
        if job is None or job.fault.hidden or self._is_expired(job):
            raise http_error(404)
        return job

    def all(self) -> Sequence[BatchJob]:
        """Return a snapshot of every job, oldest first."""
        return tuple(job.snapshot() for job in list(self._by_id.values()))

    def due_count(self) -> int:
        """Return the number of items that are due now."""
        with self._lock:
            return sum(job.end - job.position for job in self._due())

    def apply_due(self, max_count: int) -> float | None:
        """Apply at most *max_count* of the items that are due.

        Returns:
            The seconds until more items are due, or None if no job becomes due by time alone.
        """
        with self._lock:
            while due := self._due():
                if not max_count:
                    return 0.0
                # Policy: one job after the other, in the order of their due times, each in the order of its items.
                job = min(due, key=lambda job: (not job.position, job.due))
                max_count -= self._apply(job, max_count)

            timed = [job.due for job in self._in_progress.values() if self._is_polled_enough(job)]
            next_due = min(timed, default=math.inf)
            return None if math.isinf(next_due) else next_due - self.clock()

    def clear(self) -> None:
        """Delete all jobs and faults, and stop the jobs in progress. The numbers in ids continue."""
        # A reset may come from another thread, in the middle of a slice.
        with self._lock:
            self._by_id.clear()
            self._in_progress.clear()
            self.faults.clear()

    def _new_job(self, items: Sequence[JsonObject]) -> EmulatedJob:
        self._accepted += 1
        fault = self.faults.take()
        return EmulatedJob(
            id=_job_id(self._accepted),
            size=len(items),
            seconds=self.rules.job_seconds if fault.seconds is None else fault.seconds,
            fault=fault,
            items=items,
            created=self.clock(),
        )

    def _due(self) -> Sequence[EmulatedJob]:
        self._start_waiting()
        now = self.clock()
        return [job for job in self._in_progress.values() if job.due <= now and self._is_polled_enough(job)]

    def _start_waiting(self) -> None:
        # "After 100 in-progress batches, future batch requests will be accepted, but will not start."
        running = sum(not math.isinf(job.started) for job in self._in_progress.values())
        waiting = [job for job in self._in_progress.values() if math.isinf(job.started)]
        for job in waiting[: self.rules.max_running - running]:
            job.started = self.clock()

    def _is_polled_enough(self, job: EmulatedJob) -> bool:
        return job.polls >= self.rules.job_polls

    def _apply(self, job: EmulatedJob, max_count: int) -> int:
        items = job.items[job.position : min(job.end, job.position + max_count)]
        for item in items:
            self._apply_item(job, item)
        job.position += len(items)
        if job.position == job.end:
            self._finish(job)
        return len(items)

    def _apply_item(self, job: EmulatedJob, item: JsonObject) -> None:
        try:
            job.imports.append(self.write(item))
        except FullstoryHttpError as error:
            job.add_errors([item], error)

    def _finish(self, job: EmulatedJob) -> None:
        if job.fault.lists_unapplied:
            job.add_errors(job.items[job.end :], SERVER_ERROR)
        job.items = ()
        job.finished = self.clock()
        job.status = self._final_status(job)
        self._in_progress.pop(job.id, None)

    def _final_status(self, job: EmulatedJob) -> JobStatus:
        if job.fault.max_applied is not None or self.rules.final_status == "always-failed":
            return "FAILED"
        return "FAILED" if job.errors and self.rules.final_status == "spec" else "COMPLETED"

    def _is_expired(self, job: EmulatedJob) -> bool:
        max_age = self.rules.result_seconds
        return job.finished is not None and max_age is not None and self.clock() - job.finished >= max_age

    def _retry_after(self) -> int:
        soonest = min((job.due for job in self._in_progress.values()), default=math.inf) - self.clock()
        return max(1, math.ceil(min(soonest, MAX_RETRY_AFTER)))


def _job_id(number: int) -> str:
    # The examples end in "=" ("abd123="); a slash and a plus sign make sure that ids must be percent-encoded.
    digest = hashlib.sha256(f"job {number}".encode()).digest()
    return f"j/+{base64.b64encode(digest[:10]).decode()}"


LAST_PAGE_FIELDS: Final[Mapping[LastPage, JsonObject]] = {
    "null": {"next_page_token": None},
    "empty": {"next_page_token": ""},
    "absent": {},
}


@attrs.frozen(kw_only=True)
class JobPage:
    """The slice of results on a page, and the other fields of its body."""

    results: slice
    fields: JsonObject = attrs.field(repr=False)


@attrs.define(kw_only=True)
class JobPages:
    """Pages through the results of jobs, with tokens."""

    page_size: int
    last_page: LastPage
    _starts: dict[tuple[str, ResultKind, str], int] = attrs.field(
        init=False, factory=dict[tuple[str, ResultKind, str], int]
    )
    _last_page_cycle: Iterator[JsonObject] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._last_page_cycle = itertools.cycle(LAST_PAGE_FIELDS.values())

    def page(self, job_id: str, kind: ResultKind, *, total: int, token: str | None) -> JobPage:
        """Return the page of *token*, or the first page without one.

        Raises:
            FullstoryHttpError: The token is invalid (400).
        """
        # Policy: 400 for a token of another job or of another list; no status is documented.
        start = 0 if token is None else self._starts.get((job_id, kind, token))
        if start is None:
            raise invalid("The page_token is invalid")

        end = start + self.page_size
        next_token = self._next_token(job_id, kind, end) if end < total else self._last_page_fields()
        # Policy: the total is that of the list; for imports the schema says "records in this batch import".
        return JobPage(results=slice(start, end), fields={"total_records": str(total), **next_token})

    def clear(self) -> None:
        """Delete all tokens."""
        self._starts.clear()

    def _next_token(self, job_id: str, kind: ResultKind, start: int) -> JsonObject:
        digest = hashlib.sha256(f"{job_id} {kind} {start}".encode()).digest()
        # Like the tokens of the list of users, it must be percent-encoded.
        token = f"+/{base64.b64encode(digest[:10]).decode()}"
        self._starts[job_id, kind, token] = start
        return {"next_page_token": token}

    def _last_page_fields(self) -> JsonObject:
        return next(self._last_page_cycle) if self.last_page == "vary" else LAST_PAGE_FIELDS[self.last_page]


@attrs.define
class JobRunner:
    """Applies items that are due, in the server's own thread."""

    jobs: EmulatedJobs
    _task: asyncio.Task[None] | None = attrs.field(init=False, default=None, repr=False)
    _is_asleep: bool = attrs.field(init=False, default=False)

    def run_due(self) -> None:
        """Apply the items that are due now if they are few, and all others in the background."""
        wait = self.jobs.apply_due(MAX_INLINE if self.jobs.due_count() <= MAX_INLINE else 0)
        if wait is None or self._is_busy():
            return

        if self._task is not None:
            self._task.cancel()
        self._is_asleep = False
        self._task = asyncio.create_task(self._run())

    def _is_busy(self) -> bool:
        return self._task is not None and not self._task.done() and not self._is_asleep

    async def _run(self) -> None:
        while (wait := self.jobs.apply_due(SLICE)) is not None:
            self._is_asleep = wait > 0
            await asyncio.sleep(wait)
            self._is_asleep = False
