"""Run import jobs of one vendor: create, poll, collect."""

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, assert_never

import attrs

from ..adapters.exchange import Exchange, Sleep
from ..adapters.protocols import BatchTooLarge, JobProgress, SupportsBatch
from ..adapters.responses import adapter_error, checked_outcome
from ..errors import LedgerError, printable
from ..ledger import Batch, JobEntries, StoredJob
from ..outcomes import Accepted, Misconfigured, Outcome, Rejected, Unavailable, Unknown
from ..retry import Backoff
from ..transport import ConcurrentTransport
from .open_jobs import OpenJobs
from .options import DeliveryOptions
from .outbox import JobOutbox
from .unanswered import UserBackoffs

_logger = logging.getLogger("replay_identity.bulk")

# Hours before its lifetime ends at which an idempotency key counts as forgotten by the vendor: the same bytes sent
# under a forgotten key would become a second, stale job.
_KEY_MARGIN_H: Final = 1
_HOUR_S: Final = 3600
# While there are users to send, the results of larger jobs wait.
_LARGE_JOB_USERS: Final = 1000
# Batches being sent at once; each is held in memory until the vendor has accepted it.
_MAX_CREATING: Final = 3
# Jobs whose results are read at once; entries and results are held in memory, too.
_MAX_COLLECTING: Final = 2
_COLLECT_POLL_S: Final = 0.05
# A vendor repeats some failures as long as it keeps the idempotency key. After a lost response, the key is given up
# once the vendor has repeated such a failure this often.
_MAX_REPEATED_FAILURES: Final = 5


@attrs.define
class ImportJobs:
    """The unfinished jobs at one vendor, each stored before it is sent.

    Attributes:
        name: Name of the backend.
        backend: The backend.
        outbox: Where users are settled.
        transport: Sends the requests.
        on_problem: Called with an outcome that aborts this backend: wrong settings, or no progress for too long.
        options: Delays and sizes.
        clock: Returns seconds since some fixed moment.
        now: Returns seconds since 1970.
        max_bytes: Maximum size of a batch in bytes, as far as known.
        has_more_to_send: True while more batches are to be sent, which go before results.
    """

    name: str
    backend: SupportsBatch
    outbox: JobOutbox
    transport: ConcurrentTransport
    on_problem: Callable[[Outcome], None]
    options: DeliveryOptions
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    max_bytes: int = attrs.field(init=False)
    has_more_to_send: bool = attrs.field(default=True, init=False)
    _open: OpenJobs = attrs.field(init=False)
    _backoffs: UserBackoffs = attrs.field(init=False)
    _creating: set[str] = attrs.field(factory=set[str], init=False)
    _collecting: int = attrs.field(default=0, init=False)
    _is_refusing: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.max_bytes = self.options.batch_bytes
        self._open = OpenJobs(self.clock)
        self._backoffs = UserBackoffs(self.options.wait_initial, self.options.wait_max)
        for job in self.outbox.jobs():
            self._track(job, in_doubt=True)

    @property
    def count(self) -> int:
        """Return the number of unfinished jobs."""
        return self._open.count

    @property
    def users(self) -> int:
        """Return the number of users in unfinished jobs."""
        return self._open.users

    def has_room(self, users: int) -> bool:
        """Return True if the vendor accepts another batch of *users* now.

        Once it has refused a batch for lack of room, another one is sent only after a job has ended.
        """
        max_creating = 1 if self.transport.limiter.failure else _MAX_CREATING
        return self._has_free_job(users) and len(self._creating) < max_creating

    def _has_free_job(self, users: int) -> bool:
        """Return True if the vendor allows one more job with that many *users*."""
        limits = self.backend.batch_limits
        if self._is_refusing and self.count:
            return False
        return self.count < self.options.max_open_jobs(limits) and self.users + users <= self.options.max_users_in_jobs(
            limits
        )

    def start(self, entries: JobEntries, contents: Sequence[bytes]) -> None:
        """Store a batch of *entries* and their *contents*, and send it."""
        try:
            batch = self._make_batch(entries, contents)
        except Exception as error:  # noqa: BLE001  # A bug in an adapter must not stop the run.
            self.outbox.settle_entries(entries, adapter_error(self.name, error))
            return
        for job in self.outbox.start_jobs([batch]):
            self._track(job)

    def _make_batch(self, entries: JobEntries, contents: Sequence[bytes]) -> Batch:
        return Batch(str(uuid.uuid4()), entries, self.backend.batch_body(contents))

    def _track(self, job: StoredJob, *, in_doubt: bool = False) -> None:
        self._open.add(job)
        self.transport.submit(self._run_isolated(job, in_doubt=in_doubt), partial(self._untrack, job))

    def _untrack(self, job: StoredJob, _result: None) -> None:
        self._open.remove(job)
        self._creating.discard(job.idempotency_key)

    def _run_isolated(self, job: StoredJob, *, in_doubt: bool) -> Exchange[None]:
        """Run *job*; if the adapter raises, settle all its users as `Broken`."""
        try:
            yield from self._run_job(job, in_doubt=in_doubt)
        except LedgerError:
            raise
        except Exception as error:  # noqa: BLE001  # A bug in an adapter must not stop the run.
            self.outbox.end_job(job, [adapter_error(self.name, error)] * job.size, self._backoffs)

    def _run_job(self, job: StoredJob, *, in_doubt: bool) -> Exchange[None]:
        """Create, poll and collect *job*; it is *in_doubt* if an earlier run may have sent it."""
        created: StoredJob | None = job
        if not job.vendor_job:
            if in_doubt and self._drop_if_key_expired(job):
                return
            created = yield from self._create(job, in_doubt=in_doubt)
        if created is not None and (yield from self._poll(created)):
            self._is_refusing = False
            yield from self._collect_in_turn(created)

    def _create(self, job: StoredJob, *, in_doubt: bool) -> Exchange[StoredJob | None]:
        """Send *job* and return it with the vendor's id, or None if it was settled, dropped or left to a later run.

        Once a response was lost, the same bytes are sent under the same key until the vendor answers: a batch that
        may still be applied must not overtake newer ones.
        """
        repeated_failures = 0
        backoff = Backoff(self.options.wait_initial, self.options.wait_max)
        self._creating.add(job.idempotency_key)
        while True:
            body = self.outbox.body(job)
            created = yield from self.backend.create_job(body, idempotency_key=job.idempotency_key)
            self._record(job, created)
            match created:
                case str():
                    return self._name(job, created)
                case BatchTooLarge() | Rejected():
                    self._split(job, body, created)
                    return None
                case Misconfigured():
                    self.on_problem(created)
                    return None
                case Unavailable(status=status):
                    repeated_failures += status in self.backend.spent_key_statuses
                    if not in_doubt or repeated_failures >= _MAX_REPEATED_FAILURES:
                        self._is_refusing = True
                        self.outbox.drop_job(job)
                        return None
                case Unknown():
                    in_doubt = True
                case _:
                    assert_never(created)
            if not (yield from self._wait(job, backoff)) or self._drop_if_key_expired(job):
                return None

    def _name(self, job: StoredJob, vendor_job: str) -> StoredJob:
        self._creating.discard(job.idempotency_key)
        created = self.outbox.name_job(job, vendor_job)
        self._open.add(created)
        return created

    def _drop_if_key_expired(self, job: StoredJob) -> bool:
        """Drop *job* if the vendor has forgotten its key; its users are sent again. Return True if so."""
        lifetime = self.backend.batch_limits.key_lifetime.maximum - _KEY_MARGIN_H
        if self.now() - job.created_at <= lifetime * _HOUR_S:
            return False
        self.outbox.drop_job(job)
        return True

    def _split(self, job: StoredJob, body: bytes, rejected: BatchTooLarge | Rejected) -> None:
        """Replace a batch that was rejected as a whole by its halves, so that one user does not fail the others."""
        if isinstance(rejected, BatchTooLarge):
            self.max_bytes = max(1, min(self.max_bytes, len(body) // 2))
            rejected = Rejected(self.name, code="HTTP 413", message="this user alone is too large for a batch")
        half = job.size // 2
        if not half:
            self.outbox.end_job(job, [rejected], self._backoffs)
            return
        entries, contents = self.outbox.entries(job), self.backend.batch_contents(body)
        parts = [self._make_batch(entries[part], contents[part]) for part in (slice(half), slice(half, None))]
        for part in self.outbox.start_jobs(parts, replaced=job):
            self._track(part)

    def _poll(self, job: StoredJob) -> Exchange[bool]:
        """Poll *job* until it has ended; return False if the vendor lost it or it is left to a later run."""
        backoff = Backoff(self.options.poll_initial, self.options.poll_max)
        if not (yield from self._initial_delay(job)):
            return False
        while True:
            progress = yield from self.backend.poll_job(job.vendor_job or "")
            self._record(job, progress)
            match progress:
                case JobProgress(running=False):
                    return True
                case Rejected():
                    self._send_again(job, "the vendor no longer knows the batch")
                    return False
                case Misconfigured():
                    self._abandon_if_old(job)
                    self.on_problem(progress)
                    return False
                case JobProgress() | Unavailable() | Unknown():
                    pass
                case _:
                    assert_never(progress)
            if not (yield from self._wait(job, backoff)):
                return False

    def _initial_delay(self, job: StoredJob) -> Exchange[bool]:
        """Wait before the first poll, longer while there are users to send and room for them; False if stopped."""
        max_users = self.options.max_batch_users(self.backend.batch_limits)
        latest = self.clock() + (self.options.poll_max if job.size > _LARGE_JOB_USERS else 0.0)
        while not (yield Sleep(self.options.poll_initial)).no_response:
            if self.clock() >= latest or not (self.has_more_to_send and self._has_free_job(max_users)):
                return True
        return False

    def _collect_in_turn(self, job: StoredJob) -> Exchange[None]:
        while self._collecting >= _MAX_COLLECTING:
            self._open.record_obstacle(job, "waiting until the results of others are read")
            if (yield Sleep(_COLLECT_POLL_S)).no_response:
                return
        self._collecting += 1
        try:
            yield from self._collect(job)
        finally:
            self._collecting -= 1

    def _collect(self, job: StoredJob) -> Exchange[None]:
        """Read the results of *job* and settle its users."""
        entries = self.outbox.entries(job)
        backoff = Backoff(self.options.wait_initial, self.options.wait_max)
        while True:
            # Built for each attempt and bound to no name, so that no ids stay in memory while the results are stored.
            collected = yield from self.backend.collect_job(job.vendor_job or "", entries.batch_entries())
            self._record(job, collected)
            match collected:
                case tuple():
                    self.outbox.end_job(job, self._checked(collected, entries), self._backoffs, entries=entries)
                    return
                case Rejected():
                    self._send_again(job, "the vendor does not show the results of the batch")
                    return
                case Misconfigured():
                    self._abandon_if_old(job)
                    self.on_problem(collected)
                    return
                case Unavailable() | Unknown():
                    pass
                case _:
                    assert_never(collected)
            if not (yield from self._wait(job, backoff)):
                return

    def _checked(self, outcomes: Sequence[Outcome], entries: JobEntries) -> Sequence[Outcome]:
        """Return *outcomes* with the losses of *entries*, `Broken` instead of those that are not of this backend."""
        checked = [checked_outcome(self.name, outcome) for outcome in outcomes]
        if len(checked) != len(entries):
            raise ValueError(len(checked))
        for index, lost in entries.lost.items():
            outcome = checked[index]
            checked[index] = attrs.evolve(outcome, adjustments=lost) if isinstance(outcome, Accepted) else outcome
        return checked

    def _send_again(self, job: StoredJob, cause: str) -> None:
        """End *job* and let the newest state of all its users be sent again."""
        self.outbox.end_job(job, [Unknown(self.name, cause)] * job.size, self._backoffs)

    def _record(self, job: StoredJob, result: object) -> None:
        """Record the result of a request about *job*: for the rate limiter, and as progress of the job or none."""
        if isinstance(result, JobProgress):
            self._open.record_poll(job, result)
        if isinstance(result, Unavailable | Unknown):
            self._open.record_obstacle(job, result.cause)
            self.transport.record_result(result.cause)
        else:
            self.transport.record_result(None)

    def _wait(self, job: StoredJob, backoff: Backoff) -> Exchange[bool]:
        """Wait before the next request about *job*; return False if there is none: it is abandoned, or the run ends."""
        if self._abandon_if_old(job) or self._gives_up():
            return False
        return not (yield Sleep(backoff.next())).no_response

    def _abandon_if_old(self, job: StoredJob) -> bool:
        """End *job* if it is too old, and return True if so.

        Whether the vendor applies it is in doubt, so all its users are sent again.
        """
        if self.now() - job.created_at <= self.options.job_patience:
            return False
        name, seconds = printable(job.vendor_job or job.idempotency_key), self.options.job_patience
        self.outbox.report.abandoned_jobs.append(name)
        _logger.warning("%s: job %s has not ended within %g s; its users are sent again", self.name, name, seconds)
        self._send_again(job, f"the job with this user has not ended within {seconds:g} s")
        return True

    def _gives_up(self) -> bool:
        """Return True if the run is to end: no job makes progress, and nothing can be sent before one does."""
        can_send = self.has_more_to_send and self.has_room(self.options.max_batch_users(self.backend.batch_limits))
        stall = None if can_send else self._open.describe_stall(self.options.patience)
        if stall is not None:
            self.on_problem(Unknown(self.name, stall))
        return stall is not None
