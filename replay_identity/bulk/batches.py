"""Users in jobs of thousands, each stored before it is sent, so that a crash neither loses nor doubles one."""

import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, assert_never

import attrs

from ..backend import BatchItem, JobProgress, SupportsBatch, TooLarge
from ..delivery_options import DeliveryOptions
from ..errors import LedgerError
from ..exchange import Exchange, Pause
from ..guarding import broken, own
from ..ledger import Batch, Claim, Job, JobMember, Ledger, lossy
from ..model import UserTraits
from ..outcome import Accepted, Failure, Misconfigured, Outcome, Rejected, Unavailable, Unknown
from ..route import Route
from ..transport import ManyTransport
from .outbox import LedgerOutbox

# Seconds that a batch which is not full waits for more users.
_LINGER: Final = 0.5
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
# Fullstory repeats a 500 for as long as it keeps the key, where it repeats no other refusal. So often it may do so
# after an answer was lost; then the key is given up.
_REPLAYED: Final = "HTTP 500"
_MOST_REFUSALS: Final = 5


@attrs.define
class _Filling:
    """A batch while it fills up."""

    members: list[JobMember] = attrs.field(factory=list[JobMember])
    contents: list[bytes] = attrs.field(factory=list[bytes], repr=False)
    size: int = 0
    since: float = 0.0


@attrs.define
class _Waits:
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
class Batches:
    """Send users in batches, and see each batch through: create, poll, collect.

    Attributes:
        route: The backend, and what it may see.
        backend: The same backend, as one that takes batches.
        outbox: Who is to be sent.
        transport: What sends.
        on_problem: Is told the answer that leaves no hope for this run: the settings are wrong, or nothing else comes.
        options: How large batches are, and how soon they are asked after.
        clock: Seconds since some fixed moment.
        now: Seconds since 1970.
    """

    route: Route
    backend: SupportsBatch
    outbox: LedgerOutbox
    transport: ManyTransport
    on_problem: Callable[[Outcome], None]
    options: DeliveryOptions
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    _most_users: int = attrs.field(init=False)
    _most_bytes: int = attrs.field(init=False)
    _filling: _Filling = attrs.field(factory=_Filling, init=False)
    # By idempotency key.
    _open: dict[str, Job] = attrs.field(factory=dict[str, Job], init=False)
    _creating: set[str] = attrs.field(factory=set[str], init=False)
    _collecting: int = attrs.field(default=0, init=False)
    _is_refused: bool = attrs.field(default=False, init=False)
    _has_more_to_send: bool = attrs.field(default=True, init=False)

    def __attrs_post_init__(self) -> None:
        self._most_users = most_users(self.backend, self.options)
        self._most_bytes = self.options.batch_bytes
        for job in self.outbox.jobs():
            self._start(job, is_uncertain=True)

    @property
    def name(self) -> str:
        """Return the name of the backend."""
        return self.route.name

    @property
    def ledger(self) -> Ledger:
        """Return where batches are stored before they are sent."""
        return self.outbox.ledger

    def launch(self, *, is_last: bool) -> None:
        """Start as many batches as the vendor allows; one that is not full only if *is_last* or it waited a while."""
        self._has_more_to_send = not is_last
        while self._has_room() and self._fill(is_last=is_last):
            filling, self._filling = self._filling, _Filling()
            try:
                batch = self._batch(filling.members, filling.contents)
            except Exception as error:  # noqa: BLE001  # As in `_guarded`.
                self.outbox.settle_members(filling.members, [broken(self.name, error)] * len(filling.members))
                continue
            self._start(self.ledger.start_job(self.name, batch))

    def waits_for(self) -> str:
        """Say what is being waited for, if it is worth saying."""
        if not self._open:
            return ""
        jobs = "1 job" if len(self._open) == 1 else f"{len(self._open)} jobs"
        return f"{jobs} with {self._open_users():,} users"

    def _has_room(self) -> bool:
        """Tell whether the vendor takes another job; after it refused one, not before another one has ended."""
        limits = self.backend.batch_limits
        if self._is_refused and self._open:
            return False
        return (
            len(self._open) < limits.running_jobs.maximum
            and self._open_users() + self._most_users <= limits.open_users.maximum
            and len(self._creating) < (1 if self.transport.pace.failure else _MOST_CREATING)
        )

    def _open_users(self) -> int:
        return sum(job.size for job in self._open.values())

    def _fill(self, *, is_last: bool) -> bool:
        """Take users into the next batch, and tell whether it is to be sent now."""
        filling = self._filling
        while len(filling.members) < self._most_users and filling.size < self._most_bytes:
            claim = self.outbox.next()
            if claim is None:
                return bool(filling.members) and (is_last or self.clock() - filling.since >= _LINGER)
            if not filling.members:
                filling.since = self.clock()
            self._add(claim, filling)
        return True

    def _add(self, claim: Claim, filling: _Filling) -> None:
        """Add one user to a batch, unless it is known already what becomes of them."""
        item = word(self.route, self.backend, claim.user)
        if not isinstance(item, BatchItem):
            self.outbox.settle(claim, item)
            return
        if item.content is None:
            self.outbox.settle(claim, Rejected(self.name, item.violations))
            return
        user = claim.user
        vendor_id = user.vendor_ids.get(self.name)
        lost = lossy(item.adjustments)
        filling.members.append(JobMember(claim.place, claim.version, user.user_id, vendor_id, lost))
        # What orjson returns takes up 4 KiB however short it is; a copy does not.
        filling.contents.append(memoryview(item.content).tobytes())
        filling.size += len(item.content) + 1

    def _batch(self, members: Sequence[JobMember], contents: Sequence[bytes]) -> Batch:
        return Batch(str(uuid.uuid4()), members, self.backend.batch_body(contents))

    def _start(self, job: Job, *, is_uncertain: bool = False) -> None:
        self._open[job.idempotency_key] = job
        self.transport.start(self._guarded(job, is_uncertain=is_uncertain), partial(self._end, job))

    def _end(self, job: Job, _result: None) -> None:
        del self._open[job.idempotency_key]
        self._creating.discard(job.idempotency_key)

    def _guarded(self, job: Job, *, is_uncertain: bool) -> Exchange[None]:
        """See *job* through; an adapter that raises ends it, and everyone in it is on record."""
        try:
            yield from self._see_through(job, is_uncertain=is_uncertain)
        except LedgerError:
            raise
        except Exception as error:  # noqa: BLE001  # One adapter's bug must not stop the run.
            self.outbox.end_job(job, [broken(self.name, error)] * job.size)

    def _see_through(self, job: Job, *, is_uncertain: bool) -> Exchange[None]:
        """Create *job* unless it is named already, poll it until it ends, and take note of what became of its users."""
        if is_uncertain and not job.vendor_job and self._is_dropped(job):
            return
        named = job if job.vendor_job else (yield from self._create(job, is_uncertain=is_uncertain))
        if named is not None and (yield from self._poll(named)):
            self._is_refused = False
            yield from self._collect_in_turn(named)

    def _create(self, job: Job, *, is_uncertain: bool) -> Exchange[Job | None]:
        """Send *job* and return it with the vendor's id, or None if it came to nothing or is left to a later run.

        Once an answer was lost, the same bytes go out under the same key until the vendor tells what became of them:
        whatever is sent later must not be overtaken.
        """
        refusals, waits = 0, _Waits(self.options.wait_initial, self.options.wait_max)
        self._creating.add(job.idempotency_key)
        while True:
            body = self.ledger.body(job)
            created = yield from self.backend.create_job(body, idempotency_key=job.idempotency_key)
            match created:
                case str():
                    self._creating.discard(job.idempotency_key)
                    return self.ledger.name_job(job, created)
                case TooLarge() | Rejected():
                    self._take_apart(job, body, created)
                    return None
                case Misconfigured():
                    self.on_problem(created)
                    return None
                case Unavailable(cause=cause):
                    refusals += cause.startswith(_REPLAYED)
                    if not is_uncertain or refusals >= _MOST_REFUSALS:
                        self._is_refused = True
                        self.outbox.end_job(job)
                        return None
                case Unknown():
                    is_uncertain = True
                case _:
                    assert_never(created)
            if not (yield from self._wait(waits, created)) or self._is_dropped(job):
                return None

    def _is_dropped(self, job: Job) -> bool:
        """Drop *job* if the vendor has forgotten its key, and tell whether it had to be: its users are sent anew."""
        lifetime = self.backend.batch_limits.key_lifetime.maximum - _EARLY
        if self.now() - job.created_at <= lifetime * _HOUR:
            return False
        self.outbox.end_job(job)
        return True

    def _take_apart(self, job: Job, body: bytes, refused: TooLarge | Rejected) -> None:
        """Send the halves of a batch that was refused as a whole, so that one user does not fail the others."""
        if isinstance(refused, TooLarge):
            self._most_bytes = max(1, min(self._most_bytes, len(body) // 2))
            refused = Rejected(self.name, code="HTTP 413", message="this user alone is too large for a batch")
        half = job.size // 2
        if not half:
            self.outbox.end_job(job, [refused])
            return
        members, contents = self.ledger.members(job), self.backend.batch_contents(body)
        parts = [self._batch(members[part], contents[part]) for part in (slice(half), slice(half, None))]
        for part in self.ledger.split_job(self.name, job, parts):
            self._start(part)

    def _poll(self, job: Job) -> Exchange[bool]:
        """Ask after *job* until it has ended; return False if the vendor lost it or it is left to a later run."""
        waits = _Waits(self.options.poll_initial, self.options.poll_max)
        if not (yield from self._let_others_go_first(job)):
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

    def _let_others_go_first(self, job: Job) -> Exchange[bool]:
        """Wait as long as a vendor takes at least, and longer while there are others to send; False if stopped."""
        least = min(self.options.poll_max, self.options.poll_initial * max(1.0, job.size / _POLLED_AT_ONCE))
        is_large, waited = job.size > _POLLED_AT_ONCE, 0.0
        while waited < least or (is_large and self._has_more_to_send and waited < self.options.poll_max):
            if (yield Pause(self.options.poll_initial)).lost:
                return False
            waited += self.options.poll_initial
        return True

    def _collect_in_turn(self, job: Job) -> Exchange[None]:
        """Collect *job* after others, whose members and results fill the memory."""
        while self._collecting >= _MOST_COLLECTING:
            if (yield Pause(_TURN)).lost:
                return
        self._collecting += 1
        try:
            yield from self._collect(job)
        finally:
            self._collecting -= 1

    def _collect(self, job: Job) -> Exchange[None]:
        """Take note of what became of the users of *job*."""
        members = self.ledger.members(job)
        named = [member.named() for member in members]
        waits = _Waits(self.options.wait_initial, self.options.wait_max)
        while True:
            collected = yield from self.backend.collect_job(job.vendor_job or "", named)
            match collected:
                case tuple():
                    self.outbox.end_job(job, [self._own(*each) for each in zip(collected, members, strict=True)])
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

    def _own(self, outcome: Outcome, member: JobMember) -> Outcome:
        """Return *outcome*, if it is one, with what was lost of *member*."""
        outcome = own(self.name, outcome)
        if isinstance(outcome, Accepted) and member.lost:
            return attrs.evolve(outcome, adjustments=member.lost)
        return outcome

    def _send_again(self, job: Job, cause: str) -> None:
        """Have the newest of everyone in *job* sent again."""
        self.outbox.end_job(job, [Unknown(self.name, cause)] * job.size)

    def _wait(self, waits: _Waits, failure: Failure | None) -> Exchange[bool]:
        """Wait before the next request; False if there should be none: stopped, or failures for too long."""
        wait = waits.next(failed=failure is not None)
        if failure is not None and waits.failing_for >= self.options.patience:
            self.on_problem(failure)
            return False
        return not (yield Pause(wait)).lost


def word(route: Route, backend: SupportsBatch, user: UserTraits) -> BatchItem | Outcome:
    """Return *user* in the vendor's words, or what becomes of them without being sent."""
    try:
        seen = route.see(user)
        item = backend.batch_item(seen) if isinstance(seen, UserTraits) else seen
        if isinstance(item, BatchItem) and _is_content(item.content):
            return item
        return own(route.name, item)
    except Exception as error:  # noqa: BLE001  # A bug of an adapter's, or of a route's, must not stop the run.
        return broken(route.name, error)


def _is_content(content: object) -> bool:
    return content is None or isinstance(content, bytes)


def most_users(backend: SupportsBatch, options: DeliveryOptions) -> int:
    """Return how many users one batch has at most."""
    most = backend.batch_limits.users.maximum
    return most if options.batch_users is None else min(most, options.batch_users)
