"""The two runners of exchanges: one blocks, one awaits; all they do is send, wait and close."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..adapters.exchange import AFTER_SLEEP, Exchange, Response, T
from ..retry import RetryPolicy
from .attempts import STOPPED, Action, Attempts, Send
from .senders import AsyncSender, Sender

if TYPE_CHECKING:
    import httpx


class Transport:
    """Run exchanges, blocking. Safe to share between threads, and after a fork.

    Args:
        client: An `httpx.Client` of your own (proxy, certificates, respx), which stays yours to close, or any other
            `Sender`; by default a client of ours.
        retry: How often and how soon to try again.
        timeout: Seconds that one attempt may take.
        attempts: The retry arithmetic with its clock and its dice, in place of *retry* and *timeout*.
        sleep: Waits so many seconds, in place of a wait that `close` ends.
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
        self.attempts = attempts or Attempts(retry or RetryPolicy(), timeout)
        self._sender = _sender(client)
        self._sleep = sleep
        self._closed = threading.Event()

    def run(self, exchange: Exchange[T], *, deadline: float | None = None) -> T:
        """Run *exchange* to its end and return its result.

        Args:
            exchange: An adapter's generator, not yet started.
            deadline: Moment on the clock after which nothing more is sent.
        """
        steps = self.attempts.run_steps(exchange, deadline)
        try:
            step = next(steps)
            while True:
                step = steps.send(self._take(step))
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _take(self, step: Action) -> Response:
        if self._closed.is_set():
            return STOPPED
        if isinstance(step, Send):
            return self._sender.send(step.request, step.timeout)
        if self._sleep is not None:
            self._sleep(step.seconds)
            return AFTER_SLEEP
        return STOPPED if self._closed.wait(step.seconds) else AFTER_SLEEP

    def close(self) -> None:
        """Wake whoever waits for a retry, and free the connections; a request under way may lose its answer."""
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
        client: An `httpx.AsyncClient` of your own, which stays yours to close, or any other `AsyncSender`; by default
            clients of ours.
        retry: How often and how soon to try again.
        timeout: Seconds that one attempt may take.
        attempts: The retry arithmetic with its clock and its dice, in place of *retry* and *timeout*.
        sleep: Waits so many seconds, in place of a wait that `aclose` ends.
    """

    def __init__(
        self,
        client: "httpx.AsyncClient | AsyncSender | None" = None,
        *,
        retry: RetryPolicy | None = None,
        timeout: float = 30.0,
        attempts: Attempts | None = None,
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        self.attempts = attempts or Attempts(retry or RetryPolicy(), timeout)
        self._sender = _async_sender(client)
        self._sleep = sleep
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    async def run(self, exchange: Exchange[T], *, deadline: float | None = None) -> T:
        """Run *exchange* to its end and return its result; as `Transport.run`."""
        steps = self.attempts.run_steps(exchange, deadline)
        try:
            step = next(steps)
            while True:
                step = steps.send(await self._take(step))
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def _take(self, step: Action) -> Response:
        if self._is_closed():
            return STOPPED
        if isinstance(step, Send):
            return await self._sender.send(step.request, step.timeout)
        await self._pause(step.seconds)
        return STOPPED if self._is_closed() else AFTER_SLEEP

    async def _pause(self, seconds: float) -> None:
        """Wait so many *seconds*, or until the transport is closed."""
        if self._sleep is not None:
            await self._sleep(seconds)
            return
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await asyncio.wait([waiting], timeout=seconds)
        finally:
            self._waiting.discard(waiting)

    def _is_closed(self) -> bool:
        return self._closed

    async def aclose(self) -> None:
        """Wake whoever waits for a retry, and free the connections; a request under way may lose its answer."""
        self._closed = True
        for waiting in tuple(self._waiting):
            # It may wait on another event loop than the one that closes.
            waiting.get_loop().call_soon_threadsafe(waiting.cancel)
        await self._sender.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


# httpx takes half of this library's import time, so it is loaded by whoever sends, not by whoever imports.


def _sender(client: "httpx.Client | Sender | None") -> Sender:
    from .httpx_sender import sender_over  # noqa: PLC0415

    return sender_over(client)


def _async_sender(client: "httpx.AsyncClient | AsyncSender | None") -> AsyncSender:
    from .httpx_sender import async_sender_over  # noqa: PLC0415

    return async_sender_over(client)
