"""Servers that never end, each over every client: the timeout is for the whole attempt."""

import asyncio
import gzip
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from support.scripted import ask
from support.servers import OK, serving, tls_for

from replay_identity import LogRocket, RetryPolicy, Router, UserTraits
from replay_identity.adapters import NoResponse, Request, Response
from replay_identity.transport import AsyncTransport, ConcurrentSender, Transport, httpx_sender
from replay_identity.transport.curl_sender import CurlSender
from replay_identity.transport.thread_sender import ThreadSender
from replay_identity.transport.unpacking import STEP_BYTES

ONCE = RetryPolicy(attempts=1)
Run = Callable[[Request, float], Response]
# Long enough for a connection on a slow machine, and the limit for a hang.
TIMEOUT, HANG = 1.0, 30.0
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n"


def run_blocking(request: Request, timeout: float) -> Response:
    """Send *request* once, blocking."""
    with Transport(retry=ONCE, timeout=timeout) as transport:
        return transport.run(ask(request))


def run_async(request: Request, timeout: float) -> Response:
    """Send *request* once, on asyncio."""

    async def main() -> Response:
        async with AsyncTransport(retry=ONCE, timeout=timeout) as transport:
            return await transport.run(ask(request))

    return asyncio.run(main())


def run_concurrent(sender: ConcurrentSender, request: Request, timeout: float) -> Response:
    """Send *request* over a concurrent sender."""
    with closing(sender):
        sender.submit(7, request, timeout)
        ((_, response),) = sender.completed(HANG)
    return response


WAYS: dict[str, Run] = {
    "blocking": run_blocking,
    "asyncio": run_async,
    "curl": lambda request, timeout: run_concurrent(CurlSender(1), request, timeout),
    "threads": lambda request, timeout: run_concurrent(ThreadSender(1), request, timeout),
}


@pytest.fixture(params=WAYS)
def run(request: pytest.FixtureRequest) -> Run:
    """Return each of the functions that send one request."""
    return WAYS[request.param]


def block(data: bytes) -> bytes:
    """Return *data* as a chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def dripping(start: bytes, part: bytes = b"a") -> Iterator[bytes]:
    """Yield *start*, and then *part* again and again."""
    yield start
    while True:
        time.sleep(0.02)
        yield part


def flooding(start: bytes, part: bytes) -> Iterator[bytes]:
    """Yield *start*, and then many of *part* at once, again and again."""
    yield start
    while True:
        yield part * 1000


def silent(start: bytes) -> Iterator[bytes]:
    """Yield *start*, and then nothing more, without closing."""
    yield start
    while True:
        time.sleep(0.02)
        yield b""


def empty_blocks() -> Iterator[bytes]:
    """Yield blocks of deflate without content."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    yield CHUNKED + b"Content-Encoding: deflate\r\n\r\n"
    while True:
        time.sleep(0.002)
        yield block(packer.flush(zlib.Z_FULL_FLUSH) or b"\0\0\0\xff\xff")


def endless_gzip() -> Iterator[bytes]:
    """Yield members of gzip without content."""
    yield CHUNKED + b"Content-Encoding: gzip\r\n\r\n"
    while True:
        time.sleep(0.002)
        yield block(gzip.compress(b"") * 9)


LATE = {
    "nothing": lambda: silent(b""),
    "status drip": lambda: dripping(b"", b"H"),
    "header drip": lambda: dripping(HEAD),
    "header line drip": lambda: dripping(HEAD, b"a: b\r\n"),
    "interim drip": lambda: dripping(b"", b"HTTP/1.1 103 Early\r\n\r\n"),
    "interim flood": lambda: flooding(b"", b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n"),
    "header flood": lambda: flooding(HEAD, b"a: b\r\n"),
    "body drip": lambda: dripping(HEAD + b"Content-Length: 999999\r\n\r\n"),
    "body without an end": lambda: silent(HEAD + b"\r\n{}"),
    "chunk drip": lambda: dripping(CHUNKED + b"\r\n", block(b"a")),
    "chunk size drip": lambda: dripping(CHUNKED + b"\r\n", b"0"),
    "trailer drip": lambda: dripping(CHUNKED + b"\r\n0\r\n", b"a: b\r\n"),
    "no last chunk": lambda: silent(CHUNKED + b"\r\n" + block(b"{}")),
    "empty blocks": empty_blocks,
    "empty members": endless_gzip,
}
NOT_IN_TIME = {NoResponse.TIMED_OUT, NoResponse.CONNECTION_LOST, NoResponse.UNREADABLE}


@contextmanager
def hostile(parts: Callable[[], Iterator[bytes]], *, read: int = 65_536) -> Generator[str, None, None]:
    """Run a server that sends *parts* on each connection until the client leaves, and return its URL."""
    stop = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(HANG)
            connection.recv(read)
            for part in parts():
                if stop.is_set():
                    return
                connection.sendall(part)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("fault", LATE)
def test_no_response_takes_longer_than_the_timeout(run: Run, fault: str) -> None:
    """Whatever arrives slowly, or without end, the attempt ends."""
    started = time.monotonic()

    with hostile(LATE[fault]) as url:
        response = run(Request("identify", "PUT", url, {}, b"{}"), TIMEOUT)

    assert response.no_response in NOT_IN_TIME
    assert response.may_have_applied
    assert time.monotonic() - started < HANG


@pytest.mark.parametrize("encoding", ["gzip, gzip", "gzip\r\nContent-Encoding: gzip", "br"])
def test_refuses_encodings_it_did_not_ask_for(run: Run, encoding: str) -> None:
    """They may unpack to gigabytes."""
    packed = gzip.compress(gzip.compress(bytes(10_000)))
    head = f"Content-Encoding: {encoding}\r\nContent-Length: {len(packed)}\r\n\r\n".encode()

    with serving(lambda _: HEAD + head + packed) as served:
        response = run(Request("identify", "PUT", served.url), 5.0)

    assert response.no_response is NoResponse.UNREADABLE


def test_a_server_that_reads_nothing_times_out(run: Run) -> None:
    """A large request that fits into no buffer is stuck; a part of it has arrived."""
    started = time.monotonic()

    with hostile(lambda: silent(b""), read=1) as url:
        response = run(Request("batch", "POST", url, {}, bytes(32 * 2**20)), TIMEOUT)

    assert response.no_response is NoResponse.TIMED_OUT
    assert time.monotonic() - started < HANG


def test_a_server_that_leaves_loses_the_connection(run: Run) -> None:
    """It may have read enough of a large request."""

    def leave() -> Iterator[bytes]:
        yield from ()

    with hostile(leave, read=1) as url:
        response = run(Request("batch", "POST", url, {}, bytes(32 * 2**20)), HANG)

    assert response.no_response is NoResponse.CONNECTION_LOST


def test_unpacking_holds_up_no_other_task() -> None:
    """The event loop runs between the steps."""
    packed = gzip.compress(bytes(16 * 2**20))
    response = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main(url: str) -> Response:
        counting = asyncio.create_task(count())
        async with AsyncTransport(retry=ONCE) as transport:
            received = await transport.run(ask(Request("ask", "GET", url)))
        counting.cancel()
        return received

    with serving(lambda _: response) as served:
        assert len(asyncio.run(main(served.url)).body) == 16 * 2**20

    assert turns > 16 * 2**20 // STEP_BYTES


@pytest.mark.parametrize("way", ["blocking", "curl", "threads"])
def test_a_handshake_that_trickles_is_not_sent(way: str) -> None:
    """Each byte of the TLS record is in time."""
    with hostile(lambda: dripping(b"\x16\x03\x03\x40\x00", b"\0")) as url:
        response = WAYS[way](Request("identify", "PUT", url.replace("http:", "https:")), TIMEOUT)

    assert response.no_response is NoResponse.NOT_SENT


@pytest.mark.parametrize("way", ["blocking", "curl", "threads"])
@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x03\x40\x00"])
def test_a_proxy_that_trickles_is_not_sent(way: str, start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the request for a tunnel nor the handshake through it holds anything of ours."""
    with hostile(lambda: dripping(start)) as proxy:
        monkeypatch.setenv("https_proxy", proxy)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        response = WAYS[way](Request("identify", "PUT", "https://vendor.invalid/"), TIMEOUT)

    assert response.no_response is NoResponse.NOT_SENT


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """Return an authority that this test trusts."""
    trusted = trustme.CA()
    trusted.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setattr(httpx_sender, "_tls", httpx.create_ssl_context)
    return trusted


def test_sends_and_reads_megabytes_over_tls(run: Run, authority: trustme.CA) -> None:
    """Nothing is lost between the pieces, and connections are kept."""
    content = bytes(range(256)) * 20_000

    def respond(request: bytes) -> bytes:
        body = request.partition(b"\r\n\r\n")[2]
        return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body

    with serving(respond, tls=tls_for(authority)) as served:
        response = run(Request("batch", "POST", served.url, {}, content), HANG)

    assert response.body == content


def test_keeps_a_connection_over_tls(authority: trustme.CA) -> None:
    """The handshake takes longer than a request."""
    with serving(tls=tls_for(authority)) as served, Transport(retry=ONCE) as transport:
        responses = [transport.run(ask(Request("identify", "PUT", served.url))) for _ in range(3)]

    assert [response.status for response in responses] == [200] * 3
    assert served.connections == 1


def test_reads_to_the_end_of_a_tls_connection(authority: trustme.CA) -> None:
    """Without a length, the body ends with the connection, also without a TLS alert."""
    context = tls_for(authority)

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with context.wrap_socket(connection, server_side=True) as stream:
                stream.recv(65_536)
                stream.sendall(HEAD + b"\r\n{}")

        threading.Thread(target=serve, daemon=True).start()
        response = run_blocking(Request("ask", "GET", f"https://localhost:{listener.getsockname()[1]}"), HANG)

    assert (response.status, response.body) == (200, b"{}")


def test_broken_tls_loses_the_connection(authority: trustme.CA) -> None:
    """What is not TLS after the handshake is not a response."""
    context = tls_for(authority)

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            stream = context.wrap_socket(connection, server_side=True)
            stream.recv(65_536)
            plain = socket.socket(fileno=stream.detach())
            plain.sendall(HEAD * 9)
            plain.close()

        threading.Thread(target=serve, daemon=True).start()
        response = run_blocking(Request("ask", "GET", f"https://localhost:{listener.getsockname()[1]}"), HANG)

    assert response.no_response is NoResponse.CONNECTION_LOST


def addresses_of(*ports: int) -> Callable[..., list[tuple[int, int, int, str, tuple[str, int]]]]:
    """Return a resolver that gives an address for each of the *ports*."""
    return lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for port in ports]


def test_tries_all_addresses_of_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that refuses does not hide the next."""
    with serving() as served, socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
        listener.close()
        port = int(served.url.rpartition(":")[2])
        monkeypatch.setattr("replay_identity.transport.network.socket.getaddrinfo", addresses_of(closed, port))

        assert run_blocking(Request("ask", "GET", "http://127.0.0.1:1/"), HANG).status == 200


def test_many_addresses_share_the_time_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with a hundred addresses of which none answers is not waited for a hundred times."""
    waits: list[float] = []

    class Deaf(socket.socket):
        """A socket whose connections time out at once."""

        def connect(self, _address: object) -> None:
            """Note the timeout."""
            waits.append(self.gettimeout() or 0.0)
            raise TimeoutError

    monkeypatch.setattr("replay_identity.transport.network.socket.getaddrinfo", addresses_of(*range(1, 101)))
    monkeypatch.setattr("replay_identity.transport.network.socket.socket", Deaf)

    response = run_blocking(Request("ask", "GET", "http://127.0.0.1:1/"), 10.0)

    assert response.no_response is NoResponse.NOT_SENT
    assert len(waits) == 100
    assert waits[0] < 0.1


def test_no_time_is_left_for_the_next_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose name took too long to look up is not connected to."""
    resolve = addresses_of(1)

    def slow(*arguments: object, **options: object) -> object:
        time.sleep(0.2)
        return resolve(*arguments, **options)

    monkeypatch.setattr("replay_identity.transport.network.socket.getaddrinfo", slow)

    assert run_blocking(Request("ask", "GET", "http://127.0.0.1:1/"), 0.1).no_response is NoResponse.NOT_SENT


def test_a_connection_that_opens_while_closing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would close it later."""
    sender = httpx_sender.HttpxSender()
    resolve: Any = socket.getaddrinfo

    def closing_meanwhile(*arguments: object, **options: object) -> object:
        sender.close()
        return resolve(*arguments, **options)

    monkeypatch.setattr("replay_identity.transport.network.socket.getaddrinfo", closing_meanwhile)
    with serving() as served:
        response = sender.send(Request("ask", "GET", served.url), HANG)

    assert response.no_response is NoResponse.NOT_SENT
    assert served.requests == []


def test_an_unfinished_body_closes_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of it would be read as the next response."""
    monkeypatch.setattr("replay_identity.transport.unpacking.MAX_RESPONSE_BYTES", 9)
    responses = iter([HEAD + b"Content-Length: 100000\r\n\r\n" + bytes(100_000), OK])

    with serving(lambda _: next(responses)) as served, Transport(retry=ONCE) as transport:
        first = transport.run(ask(Request("identify", "PUT", served.url)))
        second = transport.run(ask(Request("identify", "PUT", served.url)))

    assert (first.no_response, second.status) == (NoResponse.TOO_LARGE, 200)
    assert served.connections == 2


@pytest.mark.parametrize("proxy", ["ftp://one.proxy", "gopher://one.proxy"])
def test_an_unknown_kind_of_proxy_is_a_mistake(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going around it could leak what the company does not allow out."""
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    with pytest.raises(ValueError, match="proxy with one of the schemes"):
        run_blocking(Request("ask", "GET", "http://vendor.invalid/"), 5.0)


def test_a_router_leaves_no_thread() -> None:
    """A vendor that trickles ends with its deadline, and closing ends it sooner."""
    before = set(threading.enumerate())

    with hostile(LATE["header drip"]) as url:
        with Router([LogRocket("a:b:c", base_url=url)], retry=ONCE, timeout=TIMEOUT) as router:
            router.identify(UserTraits("u1"))
        ours = [thread for thread in threading.enumerate() if thread.name == "replay-identity" and thread not in before]
        for thread in ours:
            thread.join(HANG)

    assert not any(thread.is_alive() for thread in ours)


def test_closing_wakes_a_thread_that_reads() -> None:
    """It does not wait for the deadline of its request."""
    sender = httpx_sender.HttpxSender()
    arrived, responses = threading.Event(), list[Response]()

    def parts() -> Iterator[bytes]:
        arrived.set()
        return silent(b"")

    with hostile(parts) as url:
        request = Request("identify", "PUT", url)
        thread = threading.Thread(target=lambda: responses.append(sender.send(request, 300.0)), daemon=True)
        thread.start()
        assert arrived.wait(HANG)
        sender.close()
        thread.join(HANG)

    assert [response.no_response for response in responses] == [NoResponse.CONNECTION_LOST]


def test_the_alert_of_a_refused_certificate_arrives() -> None:
    """The server's log then says why."""
    errors: list[ssl.SSLError] = []
    context = tls_for(trustme.CA())

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    context.wrap_socket(connection, server_side=True).recv(1)
                except ssl.SSLError as error:
                    errors.append(error)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        response = run_blocking(Request("ask", "GET", f"https://localhost:{listener.getsockname()[1]}"), HANG)
        thread.join(HANG)

    assert response.no_response is NoResponse.UNTRUSTED
    assert len(errors) == 1


def test_response_to_an_earlier_request_is_refused() -> None:
    """A server that answers one request twice must not confirm the next one."""
    twice = OK + OK.replace(b"200 OK", b"201 Created")
    with serving(lambda _: twice) as server, Transport(retry=ONCE, timeout=HANG) as transport:
        request = Request("identify", "GET", f"{server.url}/")
        responses = [transport.run(ask(request)) for _ in range(3)]

    assert [response.status or response.no_response for response in responses] == [200, NoResponse.CONNECTION_LOST, 200]
