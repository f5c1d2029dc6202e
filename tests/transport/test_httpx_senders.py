"""httpx behind the seam, against real sockets."""

import asyncio
import gc
import logging
import multiprocessing
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import httpx
import pytest
import respx
import trustme
from scripted import ask

from replay_identity import RetryPolicy
from replay_identity.emulator import Fault, LogRocketEmulator, running
from replay_identity.exchange import Lost, Reply, Request
from replay_identity.transport import AsyncTransport, Transport, httpx_senders
from replay_identity.transport.own_traffic import own_traffic

ONCE = RetryPolicy(attempts=1)
KEY = "acme:shop:emulator"
Run = Callable[[Request, float], Reply]


def run_blocking(request: Request, timeout: float) -> Reply:
    """Send *request* once, blocking."""
    with Transport(retry=ONCE, timeout=timeout) as transport:
        return transport.run(ask(request))


def run_awaiting(request: Request, timeout: float) -> Reply:
    """Send *request* once, on asyncio."""

    async def main() -> Reply:
        async with AsyncTransport(retry=ONCE, timeout=timeout) as transport:
            return await transport.run(ask(request))

    return asyncio.run(main())


@pytest.fixture(params=[run_blocking, run_awaiting], ids=["blocking", "asyncio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Return each of the two ways to send one request."""
    way: Run = request.param
    return way


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[LogRocketEmulator, str]]:
    """Run a fake LogRocket for the tests of this module."""
    emulator = LogRocketEmulator()
    with running(emulator) as running_server:
        yield emulator, running_server.url


@pytest.fixture
def vendor(server: tuple[LogRocketEmulator, str]) -> LogRocketEmulator:
    """Return the fake LogRocket as new."""
    emulator, _ = server
    emulator.reset()
    emulator.faults.clear()
    return emulator


@pytest.fixture
def put(server: tuple[LogRocketEmulator, str]) -> Request:
    """Return a request that the fake LogRocket applies."""
    url = f"{server[1]}/v1/orgs/acme/apps/shop/users/u1"
    return Request("identify", "PUT", url, {"authorization": f"token {KEY}"}, b'{"name":"Ann"}')


@contextmanager
def answering(answer: bytes, seen: list[bytes] | None = None) -> Generator[str, None, None]:
    """Run a server that answers every connection with *answer*, whatever it is asked, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    received = connection.recv(65536)
                    if seen is not None:
                        seen.append(received)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def tls_server() -> Generator[str, None, None]:
    """Run a TLS server with a certificate that nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]  # Typed in part.
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                    context.wrap_socket(connection, server_side=True).close()
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://localhost:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.usefixtures("vendor")
def test_sends_and_reads(run: Run, put: Request) -> None:
    """A request reaches the vendor and its answer comes back."""
    reply = run(put, 5.0)

    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert (reply.json_object() or {})["userID"] == "u1"


def test_tells_that_nothing_was_sent(run: Run) -> None:
    """A port where nobody listens has applied nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    reply = run(Request("identify", "PUT", f"http://127.0.0.1:{port}/"), 5.0)

    assert reply.lost is Lost.NOT_SENT
    assert not reply.may_have_applied


@pytest.mark.parametrize(("when", "applied"), [("before", False), ("after", True)])
def test_tells_that_the_answer_was_lost(
    run: Run, vendor: LogRocketEmulator, put: Request, *, when: str, applied: bool
) -> None:
    """A connection dropped before or after applying looks the same: it may have been applied."""
    vendor.faults.add(Fault(drop="before" if when == "before" else "after"))

    reply = run(put, 5.0)

    assert reply.lost is Lost.NO_ANSWER
    assert reply.may_have_applied
    assert ("u1" in vendor.users) is applied


def test_gives_up_on_a_black_hole(run: Run, vendor: LogRocketEmulator, put: Request) -> None:
    """A vendor that never answers costs the timeout, not more."""
    vendor.faults.add(Fault(hang=True))
    started = time.monotonic()

    reply = run(put, 0.3)

    assert reply.lost is Lost.TIMED_OUT
    assert time.monotonic() - started < 3


def test_gives_up_on_a_trickle(run: Run, vendor: LogRocketEmulator, put: Request) -> None:
    """An answer that comes byte by byte is cut off at the timeout, though each byte is in time."""
    vendor.faults.add(Fault(garbage="drip", pause=0.05))
    started = time.monotonic()

    reply = run(put, 0.3)

    assert reply.lost is Lost.TIMED_OUT
    assert time.monotonic() - started < 3


def test_caps_the_answer(run: Run, vendor: LogRocketEmulator, put: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer over the cap is not read to its end."""
    monkeypatch.setattr(httpx_senders, "MAX_REPLY_BYTES", 100_000)
    vendor.faults.add(Fault(garbage="huge", size=100 * 2**20))

    reply = run(put, 5.0)

    assert reply.lost is Lost.TOO_LARGE
    assert reply.may_have_applied


def test_caps_the_answer_after_decompression(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small answer that unpacks to a large one is over the cap as well."""
    import gzip  # noqa: PLC0415  # Used by this test alone.

    monkeypatch.setattr(httpx_senders, "MAX_REPLY_BYTES", 100_000)
    packed = gzip.compress(b" " * 1_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()

    with answering(head + packed) as url:
        reply = run(Request("identify", "PUT", url), 5.0)

    assert reply.lost is Lost.TOO_LARGE


@pytest.mark.parametrize(
    "answer",
    [b"", b"not HTTP at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"],
    ids=["nothing", "no HTTP", "half an answer"],
)
def test_takes_garbage_for_a_lost_answer(run: Run, answer: bytes) -> None:
    """What is no HTTP answer is no answer."""
    with answering(answer) as url:
        reply = run(Request("identify", "PUT", url), 5.0)

    assert reply.lost is Lost.NO_ANSWER


def test_takes_a_broken_encoding_for_a_lost_answer(run: Run) -> None:
    """A body that does not unpack is no answer."""
    with answering(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd") as url:
        reply = run(Request("identify", "PUT", url), 5.0)

    assert reply.lost is Lost.NO_ANSWER


def test_does_not_follow_a_redirection(run: Run, server: tuple[LogRocketEmulator, str], put: Request) -> None:
    """The key goes to the configured host and to no other."""
    vendor, url = server
    vendor.reset()
    vendor.faults.add(Fault(status=307, headers={"location": f"{url}/elsewhere"}))

    reply = run(put, 5.0)

    assert reply.status == 307
    assert [recorded.path for recorded in vendor.requests] == ["/v1/orgs/acme/apps/shop/users/u1"]


def test_does_not_speak_to_a_server_it_cannot_trust(run: Run) -> None:
    """A certificate of an unknown authority ends it, and nothing is sent."""
    with tls_server() as url:
        reply = run(Request("identify", "PUT", url), 5.0)

    assert reply.lost is Lost.UNTRUSTED
    assert not reply.may_have_applied


def test_raises_what_is_a_mistake_of_ours(run: Run) -> None:
    """A request that no server could be asked is a bug, not weather."""
    with pytest.raises(httpx.UnsupportedProtocol):
        run(Request("identify", "PUT", "gopher://127.0.0.1/"), 5.0)


def test_knows_every_network_error_of_httpx() -> None:
    """An exception that httpx grows must be given a meaning here."""
    mistakes = {httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.TooManyRedirects, httpx.HTTPStatusError}
    leaves = {kind for kind in _below(httpx.HTTPError) if not kind.__subclasses__()}

    unknown = [
        kind for kind in leaves - mistakes if not any(issubclass(kind, known) for known, _ in httpx_senders.LOST)
    ]

    assert unknown == []


def _below(kind: type[Exception]) -> Iterator[type[Exception]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


@pytest.mark.usefixtures("vendor")
def test_keeps_our_requests_out_of_the_librarys_log(run: Run, put: Request, caplog: pytest.LogCaptureFixture) -> None:
    """Not even an application that logs at DEBUG sees a user id in httpx's or httpcore's records."""
    with caplog.at_level(logging.DEBUG):
        run(put, 5.0)

    about_requests = [record.getMessage() for record in caplog.records if "close" not in record.getMessage()]
    assert not [message for message in about_requests if "users/u1" in message or "headers" in message]


def test_leaves_the_applications_own_requests_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """What the application logs about its own use of httpx is none of our business."""
    logger = logging.getLogger("httpx")

    with caplog.at_level(logging.INFO, "httpx"):
        logger.info("theirs")
        with own_traffic():
            logger.info("ours")

    assert caplog.messages == ["theirs"]


@pytest.mark.usefixtures("vendor")
def test_works_in_a_forked_child(put: Request) -> None:
    """A child of a fork makes connections of its own and leaves the parent's alone."""
    with Transport(retry=ONCE) as transport:
        assert transport.run(ask(put)).status == 200

        statuses = _in_children(lambda: transport.run(ask(put)).status, count=3)

        assert statuses == [200, 200, 200]
        assert transport.run(ask(put)).status == 200


def _in_children(call: Callable[[], int], *, count: int) -> list[int]:
    results: list[int] = []
    for _ in range(count):
        reader, writer = multiprocessing.Pipe(duplex=False)
        child = os.fork()
        if child == 0:
            writer.send(call())
            os._exit(0)
        results.append(reader.recv() if reader.poll(10) else -1)
        os.waitpid(child, 0)
    return results


def test_a_child_does_not_close_its_parents_connections(put: Request) -> None:
    """Closing in a child that never sent anything leaves the parent's client open."""
    with Transport(retry=ONCE) as transport:
        transport.run(ask(put))

        def close_and_tell() -> int:
            transport.close()
            return 0

        _in_children(close_and_tell, count=1)

        assert transport.run(ask(put)).status == 200


@pytest.mark.usefixtures("vendor")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # The first loop took its sockets along.
def test_works_on_one_event_loop_after_another(put: Request) -> None:
    """Connections belong to a loop, so a new loop gets new ones."""
    transport = AsyncTransport(retry=ONCE)

    async def main() -> int:
        return (await transport.run(ask(put))).status

    async def last() -> int:
        async with transport:
            return await main()

    assert [asyncio.run(main()), asyncio.run(last())] == [200, 200]
    gc.collect()


@pytest.mark.usefixtures("vendor")
def test_spreads_many_requests_over_clients(put: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """No httpx client has more in flight than it can handle well."""
    made: list[httpx.AsyncClient] = []
    client = httpx.AsyncClient

    def make(**arguments: object) -> httpx.AsyncClient:
        made.append(client(**arguments))  # type: ignore[arg-type]
        return made[-1]

    async def main() -> list[int]:
        async with AsyncTransport(retry=ONCE) as transport:
            monkeypatch.setattr(httpx, "AsyncClient", make)
            replies = await asyncio.gather(*(transport.run(ask(put)) for _ in range(40)))
            return [reply.status for reply in replies]

    assert asyncio.run(main()) == [200] * 40
    assert len(made) == 3


def test_uses_the_callers_client_and_leaves_it_open() -> None:
    """A client that was handed in sends, with its own settings, and stays the caller's to close."""
    with respx.mock, httpx.Client(headers={"x-proxy-team": "blue"}) as client:
        route = respx.put("https://vendor.example/").respond(200)

        with Transport(client, retry=ONCE) as transport:
            reply = transport.run(ask(Request("identify", "PUT", "https://vendor.example/")))

        assert reply.status == 200
        assert route.calls.last.request.headers["x-proxy-team"] == "blue"
        assert not client.is_closed


def test_uses_the_callers_async_client_and_leaves_it_open() -> None:
    """As above, on asyncio."""

    async def main() -> tuple[int, bool]:
        async with httpx.AsyncClient() as client:
            async with AsyncTransport(client, retry=ONCE) as transport:
                reply = await transport.run(ask(Request("identify", "PUT", "https://vendor.example/")))
            return reply.status, client.is_closed

    with respx.mock:
        respx.put("https://vendor.example/").respond(200)

        assert asyncio.run(main()) == (200, False)


def test_does_not_let_the_callers_client_follow_or_authenticate() -> None:
    """A client's habit of following redirections or adding credentials does not reach our requests."""
    with respx.mock, httpx.Client(follow_redirects=True, auth=("them", "secret")) as client:
        first = respx.put("https://vendor.example/").respond(302, headers={"location": "https://other.example/"})
        other = respx.route(host="other.example").respond(200)

        with Transport(client, retry=ONCE) as transport:
            request = Request("identify", "PUT", "https://vendor.example/", {"authorization": "token k"})
            reply = transport.run(ask(request))

        assert reply.status == 302
        assert not other.called
        assert first.calls.last.request.headers["authorization"] == "token k"


def test_says_so_when_a_client_was_closed_meanwhile() -> None:
    """A client that its owner closed sends nothing, and that is no bug of the adapter's."""
    client = httpx.Client()
    client.close()

    reply = Transport(client).run(ask(Request("identify", "PUT", "https://vendor.example/")))

    assert reply == Reply(0, lost=Lost.STOPPED)


def test_says_so_when_an_async_client_was_closed_meanwhile() -> None:
    """As above, on asyncio."""

    async def main() -> Reply:
        client = httpx.AsyncClient()
        await client.aclose()
        return await AsyncTransport(client).run(ask(Request("identify", "PUT", "https://vendor.example/")))

    assert asyncio.run(main()) == Reply(0, lost=Lost.STOPPED)


def test_raises_a_bug_of_the_clients_own() -> None:
    """Another RuntimeError is not taken for a closed client."""

    def fail(_request: httpx.Request) -> httpx.Response:
        raise RuntimeError("a bug")

    async def awaiting() -> Reply:
        async with httpx.AsyncClient(transport=httpx.MockTransport(fail)) as client:
            return await AsyncTransport(client).run(ask(Request("identify", "PUT", "https://vendor.example/")))

    with httpx.Client(transport=httpx.MockTransport(fail)) as client, pytest.raises(RuntimeError, match="a bug"):
        Transport(client).run(ask(Request("identify", "PUT", "https://vendor.example/")))
    with pytest.raises(RuntimeError, match="a bug"):
        asyncio.run(awaiting())


def test_carries_no_cookie_from_one_user_to_the_next(run: Run) -> None:
    """What a vendor sets with one answer does not come back with another's request."""
    seen: list[bytes] = []
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nSet-Cookie: u=canary\r\nContent-Length: 0\r\n\r\n"

    with answering(answer, seen) as url, Transport(retry=ONCE) as transport:
        for _ in range(2):
            transport.run(ask(Request("identify", "PUT", url)))
        run(Request("identify", "PUT", url), 5.0)

    assert len(seen) == 3
    assert b"canary" not in b"".join(seen)


@pytest.mark.usefixtures("vendor")
def test_sends_nothing_for_this_machine_through_a_proxy(
    run: Run, put: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain http is allowed on loopback only because it stays there."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    assert run(put, 5.0).status == 200


def test_takes_certificates_that_cannot_be_read_for_a_wrong_setting(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong SSL_CERT_FILE is no bug of an adapter's."""

    def fail() -> ssl.SSLContext:
        raise FileNotFoundError

    monkeypatch.setattr(httpx_senders, "_tls", fail)

    assert run(Request("identify", "PUT", "https://vendor.example/"), 5.0).lost is Lost.UNTRUSTED
