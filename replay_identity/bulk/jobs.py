"""Batches under way at one vendor, each seen through: create, poll, collect."""

import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, assert_never

import attrs

from ..adapters.exchange import Exchange, Sleep
from ..adapters.protocols import BatchTooLarge, JobProgress, SupportsBatch
from ..adapters.responses import adapter_error, checked_outcome
from ..errors import LedgerError
from ..ledger import Batch, JobEntry, Ledger, StoredJob
from ..outcomes import Accepted, Failure, Misconfigured, Outcome, Rejected, Unavailable, Unknown
from ..transport import ConcurrentTransport
from .options import DeliveryOptions
from .outbox import LedgerOutbox

# Once the vendor has forgotten an idempotency key, sending again could make a second, stale job. So many hours early
# a key is counted for forgotten.
_EARLY: Final = 1
_HOUR: Final = 3600
# A job of more users is first asked after so many times later.
_POLLED_AT_ONCE: Final = 1000
# Batches sent at once; each is held in memory until the vendor has taken it.
_MOST_CREATING: Final = 3
# Batches whose results are read at once, for the same reason, and seconds between two looks whether it is one's turn.
_MOST_COLLECTING: Final = 2
_TURN: Final = 0.05
# A vendor repeats some failures for as long as it keeps the key. After an answer was lost, the key is given up once
# the vendor has repeated one this often.
_MAX_REJECTIONS: Final = 5


@attrs.define
class Backoff:
    """The waits between the requests about one job, in seconds.

    Attributes:
        wait: The next one; each is twice as long as the one before.
        longest: The longest.
        failing_for: How long it has been nothing but failures.
    """

    wait: float
    longest: float
    failing_for: float = attrs.field(default=0.0, init=False)

    def next(self, *, failed: bool) -> float:
        """Return how long to wait now that a request has *failed* or not."""
        wait, self.wait = self.wait, min(2 * self.wait, self.longest)
        self.failing_for = self.failing_for + wait if failed else 0.0
        return wait


@attrs.define
class ImportJobs:
    """The batches under way at one vendor, each stored before it is sent.

    Attributes:
        name: Name of the backend.
        backend: The backend.
        outbox: Who is told what became of users.
        transport: What sends.
        on_problem: Is told the answer that leaves no hope for this run: the settings are wrong, or nothing else comes.
        options: How patiently, and how soon batches are asked after.
        now: Seconds since 1970.
        most_bytes: Most bytes in one batch, as far as is known.
        has_more_to_send: Whether more batches are to come, which go before results.
    """

    name: str
    backend: SupportsBatch
    outbox: LedgerOutbox
    transport: ConcurrentTransport
    on_problem: Callable[[Outcome], None]
    options: DeliveryOptions
    now: Callable[[], float] = time.time
    most_bytes: int = attrs.field(init=False)
    has_more_to_send: bool = attrs.field(default=True, init=False)
    # By idempotency key.
    _open: dict[str, StoredJob] = attrs.field(factory=dict[str, StoredJob], init=False)
    _creating: set[str] = attrs.field(factory=set[str], init=False)
    _collecting: int = attrs.field(default=0, init=False)
    _is_rejected: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.most_bytes = self.options.batch_bytes
        for job in self.outbox.jobs():
            self._track(job, is_uncertain=True)

    @property
    def ledger(self) -> Ledger:
        """Return where batches are stored before they are sent."""
        return self.outbox.ledger

    @property
    def count(self) -> int:
        """Return how many batches are under way."""
        return len(self._open)

    @property
    def users(self) -> int:
        """Return how many users are in them."""
        return sum(job.size for job in self._open.values())

    def have_room(self, users: int) -> bool:
        """Tell whether the vendor takes another batch of so many; once it refused one, only after another has ended."""
        limits = self.backend.batch_limits
        if self._is_rejected and self._open:
            return False
        return (
            self.count < limits.running_jobs.maximum
            and self.users + users <= limits.open_users.maximum
            and len(self._creating) < (1 if self.transport.limiter.failure else _MOST_CREATING)
        )

    def start(self, entries: Sequence[JobEntry], contents: Sequence[bytes]) -> None:
        """Send *entries* as a batch of their *contents*."""
        try:
            batch = self._batch(entries, contents)
        except Exception as error:  # noqa: BLE001  # As in `_guarded`.
            self.outbox.settle_members(entries, [adapter_error(self.name, error)] * len(entries))
            return
        self._track(self.ledger.start_job(self.name, batch))

    def _batch(self, entries: Sequence[JobEntry], contents: Sequence[bytes]) -> Batch:
        return Batch(str(uuid.uuid4()), entries, self.backend.batch_body(contents))

    def _track(self, job: StoredJob, *, is_uncertain: bool = False) -> None:
        self._open[job.idempotency_key] = job
        self.transport.submit(self._guarded(job, is_uncertain=is_uncertain), partial(self._end, job))

    def _end(self, job: StoredJob, _result: None) -> None:
        del self._open[job.idempotency_key]
        self._creating.discard(job.idempotency_key)

    def _guarded(self, job: StoredJob, *, is_uncertain: bool) -> Exchange[None]:
        """See *job* through; an adapter that raises ends it, and everyone in it is on record."""
        try:
            yield from self._run_job(job, is_uncertain=is_uncertain)
        except LedgerError:
            raise
        except Exception as error:  # noqa: BLE001  # One adapter's bug must not stop the run.
            self.outbox.end_job(job, [adapter_error(self.name, error)] * job.size)

    def _run_job(self, job: StoredJob, *, is_uncertain: bool) -> Exchange[None]:
        """Create *job* unless it is named already, poll it until it ends, and take note of what became of its users."""
        if is_uncertain and not job.vendor_job and self._is_dropped(job):
            return
        named = job if job.vendor_job else (yield from self._create(job, is_uncertain=is_uncertain))
        if named is not None and (yield from self._poll(named)):
            self._is_rejected = False
            yield from self._collect_in_turn(named)

    def _create(self, job: StoredJob, *, is_uncertain: bool) -> Exchange[StoredJob | None]:
        """Send *job* and return it with the vendor's id, or None if it came to nothing or is left to a later run.

        Once an answer was lost, the same bytes go out under the same key until the vendor tells what became of them:
        whatever is sent later must not be overtaken.
        """
        rejections, waits = 0, Backoff(self.options.wait_initial, self.options.wait_max)
        self._creating.add(job.idempotency_key)
        while True:
            body = self.ledger.body(job)
            created = yield from self.backend.create_job(body, idempotency_key=job.idempotency_key)
            match created:
                case str():
                    self._creating.discard(job.idempotency_key)
                    return self.ledger.name_job(job, created)
                case BatchTooLarge() | Rejected():
                    self._split(job, body, created)
                    return None
                case Misconfigured():
                    self.on_problem(created)
                    return None
                case Unavailable(status=status):
                    rejections += status in self.backend.spent_key_statuses
                    if not is_uncertain or rejections >= _MAX_REJECTIONS:
                        self._is_rejected = True
                        self.outbox.end_job(job)
                        return None
                case Unknown():
                    is_uncertain = True
                case _:
                    assert_never(created)
            if not (yield from self._wait(waits, created)) or self._is_dropped(job):
                return None

    def _is_dropped(self, job: StoredJob) -> bool:
        """Drop *job* if the vendor has forgotten its key, and tell whether it had to be: its users are sent anew."""
        lifetime = self.backend.batch_limits.key_lifetime.maximum - _EARLY
        if self.now() - job.created_at <= lifetime * _HOUR:
            return False
        self.outbox.end_job(job)
        return True

    def _split(self, job: StoredJob, body: bytes, rejected: BatchTooLarge | Rejected) -> None:
        """Send the halves of a batch that was refused as a whole, so that one user does not fail the others."""
        if isinstance(rejected, BatchTooLarge):
            self.most_bytes = max(1, min(self.most_bytes, len(body) // 2))
            rejected = Rejected(self.name, code="HTTP 413", message="this user alone is too large for a batch")
        half = job.size // 2
        if not half:
            self.outbox.end_job(job, [rejected])
            return
        entries, contents = self.ledger.entries(job), self.backend.batch_contents(body)
        parts = [self._batch(entries[part], contents[part]) for part in (slice(half), slice(half, None))]
        for part in self.ledger.split_job(self.name, job, parts):
            self._track(part)

    def _poll(self, job: StoredJob) -> Exchange[bool]:
        """Ask after *job* until it has ended; return False if the vendor lost it or it is left to a later run."""
        waits = Backoff(self.options.poll_initial, self.options.poll_max)
        if not (yield from self._initial_delay(job)):
            return False
        while True:
            progress = yield from self.backend.poll_job(job.vendor_job or "")
            match progress:
                case JobProgress(running=False):
                    return True
                case Rejected():
                    self._send_again(job, "the vendor no longer knows the batch")
                    return False
                case Misconfigured():
                    self.on_problem(progress)
                    return False
                case JobProgress() | Unavailable() | Unknown():
                    pass
                case _:
                    assert_never(progress)
            if not (yield from self._wait(waits, None if isinstance(progress, JobProgress) else progress)):
                return False

    def _initial_delay(self, job: StoredJob) -> Exchange[bool]:
        """Wait as long as a vendor takes at least, and longer while there are others to send; False if stopped."""
        least = min(self.options.poll_max, self.options.poll_initial * max(1.0, job.size / _POLLED_AT_ONCE))
        is_large, waited = job.size > _POLLED_AT_ONCE, 0.0
        while waited < least or (is_large and self.has_more_to_send and waited < self.options.poll_max):
            if (yield Sleep(self.options.poll_initial)).no_response:
                return False
            waited += self.options.poll_initial
        return True

    def _collect_in_turn(self, job: StoredJob) -> Exchange[None]:
        """Collect *job* after others, whose members and results fill the memory."""
        while self._collecting >= _MOST_COLLECTING:
            if (yield Sleep(_TURN)).no_response:
                return
        self._collecting += 1
        try:
            yield from self._collect(job)
        finally:
            self._collecting -= 1

    def _collect(self, job: StoredJob) -> Exchange[None]:
        """Take note of what became of the users of *job*."""
        entries = self.ledger.entries(job)
        waits = Backoff(self.options.wait_initial, self.options.wait_max)
        while True:
            # Named anew for each try, so that nobody holds the names while the results are stored.
            collected = yield from self.backend.collect_job(
                job.vendor_job or "", [one.batch_entry() for one in entries]
            )
            match collected:
                case tuple():
                    outcomes = [self._own(*each) for each in zip(collected, entries, strict=True)]
                    self.outbox.end_job(job, outcomes, entries=entries)
                    return
                case Rejected():
                    self._send_again(job, "the vendor does not show what became of the batch")
                    return
                case Misconfigured():
                    self.on_problem(collected)
                    return
                case Unavailable() | Unknown():
                    pass
                case _:
                    assert_never(collected)
            if not (yield from self._wait(waits, collected)):
                return

    def _own(self, outcome: Outcome, entry: JobEntry) -> Outcome:
        """Return *outcome*, if it is one, with what was lost of *entry*."""
        outcome = checked_outcome(self.name, outcome)
        if isinstance(outcome, Accepted) and entry.lost:
            return attrs.evolve(outcome, adjustments=entry.lost)
        return outcome

    def _send_again(self, job: StoredJob, cause: str) -> None:
        """Have the newest of everyone in *job* sent again."""
        self.outbox.end_job(job, [Unknown(self.name, cause)] * job.size)

    def _wait(self, waits: Backoff, failure: Failure | None) -> Exchange[bool]:
        """Wait before the next request; False if there should be none: stopped, or failures for too long."""
        wait = waits.next(failed=failure is not None)
        if failure is not None and waits.failing_for >= self.options.patience:
            self.on_problem(failure)
            return False
        return not (yield Sleep(wait)).no_response
