"""The blocking and the asyncio runner of exchanges: they send, wait and close."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self
from weakref import WeakKeyDictionary

from ..adapters.exchange import AFTER_SLEEP, Exchange, NoResponse, Response, T
from ..errors import ConfigurationError
from ..retry import RetryPolicy
from .attempts import STOPPED, Action, Attempts, Send

if TYPE_CHECKING:
    import httpx

    from .senders import AsyncSender, Sender

# Maximum number of requests in flight to one backend, from one event loop.
MAX_IN_FLIGHT: Final = 100


class Transport:
    """Run exchanges, blocking. Safe to share between threads, and after a fork.

    Args:
        client: Your own `httpx.Client` (for a proxy, certificates or respx), which you close yourself, or any other
            `Sender`; by default a client of this library.
        retry: How often and how soon to retry.
        timeout: Seconds that one attempt may take.
        attempts: Retry arithmetic with its own clock and jitter, in place of *retry* and *timeout*.
        sleep: Waits the given seconds, in place of a wait that `close` ends.
    """

    def __init__(
        self,
        client: "httpx.Client | Sender | None" = None,
        *,
        retry: RetryPolicy | None = None,
        timeout: float = 30.0,
        attempts: Attempts | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        # Importing httpx takes half of this library's import time, so it is imported for the first transport.
        from .httpx_sender import as_sender  # noqa: PLC0415

        self.attempts = attempts or Attempts(retry or RetryPolicy(), timeout)
        self._sender = as_sender(client)
        self._sleep = sleep
        self._closed = threading.Event()

    def run(self, exchange: Exchange[T], *, deadline: float | None = None) -> T:
        """Run *exchange* to its end and return its result.

        Args:
            exchange: An adapter's generator, not yet started.
            deadline: Moment on the clock after which nothing is sent.
        """
        steps = self.attempts.run_steps(exchange, deadline)
        try:
            action = next(steps)
            while True:
                action = steps.send(self._perform(action))
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _perform(self, action: Action) -> Response:
        if self._closed.is_set():
            return STOPPED
        if isinstance(action, Send):
            return self._sender.send(action.request, action.timeout)
        if self._sleep is not None:
            self._sleep(action.seconds)
            return AFTER_SLEEP
        return STOPPED if self._closed.wait(action.seconds) else AFTER_SLEEP

    def close(self) -> None:
        """End all waits for a retry and free the connections; a request in flight may lose its response."""
        self._closed.set()
        self._sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncTransport:
    """Run exchanges on asyncio.

    Args:
        client: Your own `httpx.AsyncClient`, which you close yourself, or any other `AsyncSender`; by default clients
            of this library.
        retry: How often and how soon to retry.
        timeout: Seconds that one attempt may take.
        max_in_flight: Maximum number of requests in flight in one event loop. Others wait in order, and the wait counts
            towards their timeout.
        attempts: Retry arithmetic with its own clock and jitter, in place of *retry* and *timeout*.
        sleep: Waits the given seconds, in place of a wait that `aclose` ends.

    Raises:
        ConfigurationError: *max_in_flight* is not a positive integer.
    """

    def __init__(
        self,
        client: "httpx.AsyncClient | AsyncSender | None" = None,
        *,
        retry: RetryPolicy | None = None,
        timeout: float = 30.0,
        max_in_flight: int = MAX_IN_FLIGHT,
        attempts: Attempts | None = None,
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        from .httpx_sender import as_async_sender  # noqa: PLC0415  # As in `Transport`.

        self.attempts = attempts or Attempts(retry or RetryPolicy(), timeout)
        self._sender = as_async_sender(client)
        self._max_in_flight = _checked_max_in_flight(max_in_flight)
        # By event loop, since a semaphore belongs to one.
        self._slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
        self._sleep = sleep
        self._pauses: set[asyncio.Future[None]] = set()
        self._closed = False

    async def run(self, exchange: Exchange[T], *, deadline: float | None = None) -> T:
        """Run *exchange* to its end and return its result; see `Transport.run`."""
        steps = self.attempts.run_steps(exchange, deadline)
        try:
            action = next(steps)
            while True:
                action = steps.send(await self._perform(action))
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def _perform(self, action: Action) -> Response:
        if self._is_closed():
            return STOPPED
        if isinstance(action, Send):
            return await self._send(action)
        await self._pause(action.seconds)
        return STOPPED if self._is_closed() else AFTER_SLEEP

    async def _send(self, action: Send) -> Response:
        """Send the request as soon as it is its turn."""
        slots = self._own_slots()
        if not slots.locked():
            async with slots:
                return await self._sender.send(action.request, action.timeout)
        end = time.monotonic() + action.timeout
        try:
            async with asyncio.timeout(action.timeout):
                await slots.acquire()
        except TimeoutError:
            return Response(0, no_response=NoResponse.DEADLINE_PASSED)
        try:
            remaining = end - time.monotonic()
            if remaining <= 0:
                return Response(0, no_response=NoResponse.DEADLINE_PASSED)
            return STOPPED if self._is_closed() else await self._sender.send(action.request, remaining)
        finally:
            slots.release()

    def _own_slots(self) -> asyncio.Semaphore:
        """Return the slots for requests of this event loop."""
        loop = asyncio.get_running_loop()
        slots = self._slots.get(loop)
        if slots is None:
            slots = self._slots[loop] = asyncio.Semaphore(self._max_in_flight)
        return slots

    async def _pause(self, seconds: float) -> None:
        """Wait until *seconds* have passed or the transport is closed."""
        if self._sleep is not None:
            await self._sleep(seconds)
            return
        pause = asyncio.get_running_loop().create_future()
        self._pauses.add(pause)
        try:
            await asyncio.wait([pause], timeout=seconds)
        finally:
            self._pauses.discard(pause)

    def _is_closed(self) -> bool:
        # A method, since type checkers do not expect an attribute to change during an await.
        return self._closed

    async def aclose(self) -> None:
        """End all waits for a retry and free the connections; a request in flight may lose its response."""
        self._closed = True
        for pause in tuple(self._pauses):
            # The pause may belong to another event loop than this one.
            pause.get_loop().call_soon_threadsafe(pause.cancel)
        for loop, slots in tuple(self._slots.items()):
            # The first that waits sends nothing and lets in the next one.
            if not loop.is_closed():
                loop.call_soon_threadsafe(slots.release)
        await self._sender.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _checked_max_in_flight(number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ConfigurationError("max_in_flight", "expected a number greater than 0")
    return number
