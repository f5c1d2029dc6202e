"""Downloads of files from a store that is not the vendor's API."""

import io
import logging
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pytest
import trustme
from support.servers import responding, serving, tls_for

from replay_identity.adapters import NoResponse, Request, Response
from replay_identity.transport import httpx_sender
from replay_identity.transport.httpx_sender import download

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def fetch(
    url: str, file: BinaryIO, headers: dict[str, str] | None = None, *, stall: float = 5.0, maximum: int = 2**20
) -> Response:
    """Download *url* into *file*."""
    request = Request("download", "GET", url, headers or {})
    return download(request, file, stall_timeout=stall, timeout=20.0, max_bytes=maximum)


def response(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """Return the bytes of a response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@contextmanager
def endless(piece: bytes, seconds: float) -> Generator[str, None, None]:
    """Run a server whose response is *piece* after *piece*, every few *seconds*, without an end."""
    stop = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(CHUNKED)
            while not stop.wait(seconds):
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        stop.set()


def test_writes_the_body_as_it_was_sent() -> None:
    """The reader of the file unpacks it."""
    file = io.BytesIO()
    with serving(lambda _: response(b"\x1f\x8bpacked", "200 OK", "Content-Encoding: gzip")) as served:
        result = fetch(f"{served.url}/x?signature=1", file)

    assert (result.status, result.headers["content-encoding"], result.body) == (200, "gzip", b"")
    assert file.getvalue() == b"\x1f\x8bpacked"


def test_sends_nothing_that_shows_the_account() -> None:
    """A store is another host than the API."""
    with serving() as served:
        fetch(served.url, io.BytesIO())

    names = {line.partition(b":")[0].lower() for line in served.requests[0].splitlines()[1:] if line}
    assert names == {b"host", b"accept", b"accept-encoding", b"connection", b"user-agent"}
    assert b"accept-encoding: gzip\r\n" in served.requests[0].lower()


def test_replaces_what_is_in_the_file() -> None:
    """A server without ranges sends everything again."""
    file = io.BytesIO(b"much longer than the new one")
    with serving(lambda _: response(b"new")) as served:
        fetch(served.url, file, {"range": "bytes=28-"})

    assert file.getvalue() == b"new"


def test_continues_the_file() -> None:
    """A part is written behind the part that is there."""
    file = io.BytesIO(b"abc")
    with serving(lambda _: response(b"def", "206 Partial Content", "Content-Range: bytes 3-5/6")) as served:
        result = fetch(served.url, file, {"range": "bytes=3-"})

    assert (result.status, file.getvalue()) == (206, b"abcdef")
    assert b"range: bytes=3-\r\n" in served.requests[0].lower()


@pytest.mark.parametrize("header", ["X-Nothing: 1", "Content-Range: bytes 0-2/6", "Content-Range: bytes 33-35/99"])
def test_refuses_another_part(header: str) -> None:
    """The file would have a hole, or the same lines twice."""
    file = io.BytesIO(b"abc")
    with serving(lambda _: response(b"def", "206 Partial Content", header)) as served:
        result = fetch(served.url, file)

    assert (result.no_response, file.getvalue()) == (NoResponse.CONNECTION_LOST, b"abc")


@pytest.mark.parametrize("status", ["302 Found", "403 Forbidden", "404 Not Found", "503 Service Unavailable"])
def test_writes_no_other_body(status: str) -> None:
    """An error's page is not a file, and a redirect is not followed."""
    file = io.BytesIO(b"abc")
    with serving(lambda _: response(b"<p>", status, "Location: /elsewhere", "Retry-After: 7")) as served:
        result = fetch(served.url, file)

    assert (result.status, result.retry_after, file.getvalue()) == (int(status[:3]), 7.0, b"abc")
    assert len(served.requests) == 1


def test_keeps_what_arrived_before_the_connection_broke() -> None:
    """The rest can be asked for."""
    file = io.BytesIO()
    with responding(response(b"abcdef", "200 OK", 'ETag: "1"')[:-3]) as url:
        result = fetch(url, file)

    assert (result.no_response, file.getvalue()) == (NoResponse.CONNECTION_LOST, b"abc")
    assert result.headers["etag"] == '"1"'


def test_stops_at_the_maximum_size() -> None:
    """A file without an end does not fill the disk."""
    file = io.BytesIO()
    with endless(b"x" * 1000, 0.0) as url:
        result = fetch(url, file, maximum=4500)

    assert result.no_response is NoResponse.TOO_LARGE
    assert len(file.getvalue()) <= 4500


def test_stops_when_nothing_more_arrives() -> None:
    """A store that stalls is asked again."""
    with endless(b"x", 30.0) as url:
        result = fetch(url, io.BytesIO(), stall=0.1)

    assert result.no_response is NoResponse.TIMED_OUT


def test_stops_when_time_is_up() -> None:
    """A drip never stalls, but takes too long."""
    with endless(b"x", 0.01) as url:
        request = Request("download", "GET", url)
        result = download(request, io.BytesIO(), stall_timeout=20.0, timeout=0.2, max_bytes=2**20)

    assert result.no_response is NoResponse.TIMED_OUT


def test_trusts_only_known_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link is a secret, and so is the file."""
    with serving(tls=tls_for(trustme.CA())) as served:
        assert fetch(served.url, io.BytesIO()).no_response is NoResponse.UNTRUSTED

    monkeypatch.setattr(httpx_sender, "_tls", unreadable)
    assert fetch("https://localhost", io.BytesIO()).no_response is NoResponse.UNTRUSTED


def unreadable() -> None:
    """Raise as if the file with the certificates was missing."""
    raise FileNotFoundError


@pytest.mark.parametrize("url", ["https://a.invalid:99999/", "https://[/", "https://\x00/"])
def test_an_invalid_link_is_not_followed(url: str) -> None:
    """Whatever is in it is not shown in an exception."""
    assert fetch(url, io.BytesIO()).no_response is NoResponse.NOT_SENT


def test_a_server_that_is_away_is_not_reached() -> None:
    """Nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert fetch(f"http://127.0.0.1:{port}", io.BytesIO()).no_response is NoResponse.NOT_SENT


def test_raises_if_the_file_cannot_be_written(tmp_path: Path) -> None:
    """A full disk is not the store's fault."""
    path = tmp_path / "read-only"
    path.touch()
    with serving() as served, path.open("rb") as file, pytest.raises(OSError, match="truncate"):
        fetch(served.url, file)


def test_logs_no_link(caplog: pytest.LogCaptureFixture) -> None:
    """Anybody can download from it."""
    with serving() as served, caplog.at_level(logging.DEBUG):
        fetch(f"{served.url}/canary?signature=canary", io.BytesIO())

    assert "canary" not in caplog.text
