"""Which hosts and web pages the emulators answer."""

import asyncio
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.types import Message

from replay_identity.emulator import Emulator, FullstoryEmulator, LogRocketEmulator, running

Headers = list[tuple[bytes, bytes]]

LOCAL = b"127.0.0.1:8801"
OWN = [
    "localhost",
    "LocalHost:8801",
    "localhost:",
    "127.0.0.1",
    "127.0.0.1:65535",
    "127.255.3.4:80",
    "[::1]",
    "[::1]:8801",
]
FOREIGN = [
    "evil.example",
    "evil.example:8801",
    "",
    ":8801",
    "localhost.",
    "127.0.0.1.",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.localhost",
    "127.0.0.1@evil.example",
    "evil.example@127.0.0.1",
    "user:secret@127.0.0.1:80",
    "127.0.0.1:80:80",
    "127.0.0.1:port",
    "127.0.0.1:123456",
    "127.0.0.1, evil.example",
    "127.0.0.1 evil.example",
    "127.0.0.1/evil",
    "http://127.0.0.1",
    "127.0.0.256",
    "127.1",
    "128.0.0.1",
    "0.0.0.0",  # noqa: S104 - nothing is bound to it.
    "10.0.0.1",
    "2130706433",
    "0x7f.0.0.1",
    "[::]",
    "[::2]",
    "[::ffff:127.0.0.1]",
    "::1",
    "[fe80::1]:80",
    "\uff11\uff12\uff17.0.0.1",
    "loc\u0430lhost",
]


def status_of(
    emulator: Emulator, headers: Headers, path: bytes = b"/_emulator/users", method: str = "GET"
) -> tuple[int, bytes]:
    """Return the status and the body of the response, without an HTTP library in between."""
    sent: list[Message] = []
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path.decode(),
        "raw_path": path,
        "query_string": b"",
        "headers": headers,
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(emulator(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.parametrize("host", OWN)
def test_loopback_names_are_answered(host: str) -> None:
    """Any address in 127.0.0.0/8, on any port."""
    assert status_of(FullstoryEmulator(), [(b"host", host.encode())])[0] == 200


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("path", [b"/me", b"/_emulator/users", b"/fullstory-exports/x"])
def test_other_hosts_are_refused(host: str, path: bytes) -> None:
    """A name that a page rebinds to this machine is not one of ours."""
    emulator = FullstoryEmulator()

    status, body = status_of(emulator, [(b"host", host.encode())], path)

    assert status == 421
    assert b"evil" not in body
    assert emulator.requests == ()


@pytest.mark.parametrize("headers", [[], [(b"host", LOCAL)] * 2, [(b"host", LOCAL), (b"host", b"evil.example")]])
def test_exactly_one_host_is_needed(headers: Headers) -> None:
    """With none or several, nobody knows which one a proxy looked at."""
    assert status_of(LogRocketEmulator(), headers)[0] == 421


@pytest.mark.parametrize(
    "path", [b"http://evil.example/_emulator/users", b"http://127.0.0.1/_emulator/users", b"*", b""]
)
def test_target_must_be_a_path(path: bytes) -> None:
    """The target of a proxy's request has a host of its own."""
    assert status_of(LogRocketEmulator(), [(b"host", LOCAL)], path)[0] == 421


@pytest.mark.parametrize("host", OWN)
@pytest.mark.parametrize("scheme", ["http", "https", "HTTP"])
def test_local_pages_are_answered(host: str, scheme: str) -> None:
    """An app on this machine may call the emulator from its page."""
    origin = f"{scheme}://{host}".encode()

    assert status_of(FullstoryEmulator(), [(b"host", LOCAL), (b"origin", origin)])[0] == 200


@pytest.mark.parametrize(
    "origin",
    ["null", "", "*", "127.0.0.1", "file://", "file://127.0.0.1", "http://", "http://127.0.0.1/", "https://a b"]
    + [f"http://{host}" for host in FOREIGN],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_foreign_pages_are_refused(origin: str, method: str) -> None:
    """On the vendor's paths and on the control pages."""
    emulator = FullstoryEmulator()
    headers = [(b"host", LOCAL), (b"origin", origin.encode())]

    assert status_of(emulator, headers, b"/_emulator/reset", method)[0] == 403
    assert status_of(emulator, headers, b"/v2/users", method)[0] == 403
    assert emulator.requests == ()


def test_each_origin_counts() -> None:
    """A local one beside a foreign one does not help."""
    headers = [(b"host", LOCAL), (b"origin", b"http://localhost"), (b"origin", b"http://evil.example")]

    assert status_of(FullstoryEmulator(), headers)[0] == 403


@pytest.mark.parametrize(
    ("site", "status"),
    [("cross-site", 403), (" Cross-Site", 403), ("same-site", 200), ("same-origin", 200), ("none", 200)],
)
def test_cross_site_requests_are_refused(site: str, status: int) -> None:
    """A link or an image on a foreign page has no Origin, but browsers say where it is from."""
    assert status_of(FullstoryEmulator(), [(b"host", LOCAL), (b"sec-fetch-site", site.encode())])[0] == status


def test_other_hosts_can_be_allowed() -> None:
    """By name, on any port, for Host and Origin."""
    emulator = FullstoryEmulator(allowed_hosts=["Emulator", "fs.test"])

    for host in (b"emulator:8801", b"FS.test", LOCAL):
        assert status_of(emulator, [(b"host", host), (b"origin", b"http://" + host)])[0] == 200
    assert status_of(emulator, [(b"host", b"emulator.evil.example")])[0] == 421


def test_allowed_hosts_are_a_set() -> None:
    """A string would be a set of letters."""
    wrong: Any = "emulator"

    with pytest.raises(TypeError, match="got a string"):
        FullstoryEmulator(allowed_hosts=wrong)


def test_refused_request_has_no_effect(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Not even the fault or the place in the rate limit that it would have used up."""
    fs.post("/_emulator/faults", json={"status": 503})

    refused = fs.post("/v2/users", json={"uid": "u1"}, headers={"origin": "https://evil.example"})

    assert (refused.status_code, fullstory.users) == (403, {})
    assert fs.get("/me").status_code == 503


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /_emulator/users HTTP/1.1\r\nHost: evil.example\r\n", b"421"),
        (b"GET /_emulator/users HTTP/1.0\r\n", b"421"),
        (b"GET /_emulator/users HTTP/1.1\r\n", b"400"),
        (b"GET /_emulator/users HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n", b"400"),
        (b"GET http://127.0.0.1/_emulator/users HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"421"),
        (b"GET /_emulator/users HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-Host: evil.example\r\n", b"200"),
    ],
)
def test_server_refuses_on_the_wire(head: bytes, status: bytes) -> None:
    """The HTTP library passes nothing on under another host."""
    with running(LogRocketEmulator()) as server:
        address = urlsplit(server.url)
        with socket.create_connection((str(address.hostname), address.port or 0)) as connection:
            connection.sendall(head + b"Connection: close\r\n\r\n")
            line = connection.makefile("rb").readline()

    assert line.split()[1] == status
