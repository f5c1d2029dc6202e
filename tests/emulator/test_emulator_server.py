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


def test_a_server_is_gone_after_its_block() -> None:
    """Nobody listens any more."""
    with running(FullstoryEmulator()) as server:
        assert httpx.get(f"{server.url}/me", headers=HEADERS).status_code == 200

    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/me")


@pytest.mark.parametrize(
    "fault",
    [Fault(hang=True), Fault(latency=60), Fault(garbage="drip", pause=60), Fault(garbage="huge", size=10**12)],
    ids=["hang", "latency", "drip", "huge"],
)
def test_a_server_stops_at_once_whatever_is_under_way(fault: Fault, caplog: pytest.LogCaptureFixture) -> None:
    """Neither unanswered requests nor open connections hold it up, and none is worth a word in the log."""
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
    """Each emulator has a port of its own."""
    with running(FullstoryEmulator()) as one, running(LogRocketEmulator()) as two:
        assert one.url != two.url
        assert httpx.get(f"{one.url}/me", headers=HEADERS).status_code == 200
        assert httpx.get(f"{two.url}/me", headers=HEADERS).status_code == 401


def test_a_port_in_use_is_a_clear_error() -> None:
    """The error names the port and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]

        with pytest.raises(PortInUseError, match=f"port {port} is in use; choose another") as caught:
            running(FullstoryEmulator(), port).__enter__()

    assert pickle.loads(pickle.dumps(caught.value)).port == port  # noqa: S301 - we wrote it.


def test_an_address_of_somebody_else_is_another_error() -> None:
    """Not everything that fails to listen is a port in use."""
    with pytest.raises(OSError, match="assign") as caught:
        running(FullstoryEmulator(), host="192.0.2.1").__enter__()

    assert not isinstance(caught.value, PortInUseError)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_runs_until_a_signal(number: signal.Signals) -> None:
    """All apps listen when on_ready is called, and the former handlers are back afterwards."""
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
    """The error comes out, and nothing is left running."""
    urls: list[str] = []

    def on_ready(given: Sequence[str]) -> None:
        urls.extend(given)
        raise LookupError

    with pytest.raises(LookupError):
        serve([(FullstoryEmulator(), 0)], on_ready=on_ready)

    with pytest.raises(httpx.ConnectError):
        httpx.get(urls[0])


def test_serve_starts_nothing_when_a_port_is_in_use() -> None:
    """One port in use is enough to give up."""
    started: list[Sequence[str]] = []
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortInUseError):
        serve([(FullstoryEmulator(), 0), (FullstoryEmulator(), taken.getsockname()[1])], on_ready=started.append)

    assert started == []


def in_process(emulator: FullstoryEmulator) -> Callable[[], httpx.Response]:
    """Return a function that asks the emulator without a server."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(emulator)
        async with httpx.AsyncClient(transport=transport, base_url="http://emulator", headers=HEADERS) as client:
            return await client.get("/me")

    return lambda: asyncio.run(ask())


def test_an_emulator_is_an_asgi_app_for_any_server() -> None:
    """It can be asked without a socket."""
    assert in_process(FullstoryEmulator())().status_code == 200


def test_a_drop_without_a_connection_is_an_exception() -> None:
    """Where there is nothing to close, the caller sees why."""
    emulator = FullstoryEmulator()
    emulator.faults.add(Fault(drop="before"))

    with pytest.raises(ConnectionAbortedError):
        in_process(emulator)()


def test_a_bug_is_named_by_its_place_and_not_by_its_value() -> None:
    """Uvicorn logs what an app raises, and that may not hold a value."""

    def broken_clock() -> float:
        raise KeyError("secret")

    emulator = FullstoryEmulator(clock=broken_clock)
    request = httpx.Request("POST", "http://emulator/v2/users", json={}, headers={**HEADERS, "idempotency-key": "k"})

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(emulator)) as client:
            await client.send(request)
            await client.send(request)

    with pytest.raises(RuntimeError, match=r"KeyError at .*test_emulator_server.py:\d+$"):
        asyncio.run(ask())


def test_only_http_is_served() -> None:
    """A websocket or a lifespan is refused."""
    unused: Any = None

    with pytest.raises(NotImplementedError, match="lifespan"):
        asyncio.run(LogRocketEmulator()({"type": "lifespan"}, unused, unused))


def test_a_client_has_left_only_when_the_server_says_so() -> None:
    """Whatever else the server has to say before is passed over."""
    messages = [{"type": "http.request"}, {"type": "http.disconnect"}]

    async def receive() -> dict[str, str]:
        return messages.pop(0)

    asyncio.run(wait_until_client_leaves(receive))

    assert messages == []
