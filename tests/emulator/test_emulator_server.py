"""Running emulators on sockets."""

import asyncio
import http.client
import logging
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from replay_identity.emulator import Fault, FullstoryEmulator, LogRocketEmulator, PortInUseError, running, serve
from replay_identity.emulator.faults import wait_until_client_leaves

HEADERS = {"authorization": "Basic na1.emulator"}


def test_server_stops_after_its_block() -> None:
    """The port refuses connections afterwards."""
    with running(FullstoryEmulator()) as server:
        assert httpx.get(f"{server.url}/me", headers=HEADERS).status_code == 200

    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/me")


@pytest.mark.parametrize(
    "fault",
    [Fault(hang=True), Fault(latency=60), Fault(garbage="drip", pause=60), Fault(garbage="huge", size=10**12)],
    ids=["hang", "latency", "drip", "huge"],
)
def test_server_stops_without_waiting(fault: Fault, caplog: pytest.LogCaptureFixture) -> None:
    """Requests in flight and open connections do not delay it, and are not logged."""
    emulator = FullstoryEmulator()
    with running(emulator) as server:
        idle = http.client.HTTPConnection(urlsplit(server.url).netloc)
        idle.request("GET", "/me", headers=HEADERS)
        idle.getresponse().read()
        emulator.faults.add(fault)
        busy = http.client.HTTPConnection(urlsplit(server.url).netloc)
        busy.request("GET", "/me", headers=HEADERS)
        while len(emulator.requests) < 2:
            time.sleep(0.001)
        start = time.monotonic()

    stopped = time.monotonic() - start
    idle.close()
    busy.close()
    assert stopped < 0.9
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_two_servers_run_side_by_side() -> None:
    """Each emulator has its own port."""
    with running(FullstoryEmulator()) as first, running(LogRocketEmulator()) as second:
        assert first.url != second.url
        assert httpx.get(f"{first.url}/me", headers=HEADERS).status_code == 200
        assert httpx.get(f"{second.url}/me", headers=HEADERS).status_code == 401


def test_port_in_use_is_a_clear_error() -> None:
    """The error names the port and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]

        with pytest.raises(PortInUseError, match=f"port {port} is in use; choose another") as caught:
            running(FullstoryEmulator(), port).__enter__()

    assert pickle.loads(pickle.dumps(caught.value)).port == port  # noqa: S301 - we wrote it.


def test_foreign_address_is_another_error() -> None:
    """Other errors of the socket are raised as they are."""
    with pytest.raises(OSError, match="assign") as caught:
        running(FullstoryEmulator(), host="192.0.2.1").__enter__()

    assert not isinstance(caught.value, PortInUseError)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_runs_until_a_signal(number: signal.Signals) -> None:
    """All apps listen when on_ready is called, and the previous handlers are restored."""
    former = signal.getsignal(number)
    statuses: list[int] = []

    def ask(urls: Sequence[str]) -> None:
        statuses.extend(httpx.get(f"{url}/me", headers=HEADERS).status_code for url in urls)
        os.kill(os.getpid(), number)

    def on_ready(urls: Sequence[str]) -> None:
        threading.Thread(target=ask, args=(urls,)).start()

    serve([(FullstoryEmulator(), 0), (LogRocketEmulator(), 0)], on_ready=on_ready)

    assert statuses == [200, 401]
    assert signal.getsignal(number) is former


def test_serve_ends_when_on_ready_fails() -> None:
    """The error is raised, and no server keeps running."""
    urls: list[str] = []

    def on_ready(given: Sequence[str]) -> None:
        urls.extend(given)
        raise LookupError

    with pytest.raises(LookupError):
        serve([(FullstoryEmulator(), 0)], on_ready=on_ready)

    with pytest.raises(httpx.ConnectError):
        httpx.get(urls[0])


def test_serve_starts_nothing_when_a_port_is_in_use() -> None:
    """One port in use is enough."""
    started: list[Sequence[str]] = []
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortInUseError):
        serve([(FullstoryEmulator(), 0), (FullstoryEmulator(), taken.getsockname()[1])], on_ready=started.append)

    assert started == []


def in_process(emulator: FullstoryEmulator) -> Callable[[], httpx.Response]:
    """Return a function that sends a request to the emulator without a server."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(emulator)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=HEADERS) as client:
            return await client.get("/me")

    return lambda: asyncio.run(ask())


def test_emulator_is_an_asgi_app() -> None:
    """It works without a socket."""
    assert in_process(FullstoryEmulator())().status_code == 200


def test_drop_without_a_connection_raises() -> None:
    """Without a connection to close, the caller sees why."""
    emulator = FullstoryEmulator()
    emulator.faults.add(Fault(drop="before"))

    with pytest.raises(ConnectionAbortedError):
        in_process(emulator)()


def test_bug_is_reported_without_its_message() -> None:
    """Uvicorn logs the exception of an app, which must not contain a value."""

    def broken_clock() -> float:
        raise KeyError("secret")

    emulator = FullstoryEmulator(clock=broken_clock)
    request = httpx.Request("POST", "http://localhost/v2/users", json={}, headers={**HEADERS, "idempotency-key": "k"})

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(emulator)) as client:
            await client.send(request)
            await client.send(request)

    with pytest.raises(RuntimeError, match=r"KeyError at .*test_emulator_server.py:\d+$"):
        asyncio.run(ask())


def test_only_http_is_served() -> None:
    """Websockets and lifespan events are rejected."""
    unused: Any = None

    with pytest.raises(NotImplementedError, match="lifespan"):
        asyncio.run(LogRocketEmulator()({"type": "lifespan"}, unused, unused))


def test_wait_ends_only_with_a_disconnect() -> None:
    """Other messages of the server are ignored."""
    messages = [{"type": "http.request"}, {"type": "http.disconnect"}]

    async def receive() -> dict[str, str]:
        return messages.pop(0)

    asyncio.run(wait_until_client_leaves(receive))

    assert messages == []
