"""Batch imports: how many there may be, and whose turn it is."""

import asyncio
import base64
import hashlib
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import attrs

from ..http import JsonObject, JsonValue
from ..rate_limit import Clock
from .batch_rules import BatchRules, JobFault, JobFaults, LastPage
from .errors import FullstoryHttpError, http_error, invalid, too_many_requests

JobStatus: TypeAlias = Literal["PROCESSING", "COMPLETED", "FAILED"]


@attrs.frozen(kw_only=True)
class BatchJob:
    """A batch import as it stands: its items, and how many of them were imported or failed."""

    id: str
    status: JobStatus
    items: int
    imports: int
    errors: int
    polls: int
    """How often its status was asked for."""


@attrs.define(kw_only=True, eq=False)
class EmulatedJob:
    """A batch import on its way."""

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
        """When its items are applied, as far as that is a matter of time."""
        return self.started + self.seconds

    @property
    def end(self) -> int:
        """How many of its items will be handled."""
        return self.size if self.fault.max_applied is None else min(self.size, self.fault.max_applied)

    @property
    def told_status(self) -> str:
        """The status that the next poll is told."""
        says, polls = self.fault.reported_status, self.fault.reported_polls
        if says is None or (polls is not None and self.polls >= polls):
            return self.status
        return says

    def fail(self, items: Sequence[JsonObject], error: FullstoryHttpError) -> None:
        """List *items* as failed."""
        # The one documented code of an item is invalid_parameter (2026-11-21,
        # https://developer.fullstory.com/server/asynchronous-workflows/). Policy: it stands for every value refused.
        code = "invalid_parameter" if error.code == "invalid_argument" else error.code
        self.errors.extend({"message": error.message, "code": code, "user": item} for item in items)

    def metadata(self, status: str) -> JsonObject:
        """Return the job as Fullstory shows it."""
        shown: JsonObject = {"id": self.id, "status": status, "created": rfc3339(self.created)}
        return shown if self.finished is None else {**shown, "finished": rfc3339(self.finished)}

    def snapshot(self) -> BatchJob:
        """Return the job as it stands."""
        return BatchJob(
            id=self.id,
            status=self.status,
            items=self.size,
            imports=len(self.imports),
            errors=len(self.errors),
            polls=self.polls,
        )


def rfc3339(seconds: float) -> str:
    """Return a time as Fullstory writes it: milliseconds without the zeros at their end."""
    moment = datetime.fromtimestamp(seconds, UTC)
    fraction = f".{moment.microsecond // 1000:03}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"


Write: TypeAlias = Callable[[JsonObject], str]
"""Applies an item and returns the user's Fullstory id, or refuses it."""

# Policy: a client is never told to wait longer for a job to end, however long the job runs.
LONGEST_WAIT = 60

SERVER_ERROR = http_error(500)


@attrs.define(kw_only=True)
class EmulatedJobs:
    """All batch imports of one organisation."""

    rules: BatchRules
    clock: Clock = attrs.field(repr=False)
    write: Write = attrs.field(repr=False)
    faults: JobFaults
    _known: dict[str, EmulatedJob] = attrs.field(init=False, factory=dict[str, EmulatedJob])
    _in_progress: dict[str, EmulatedJob] = attrs.field(init=False, factory=dict[str, EmulatedJob])
    _accepted: int = attrs.field(init=False, default=0)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock, repr=False)

    def accept(self, items: Sequence[JsonObject]) -> EmulatedJob:
        """Take a job on, or refuse it with 429."""
        with self._lock:
            # Policy: what was there before decides, as in "once there are"; the job's own items do not count.
            operations = sum(job.size for job in self._in_progress.values())
            if len(self._in_progress) >= self.rules.max_jobs or operations >= self.rules.max_operations:
                raise too_many_requests(self._seconds_to_wait())

            job = self._new_job(items)
            self._known[job.id] = self._in_progress[job.id] = job
            return job

    def find(self, job_id: str) -> EmulatedJob:
        """Return the job, or refuse with 404."""
        job = self._known.get(job_id)
        if job is None or job.fault.hidden or self._is_forgotten(job):
            raise http_error(404)
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
        self._start()
        now = self.clock()
        return [job for job in self._in_progress.values() if job.due <= now and self._was_polled_enough(job)]

    def _start(self) -> None:
        # "After 100 in-progress batches, future batch requests will be accepted, but will not start."
        running = sum(not math.isinf(job.started) for job in self._in_progress.values())
        waiting = [job for job in self._in_progress.values() if math.isinf(job.started)]
        for job in waiting[: self.rules.max_running - running]:
            job.started = self.clock()

    def _was_polled_enough(self, job: EmulatedJob) -> bool:
        return job.polls >= self.rules.job_polls

    def _apply(self, job: EmulatedJob, most: int) -> int:
        items = job.items[job.position : min(job.end, job.position + most)]
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
            job.fail([item], error)

    def _finish(self, job: EmulatedJob) -> None:
        if job.fault.lists_unapplied:
            job.fail(job.items[job.end :], SERVER_ERROR)
        job.items = ()
        job.finished = self.clock()
        job.status = self._final_status(job)
        self._in_progress.pop(job.id, None)

    def _final_status(self, job: EmulatedJob) -> JobStatus:
        if job.fault.max_applied is not None or self.rules.final_status == "always-failed":
            return "FAILED"
        return "FAILED" if job.errors and self.rules.final_status == "spec" else "COMPLETED"

    def _is_forgotten(self, job: EmulatedJob) -> bool:
        kept = self.rules.result_seconds
        return job.finished is not None and kept is not None and self.clock() - job.finished >= kept

    def _seconds_to_wait(self) -> int:
        soonest = min((job.due for job in self._in_progress.values()), default=math.inf) - self.clock()
        return max(1, math.ceil(min(soonest, LONGEST_WAIT)))


def _job_id(number: int) -> str:
    # The examples end in "=" ("abd123="); a slash and a plus sign have to be percent-encoded for sure.
    digest = hashlib.sha256(f"job {number}".encode()).digest()
    return f"j/+{base64.b64encode(digest[:10]).decode()}"


Kind: TypeAlias = Literal["imports", "errors"]

LAST: Mapping[LastPage, JsonObject] = {
    "null": {"next_page_token": None},
    "empty": {"next_page_token": ""},
    "absent": {},
}


@attrs.frozen(kw_only=True)
class JobPage:
    """Which of the results are on a page, and the fields beside them."""

    shown: slice
    fields: JsonObject = attrs.field(repr=False)


@attrs.define(kw_only=True)
class JobPages:
    """Pages through results; remembers its tokens."""

    page_size: int
    last_page: LastPage
    _starts: dict[tuple[str, Kind, str], int] = attrs.field(init=False, factory=dict[tuple[str, Kind, str], int])
    _turns: Iterator[JsonObject] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._turns = itertools.cycle(LAST.values())

    def page(self, job_id: str, kind: Kind, *, total: int, token: str | None) -> JobPage:
        """Return the page that *token* leads to, the first one without it, or refuse the token."""
        # Policy: 400 for a token of another job or of another list; no status is documented.
        start = 0 if token is None else self._starts.get((job_id, kind, token))
        if start is None:
            raise invalid("The page_token is invalid")

        end = start + self.page_size
        following = self._next(job_id, kind, end) if end < total else self._last()
        # Policy: the total is that of the list; for imports the schema says "records in this batch import".
        return JobPage(shown=slice(start, end), fields={"total_records": str(total), **following})

    def clear(self) -> None:
        """Forget all tokens."""
        self._starts.clear()

    def _next(self, job_id: str, kind: Kind, start: int) -> JsonObject:
        digest = hashlib.sha256(f"{job_id} {kind} {start}".encode()).digest()
        # As for lists: it has to be percent-encoded.
        token = f"+/{base64.b64encode(digest[:10]).decode()}"
        self._starts[job_id, kind, token] = start
        return {"next_page_token": token}

    def _last(self) -> JsonObject:
        return next(self._turns) if self.last_page == "vary" else LAST[self.last_page]


# Items applied in one go, during which no request is served: a few milliseconds.
SLICE = 100

# Items that a request may wait for. So few are there as soon as they are due, which spares tests the waiting.
AT_ONCE = 500


@attrs.define
class JobRunner:
    """Applies what is due, in the server's own thread."""

    jobs: EmulatedJobs
    _task: asyncio.Task[None] | None = attrs.field(init=False, default=None, repr=False)
    _is_asleep: bool = attrs.field(init=False, default=False)

    def run_due(self) -> None:
        """Apply what is due now if it is little, and see to everything else in the background."""
        wait = self.jobs.work(AT_ONCE if self.jobs.due_items() <= AT_ONCE else 0)
        if wait is None or self._is_at_work():
            return

        if self._task is not None:
            self._task.cancel()
        self._is_asleep = False
        self._task = asyncio.create_task(self._keep_up())

    def _is_at_work(self) -> bool:
        return self._task is not None and not self._task.done() and not self._is_asleep

    async def _keep_up(self) -> None:
        while (wait := self.jobs.work(SLICE)) is not None:
            self._is_asleep = wait > 0
            await asyncio.sleep(wait)
            self._is_asleep = False
