"""The base class of all emulators: an ASGI app with faults, a rate limit and a journal of requests."""

import asyncio
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from random import SystemRandom
from typing import Final

import attrs
from starlette.types import Receive, Scope, Send

from .control import control_response, is_control
from .faults import Fault, Faults, corrupt, drop_connection, wait_until_client_leaves
from .http import JsonValue, ReceivedRequest, VendorResponse, foreign_status, json_response, read_request
from .journal import MAX_JOURNAL_BYTES, Journal, RecordedRequest, WriteLog
from .rate_limit import Clock, Limiter, RateLimit
from .vendor import Delay, EmulatorState, VendorApi

NO_FAULT: Final = Fault()

FOREIGN: Final[JsonValue] = {
    "error": "only requests for localhost, 127.0.0.0/8 or [::1] from this machine are answered; "
    "allow other names with allowed_hosts"
}

FIRST_ERROR: Final = 400
TOO_MANY: Final = 429


def _host_names(names: Collection[str]) -> AbstractSet[str]:
    if isinstance(names, str):
        raise TypeError('allowed_hosts: expected a set of names, got a string; write allowed_hosts={"emulator"}')
    return frozenset(name.lower() for name in names)


@attrs.define(kw_only=True, eq=False)
class Emulator(ABC):
    """A fake vendor over real HTTP; a subclass adds the rules and the state of its vendor.

    Attributes:
        clock: Returns seconds since the epoch.
        rate_limit: The rate above which requests get a 429.
        allowed_hosts: Names besides those of loopback, without ports, under which requests are answered. All others are
            refused, as are requests of web pages from elsewhere.
        max_body: Maximum size of a request body in bytes; larger ones get a 413.
        journal_bytes: Maximum bytes of request bodies kept in `requests`; beyond it the oldest bodies are dropped.
        keeps_history: Whether `history` records every write.
        draw: Returns a number in [0, 1) for faults with a probability.
        faults: The faults to inject into requests.
    """

    clock: Clock = attrs.field(default=time.time, repr=False)
    rate_limit: RateLimit | None = None
    allowed_hosts: AbstractSet[str] = attrs.field(default=frozenset[str](), converter=_host_names)
    max_body: int = 50_000_000
    journal_bytes: int = MAX_JOURNAL_BYTES
    keeps_history: bool = False
    draw: Callable[[], float] = attrs.field(default=SystemRandom().random, repr=False)
    faults: Faults = attrs.field(init=False)
    _applied: WriteLog = attrs.field(init=False, repr=False)
    _state: EmulatorState = attrs.field(init=False, repr=False)
    _asgi_app: "AsgiApp" = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.faults = Faults(draw=self.draw)
        self._applied = WriteLog(keeps_history=self.keeps_history)
        self._state = EmulatorState(
            api=self.make_api(self._applied),
            faults=self.faults,
            limiter=Limiter(limit=self.rate_limit, clock=self.clock),
            journal=Journal(max_bytes=self.journal_bytes),
        )
        self._asgi_app = AsgiApp(state=self._state, allowed_hosts=self.allowed_hosts, max_body=self.max_body)

    @abstractmethod
    def make_api(self, applied: WriteLog) -> VendorApi:
        """Return the vendor's API, which records its writes in *applied*."""

    @property
    def requests(self) -> Sequence[RecordedRequest]:
        """A snapshot of the requests in order of arrival."""
        return self._state.journal.entries

    @property
    def applied(self) -> Mapping[str, int]:
        """A snapshot of the number of writes per user, by your own id or else the vendor's."""
        return self._applied.counts

    @property
    def total_applied(self) -> int:
        """The number of writes to all users."""
        return self._applied.total

    def history(self, user_id: str) -> Sequence[JsonValue]:
        """Return the payloads that were written to a user, oldest first.

        Raises:
            HistoryNotKeptError: The emulator was made without `keeps_history=True`.
        """
        return self._applied.history(user_id)

    def reset(self) -> None:
        """Delete users, requests, faults, counts and all other state."""
        self._state.reset()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._asgi_app(scope, receive, send)


@attrs.define(kw_only=True)
class AsgiApp:
    """An ASGI app that reads a request, lets a fault or the vendor respond, and records it in the journal."""

    state: EmulatorState
    allowed_hosts: AbstractSet[str]
    max_body: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        Raises:
            NotImplementedError: The scope is not an HTTP request.
            RuntimeError: The emulator has a bug; the text names the place of the error but not its message.
        """
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])

        request = await read_request(scope, receive, max_body=self.max_body)
        if request is None:
            return

        try:
            await self._serve(request, (scope, receive, send))
        except ConnectionAbortedError:
            raise
        except Exception as error:  # noqa: BLE001 - its text may hold a value, and uvicorn would log it.
            place = traceback.extract_tb(error.__traceback__)[-1]
            raise RuntimeError(f"{type(error).__name__} at {place.filename}:{place.lineno}") from None

    async def _serve(self, request: ReceivedRequest, asgi: tuple[Scope, Receive, Send]) -> None:
        refusal = foreign_status(request, self.allowed_hosts)
        if refusal is not None:
            await corrupt(json_response(refusal, FOREIGN), NO_FAULT)(*asgi)
            return
        if is_control(request):
            await corrupt(control_response(self.state, request), NO_FAULT)(*asgi)
            return

        number = self.state.journal.add(request)
        fault = self.state.faults.take(request.method, request.path) or NO_FAULT
        _, receive, send = asgi
        if fault.hang:
            await wait_until_client_leaves(receive)
            return

        response = await self._respond(request, fault)
        applied = response is not None and response.applied
        if response is None or fault.drop is not None:
            self.state.journal.complete(number, status=None, applied=applied)
            await drop_connection(receive, send)
            return

        self.state.journal.complete(number, status=response.status, applied=applied)
        await corrupt(response, fault)(*asgi)

    async def _respond(self, request: ReceivedRequest, fault: Fault) -> VendorResponse | None:
        async def delay() -> None:
            # A vendor does not notice that the client has left, so it still applies the request.
            await asyncio.sleep(fault.latency)

        if fault.drop == "before":
            await delay()
            return None
        if fault.status is None:
            return _override(await self._ask_vendor(request, delay), fault)

        await delay()
        response = _override(self._injected_response(fault.status), fault)
        self.state.api.on_injected_failure(request, response)
        return response

    def _injected_response(self, status: int) -> VendorResponse:
        return self.state.api.error_response(status) if status >= FIRST_ERROR else VendorResponse(status=status)

    async def _ask_vendor(self, request: ReceivedRequest, delay: Delay) -> VendorResponse:
        if request.error_status is not None:
            return self.state.api.error_response(request.error_status)

        wait = self.state.limiter.admit()
        if wait is not None:
            return self._rate_limited(wait)
        return await self.state.api.respond(request, delay)

    def _rate_limited(self, wait: int) -> VendorResponse:
        response = self.state.api.error_response(TOO_MANY)
        limit = self.state.limiter.limit
        if limit is None or not limit.sends_retry_after:
            return response
        return attrs.evolve(response, headers={**response.headers, "retry-after": str(wait)})


def _override(response: VendorResponse, fault: Fault) -> VendorResponse:
    headers = {**response.headers, **{name.lower(): value for name, value in fault.headers.items()}}
    body = response.body if fault.body is None else fault.body
    return attrs.evolve(response, headers=headers, body=body)
