"""Dispatchers, which send claims: one user, several users or a batch at a time."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Final, Generic, TypeVar

import attrs

from .._text import pluralize
from ..adapters.exchange import Exchange
from ..adapters.protocols import SupportsBatch, SupportsMultiIdentify
from ..adapters.responses import adapter_error, checked_outcome, isolate_errors
from ..ledger import Claim, JobEntries
from ..outcomes import Broken, Outcome, lossy_adjustments
from ..router import Route
from ..traits import UserTraits
from ..transport import ConcurrentTransport
from .changes import ChangePlanner, Unsent
from .jobs import ImportJobs
from .outbox import Outbox
from .outcome_handler import OutcomeHandler

# Seconds that a buffer which is not full waits for more users.
_LINGER_S: Final = 0.5
# Each user in flight is held in memory until the response.
_MAX_USERS_IN_FLIGHT: Final = 10_000

Entries = TypeVar("Entries", list[Claim], JobEntries)
Content = TypeVar("Content")


@attrs.define
class Dispatcher(ABC):
    """Sends the users of one backend.

    Attributes:
        route: The backend, and what it may see.
        outbox: The users to send.
        transport: Sends the requests.
        planner: Decides what to send.
        is_stopped: Returns True if no more users should be taken, however many need no request.
    """

    route: Route
    outbox: Outbox
    transport: ConcurrentTransport
    planner: ChangePlanner = attrs.field(init=False)
    is_stopped: Callable[[], bool] = attrs.field(default=lambda: False, init=False)

    def __attrs_post_init__(self) -> None:
        self.planner = ChangePlanner(self.route, self.outbox)

    @abstractmethod
    def dispatch(self, *, is_last: bool) -> None:
        """Start all exchanges that may start now; *is_last* if no more users will be added to the outbox."""

    @abstractmethod
    def status_text(self) -> str:
        """Return what the dispatcher is waiting for, or an empty string."""


@attrs.define
class SingleDispatcher(Dispatcher):
    """Send one user per request.

    Attributes:
        handler: Handles the outcomes.
    """

    handler: OutcomeHandler

    def dispatch(self, *, is_last: bool) -> None:  # noqa: ARG002  # Part of the interface.
        """Start as many requests as may be in flight."""
        transport = self.transport
        while (
            not (self.handler.is_aborted or self.is_stopped())
            and transport.limiter.allows(transport.in_flight)
            and (claim := self.outbox.next()) is not None
        ):
            change = self.planner.change(claim)
            if isinstance(change, Unsent):
                self.outbox.settle(change.claim, change.outcome, lost=change.lost)
                continue
            exchange = isolate_errors(self.route.name, self.planner.send(change))
            transport.submit(exchange, partial(self._handle, (change.claim,)))

    def status_text(self) -> str:
        """Return what deferred users there are, or an empty string."""
        return self.handler.status_text()

    def _handle(self, claims: Sequence[Claim], outcome: Outcome) -> None:
        self.handler.handle(claims, (outcome,))


@attrs.define
class Buffer(Generic[Entries, Content]):
    """Users who will share a request.

    Attributes:
        entries: Who they are.
        contents: What is sent of each.
        size: Size of the contents in bytes, where that is limited.
        since: When the first user was added.
    """

    entries: Entries
    contents: list[Content] = attrs.field(factory=list[Content], repr=False)
    size: int = 0
    since: float = 0.0


@attrs.define(kw_only=True)
class BufferedDispatcher(Dispatcher, Generic[Entries, Content]):
    """Collect users until enough of them can share a request.

    Attributes:
        max_users: Maximum number of users in one request.
        clock: Returns seconds since some fixed moment.
    """

    max_users: int
    clock: Callable[[], float] = time.monotonic
    _buffer: Buffer[Entries, Content] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._buffer = self._empty_buffer()

    def _take_buffer(self, *, is_last: bool, max_bytes: float = inf) -> Buffer[Entries, Content] | None:
        """Fill the buffer and return it once it is full, has lingered or *is_last*; otherwise return None."""
        buffer = self._buffer
        while len(buffer.contents) < self.max_users and buffer.size < max_bytes:
            claim = None if self.is_stopped() else self.outbox.next()
            if claim is None:
                if not buffer.contents or not (is_last or self.clock() - buffer.since >= _LINGER_S):
                    return None
                break
            if not buffer.contents:
                buffer.since = self.clock()
            self._add(claim, buffer)
        self._buffer = self._empty_buffer()
        return buffer

    @abstractmethod
    def _empty_buffer(self) -> Buffer[Entries, Content]:
        """Return a buffer without users."""

    @abstractmethod
    def _add(self, claim: Claim, buffer: Buffer[Entries, Content]) -> None:
        """Add *claim* to *buffer*, or settle it if it needs no request."""


@attrs.define(kw_only=True)
class MultiDispatcher(BufferedDispatcher[list[Claim], UserTraits]):
    """Send several users per request, with one outcome each.

    No user is in flight twice: an outbox returns one claim of a user at a time.

    Attributes:
        backend: The backend of the route.
        handler: Handles the outcomes.
    """

    backend: SupportsMultiIdentify
    handler: OutcomeHandler
    _users_in_flight: int = attrs.field(default=0, init=False)

    def dispatch(self, *, is_last: bool) -> None:
        """Start as many requests as may be in flight; one that is not full only if *is_last* or it has lingered."""
        while self._has_room() and (buffer := self._take_buffer(is_last=is_last)):
            self._users_in_flight += len(buffer.entries)
            self.transport.submit(self._identify(buffer.contents), partial(self._handle, buffer.entries))

    def status_text(self) -> str:
        """Return what deferred users there are, or an empty string."""
        return self.handler.status_text()

    def _has_room(self) -> bool:
        return (
            not self.handler.is_aborted
            and self._users_in_flight < _MAX_USERS_IN_FLIGHT
            and self.transport.limiter.allows(self.transport.in_flight)
        )

    def _empty_buffer(self) -> Buffer[list[Claim], UserTraits]:
        return Buffer([])

    def _add(self, claim: Claim, buffer: Buffer[list[Claim], UserTraits]) -> None:
        change = self.planner.change(claim)
        if isinstance(change, Unsent):
            self.outbox.settle(change.claim, change.outcome, lost=change.lost)
        else:
            buffer.entries.append(change.claim)
            buffer.contents.append(change.user)

    def _identify(self, users: Sequence[UserTraits]) -> Exchange[tuple[Outcome, ...]]:
        """Send *users* and return one outcome each: `Broken` if the adapter raised or returned an invalid one."""
        try:
            outcomes = tuple((yield from self.backend.identify_many(users)))
        except Exception as error:  # noqa: BLE001  # A bug in an adapter must not stop the run.
            return (adapter_error(self.route.name, error),) * len(users)
        if len(outcomes) != len(users):
            problem = f"the adapter returned {len(outcomes)} outcomes for {len(users)} users"
            return (Broken(self.route.name, problem),) * len(users)
        return tuple(checked_outcome(self.route.name, outcome) for outcome in outcomes)

    def _handle(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> None:
        self._users_in_flight -= len(claims)
        self.handler.handle(claims, outcomes)


@attrs.define(kw_only=True)
class BatchDispatcher(BufferedDispatcher[JobEntries, bytes]):
    """Send users in batches of thousands, each stored before it is sent.

    Attributes:
        backend: The backend of the route.
        jobs: Runs the vendor's imports.
    """

    backend: SupportsBatch
    jobs: ImportJobs

    def dispatch(self, *, is_last: bool) -> None:
        """Start as many batches as the vendor allows; one that is not full only if *is_last* or it has lingered."""
        self.jobs.has_more_to_send = not is_last
        while self.jobs.has_room(self.max_users) and self._start_job(is_last=is_last):
            pass

    def _start_job(self, *, is_last: bool) -> bool:
        """Start one batch; return False if there is none to start."""
        # A function of its own, so that nothing of this batch stays in memory while the next one is filled.
        batch = self._take_buffer(is_last=is_last, max_bytes=self.jobs.max_bytes)
        if batch is not None:
            self.jobs.start(batch.entries, batch.contents)
        return batch is not None

    def status_text(self) -> str:
        """Return what jobs are running, or an empty string."""
        if not self.jobs.count:
            return ""
        return f"{pluralize(self.jobs.count, 'job')} with {pluralize(self.jobs.users, 'user')}"

    def _empty_buffer(self) -> Buffer[JobEntries, bytes]:
        return Buffer(JobEntries())

    def _add(self, claim: Claim, buffer: Buffer[JobEntries, bytes]) -> None:
        change = self.planner.encoded_change(claim, self.backend)
        if isinstance(change, Unsent):
            self.outbox.settle(change.claim, change.outcome, lost=change.lost)
            return
        user, compared = claim.user, change.claim
        vendor_id = user.vendor_ids.get(self.route.name) if user.vendor_ids else None
        # What orjson returns takes 4 KiB however short it is; a copy does not.
        content = memoryview(change.content).tobytes()
        buffer.entries.add(
            claim.row_id,
            claim.version,
            user_id=user.user_id,
            vendor_id=vendor_id,
            lost=lossy_adjustments(change.adjustments),
            fields=compared.fields,
            in_doubt=compared.in_doubt,
            content=content if user.user_id is None and vendor_id is None else None,
        )
        buffer.contents.append(content)
        buffer.size += len(content) + 1
