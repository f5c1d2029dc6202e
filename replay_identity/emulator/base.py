"""What every fake vendor is to a test: an ASGI app with faults, a rate limit and a journal."""

import asyncio
import random
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import attrs
from starlette.types import Receive, Scope, Send

from .control import control_response, is_control
from .faults import Fault, Faults, corrupt, drop_connection, wait_until_client_leaves
from .http import JsonValue, ReceivedRequest, VendorResponse, read_request
from .journal import KEEP_BYTES, Journal, RecordedRequest, WriteLog
from .rate_limit import Clock, Limiter, RateLimit
from .vendor import Delay, EmulatorState, VendorApi

NO_FAULT = Fault()

FIRST_ERROR = 400
TOO_MANY = 429


@attrs.define(kw_only=True)
class AsgiApp:
    """An ASGI app: it reads a request, lets a fault or the vendor answer it, and writes it down."""

    state: EmulatorState
    max_body: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        Raises:
            NotImplementedError: It is not an HTTP request.
            RuntimeError: The emulator has a bug, named by its place and not by the value it met.
        """
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])

        received = await read_request(scope, receive, max_body=self.max_body)
        if received is None:
            return

        try:
            await self._serve(received, (scope, receive, send))
        except ConnectionAbortedError:
            raise
        except Exception as error:  # noqa: BLE001 - its text may hold a value, and uvicorn would log it.
            place = traceback.extract_tb(error.__traceback__)[-1]
            raise RuntimeError(f"{type(error).__name__} at {place.filename}:{place.lineno}") from None

    async def _serve(self, received: ReceivedRequest, asgi: tuple[Scope, Receive, Send]) -> None:
        if is_control(received):
            await corrupt(control_response(self.state, received), NO_FAULT)(*asgi)
            return

        number = self.state.journal.arrive(received)
        fault = self.state.faults.take(received.method, received.path) or NO_FAULT
        _, receive, send = asgi
        if fault.hang:
            await wait_until_client_leaves(receive)
            return

        answer = await self._answer(received, fault)
        applied = answer is not None and answer.applied
        if answer is None or fault.drop is not None:
            self.state.journal.settle(number, status=None, applied=applied)
            await drop_connection(receive, send)
            return

        self.state.journal.settle(number, status=answer.status, applied=applied)
        await corrupt(answer, fault)(*asgi)

    async def _answer(self, received: ReceivedRequest, fault: Fault) -> VendorResponse | None:
        async def delay() -> None:
            # A client that leaves meanwhile does not stop the work: a vendor does not look.
            await asyncio.sleep(fault.latency)

        if fault.drop == "before":
            await delay()
            return None
        if fault.status is None:
            return _dress(await self._ask_vendor(received, delay), fault)

        await delay()
        answer = _dress(self._staged(fault.status), fault)
        self.state.vendor.on_injected_failure(received, answer)
        return answer

    def _staged(self, status: int) -> VendorResponse:
        return self.state.vendor.failure(status) if status >= FIRST_ERROR else VendorResponse(status=status)

    async def _ask_vendor(self, received: ReceivedRequest, delay: Delay) -> VendorResponse:
        if received.unreadable is not None:
            return self.state.vendor.failure(received.unreadable)

        wait = self.state.limiter.admit()
        if wait is not None:
            return self._too_many(wait)
        return await self.state.vendor.answer(received, delay)

    def _too_many(self, wait: int) -> VendorResponse:
        answer = self.state.vendor.failure(TOO_MANY)
        limit = self.state.limiter.limit
        if limit is None or not limit.says_when:
            return answer
        return attrs.evolve(answer, headers={**answer.headers, "retry-after": str(wait)})


def _dress(answer: VendorResponse, fault: Fault) -> VendorResponse:
    headers = {**answer.headers, **{name.lower(): value for name, value in fault.headers.items()}}
    body = answer.body if fault.body is None else fault.body
    return attrs.evolve(answer, headers=headers, body=body)


@attrs.define(kw_only=True, eq=False)
class Emulator(ABC):
    """A fake vendor over real HTTP; a subclass gives the vendor's own rules and state.

    Attributes:
        clock: Seconds since the epoch.
        rate_limit: When to answer 429.
        max_body: Bytes of a request body, over which 413 is answered.
        journal_bytes: Bytes of request bodies kept in `requests`; over it, the oldest are let go.
        keeps_history: Whether `history` keeps what was applied to each user.
        draw: Gives a number in [0, 1) for faults with a probability.
        faults: What is to go wrong with requests.
    """

    clock: Clock = attrs.field(default=time.time, repr=False)
    rate_limit: RateLimit | None = None
    max_body: int = 50_000_000
    journal_bytes: int = KEEP_BYTES
    keeps_history: bool = False
    draw: Callable[[], float] = attrs.field(default=random.random, repr=False)
    faults: Faults = attrs.field(init=False)
    _applied: WriteLog = attrs.field(init=False, repr=False)
    _state: EmulatorState = attrs.field(init=False, repr=False)
    _asgi_app: AsgiApp = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.faults = Faults(draw=self.draw)
        self._applied = WriteLog(keeps_history=self.keeps_history)
        self._state = EmulatorState(
            vendor=self.make_api(self._applied),
            faults=self.faults,
            limiter=Limiter(limit=self.rate_limit, clock=self.clock),
            journal=Journal(keep_bytes=self.journal_bytes),
        )
        self._asgi_app = AsgiApp(state=self._state, max_body=self.max_body)

    @abstractmethod
    def make_api(self, applied: WriteLog) -> VendorApi:
        """Return the vendor's rules and state, who notes in *applied* what was applied to whom."""

    @property
    def requests(self) -> Sequence[RecordedRequest]:
        """The requests in order of arrival, as they stand now."""
        return self._state.journal.entries

    @property
    def applied(self) -> Mapping[str, int]:
        """How often each user was written to, by the application's id or else by the vendor's, as it stands now."""
        return self._applied.counts

    @property
    def total_applied(self) -> int:
        """How often all users together were written to."""
        return self._applied.total

    def history(self, user_id: str) -> Sequence[JsonValue]:
        """Return what was applied to a user, as sent, oldest first.

        Raises:
            HistoryNotKeptError: The emulator was made without `keeps_history=True`.
        """
        return self._applied.history(user_id)

    def reset(self) -> None:
        """Forget users, requests, faults and counts, and whatever else happened."""
        self._state.reset()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._asgi_app(scope, receive, send)
