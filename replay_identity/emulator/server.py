"""Run ASGI apps on real sockets."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator, Sequence

import attrs
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = "127.0.0.1"
TICK = 1.0


class PortInUseError(OSError):
    """Another program listens on the port; choose another one, or 0 for any free one."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.port = port

    def __str__(self) -> str:
        """Name the port and what to do."""
        return f"Port {self.port} is in use. Choose another port, or 0 for any free one."


@attrs.frozen
class RunningServer:
    """A server that listens."""

    url: str
    """Where it listens, without a slash at the end."""


@contextlib.contextmanager
def running(app: ASGIApp, port: int = 0, *, host: str = LOOPBACK) -> Generator[RunningServer, None, None]:
    """Serve *app* from a background thread for the length of a `with` block.

    Raises:
        PortInUseError: Another program listens on *port*.
    """
    listener = _bind(host, port)
    ready = threading.Event()
    server = _Server(app, on_listening=ready.set)

    def run() -> None:
        try:
            asyncio.run(server.serve(sockets=[listener]))
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="emulator", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield RunningServer(_url(listener))
    finally:
        server.stop()
        thread.join()


def serve(
    apps: Sequence[tuple[ASGIApp, int]],
    *,
    on_ready: Callable[[Sequence[str]], None],
    host: str = LOOPBACK,
) -> None:
    """Serve several apps, each on its port, until SIGINT or SIGTERM.

    Args:
        apps: Each app with its port; 0 is any free port.
        on_ready: Called with the URLs, in the order of *apps*, when all of them listen.
        host: The address to listen on.

    Raises:
        PortInUseError: Another program listens on one of the ports; nothing was started.
    """
    with contextlib.ExitStack() as sockets:
        listeners = [sockets.enter_context(_bind(host, port)) for _, port in apps]
        urls = tuple(_url(listener) for listener in listeners)
        asyncio.run(_serve_all([app for app, _ in apps], listeners, lambda: on_ready(urls)))


async def _serve_all(apps: Sequence[ASGIApp], listeners: Sequence[socket.socket], on_ready: Callable[[], None]) -> None:
    listening = [asyncio.Event() for _ in apps]
    servers = [_Server(app, on_listening=event.set) for app, event in zip(apps, listening, strict=True)]
    tasks = [
        asyncio.create_task(server.serve(sockets=[listener]))
        for server, listener in zip(servers, listeners, strict=True)
    ]
    with _signals() as stopped:
        await asyncio.gather(*(event.wait() for event in listening))
        try:
            on_ready()
            await stopped.wait()
        finally:
            for server in servers:
                server.stop()
            await asyncio.gather(*tasks)


@contextlib.contextmanager
def _signals() -> Generator[asyncio.Event, None, None]:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(*_: object) -> None:
        loop.call_soon_threadsafe(stopped.set)

    # loop.add_signal_handler would need no thread-safe call, but does not exist on Windows.
    former = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _bind(host: str, port: int) -> socket.socket:
    # With the protocol left at 0, asyncio would not set TCP_NODELAY, and answers would wait 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # On Windows the option would let two programs share the port.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(os.name == "posix"))
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(port) from error
        raise
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """A uvicorn server that says when it listens and stops at once, whatever its requests are doing."""

    def __init__(self, app: ASGIApp, *, on_listening: Callable[[], None]) -> None:
        self._work = _Work(app)
        # No access log, since URLs hold user ids; h11, since drop_connection knows it.
        config = uvicorn.Config(
            self._work,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)
        self._on_listening = on_listening
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop

    def stop(self) -> None:
        """End the server soon, from any thread."""
        self.should_exit = True
        self._loop.call_soon_threadsafe(self._stopping.set)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to whoever runs the server: uvicorn's own way is for one server alone."""
        yield

    async def main_loop(self) -> None:
        """Wait to be stopped; uvicorn would look ten times a second."""
        self._loop = asyncio.get_running_loop()
        self._on_listening()
        # The counter 0 makes each tick refresh the Date header.
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), TICK)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close every connection, whatever it is doing, and end."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await self._work.cancel()
        await super().shutdown(sockets)


@attrs.define
class _Work:
    """Runs each request in a task of its own, so that stopping can end it without a word in uvicorn's log."""

    app: ASGIApp
    _tasks: set[asyncio.Task[None]] = attrs.field(init=False, factory=set[asyncio.Task[None]])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.ensure_future(_as_coroutine(self.app, scope, receive, send))
        self._tasks.add(task)
        await asyncio.wait({task})
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()

    async def cancel(self) -> None:
        """End all requests, after their connections have been seen to close."""
        await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()


async def _as_coroutine(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)
