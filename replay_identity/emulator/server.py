"""Serve ASGI apps on real sockets, from a thread or in the foreground."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Final

import attrs
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK: Final = "127.0.0.1"
TICK_SECONDS: Final = 1.0


class PortInUseError(OSError):
    """Another program listens on the port."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.port = port

    def __str__(self) -> str:
        """Return the port and what to do."""
        return f"port {self.port} is in use; choose another port, or 0 for any free one"


@attrs.frozen
class RunningServer:
    """A server that accepts connections.

    Attributes:
        url: Its URL, without a trailing slash.
    """

    url: str


@contextlib.contextmanager
def running(app: ASGIApp, port: int = 0, *, host: str = LOOPBACK) -> Generator[RunningServer, None, None]:
    """Serve *app* from a background thread for the duration of a `with` block.

    Args:
        app: The app.
        port: The port to listen on; 0 is any free port.
        host: The address to listen on.

    Raises:
        PortInUseError: Another program listens on *port*.
    """
    listener = _bind(host, port)
    ready = threading.Event()
    server = _EmulatorServer(app, on_listening=ready.set)

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
    """Serve several apps in the foreground until SIGINT or SIGTERM.

    Args:
        apps: Each app with its port; 0 is any free port.
        on_ready: Called with the URLs, in the order of *apps*, as soon as all apps accept connections.
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
    servers = [_EmulatorServer(app, on_listening=event.set) for app, event in zip(apps, listening, strict=True)]
    tasks = [
        asyncio.create_task(server.serve(sockets=[listener]))
        for server, listener in zip(servers, listeners, strict=True)
    ]
    with _stop_on_signals() as stopped:
        await asyncio.gather(*(event.wait() for event in listening))
        try:
            on_ready()
            await stopped.wait()
        finally:
            for server in servers:
                server.stop()
            await asyncio.gather(*tasks)


@contextlib.contextmanager
def _stop_on_signals() -> Generator[asyncio.Event, None, None]:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(*_: object) -> None:
        loop.call_soon_threadsafe(stopped.set)

    # loop.add_signal_handler would be simpler, but does not exist on Windows.
    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _bind(host: str, port: int) -> socket.socket:
    # With protocol 0, asyncio would not set TCP_NODELAY, and responses would wait 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # On Windows this option would let two programs share the port.
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


class _EmulatorServer(uvicorn.Server):
    """A uvicorn server that reports when it is ready and stops without waiting for its requests."""

    def __init__(self, app: ASGIApp, *, on_listening: Callable[[], None]) -> None:
        self._requests = _RequestTasks(app)
        # No access log, since URLs contain user ids; h11, since drop_connection depends on it.
        config = uvicorn.Config(
            self._requests,
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
        """Ask the server to stop; callable from any thread."""
        self.should_exit = True
        self._loop.call_soon_threadsafe(self._stopping.set)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Install no signal handlers: uvicorn's own support only one server."""
        yield

    async def main_loop(self) -> None:
        """Wait for `stop`; uvicorn's own loop polls ten times a second."""
        self._loop = asyncio.get_running_loop()
        self._on_listening()
        # A counter of 0 makes every tick refresh the Date header.
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), TICK_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close all connections, cancel their requests and shut down."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await self._requests.cancel()
        await super().shutdown(sockets)


@attrs.define
class _RequestTasks:
    """Run each request in its own task, so that stopping can cancel it without an error in uvicorn's log."""

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
        """Cancel all requests, after their connections were closed."""
        await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()


async def _as_coroutine(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)
