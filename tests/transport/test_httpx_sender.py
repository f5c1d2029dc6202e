"""What only the senders over httpx do: the caller's client, event loops, forks and logs."""

import asyncio
import gc
import gzip
import logging
from collections.abc import Iterator

import httpx
import pytest
import respx
from support.children import in_children
from support.scripted import ask

from replay_identity import RetryPolicy
from replay_identity.adapters import NoResponse, Request, Response
from replay_identity.transport import AsyncTransport, Transport, httpx_sender
from replay_identity.transport.httpx_sender import own_request

ONCE = RetryPolicy(attempts=1)


def test_knows_every_network_error_of_httpx() -> None:
    """An exception that a new version of httpx adds needs a reason here."""
    mistakes = {httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.TooManyRedirects, httpx.HTTPStatusError}
    leaves = {kind for kind in _below(httpx.HTTPError) if not kind.__subclasses__()}

    unknown = [
        kind
        for kind in leaves - mistakes
        if not any(issubclass(kind, known) for known, _ in httpx_sender.NO_RESPONSE_REASONS)
    ]

    assert unknown == []


def _below(kind: type[Exception]) -> Iterator[type[Exception]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def test_logs_of_the_application_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    """Only records about our own requests are dropped."""
    logger = logging.getLogger("httpx")

    with caplog.at_level(logging.INFO, "httpx"):
        logger.info("theirs")
        with own_request():
            logger.info("ours")

    assert caplog.messages == ["theirs"]


@pytest.mark.usefixtures("vendor")
def test_opens_one_client_and_another_after_a_fork(put: Request) -> None:
    """Threads share the client; a child leaves it to its parent."""
    sender = httpx_sender.HttpxSender()
    open_client = sender._open_own_client  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    first = open_client()

    assert open_client() is first
    sender.before_fork()
    sender.after_fork(in_child=False)
    assert open_client() is first
    sender.after_fork(in_child=True)
    assert open_client() is not first
    assert not first.is_closed
    assert sender.send(put, 5.0).status == 200
    sender.close()
    first.close()


@pytest.mark.usefixtures("vendor")
def test_works_in_a_forked_child(put: Request) -> None:
    """A child opens its own connections and leaves the parent's alone."""
    with Transport(retry=ONCE) as transport:
        assert transport.run(ask(put)).status == 200

        statuses = in_children(lambda: transport.run(ask(put)).status, count=3)

        assert statuses == [200, 200, 200]
        assert transport.run(ask(put)).status == 200


def test_a_child_does_not_close_its_parents_connections(put: Request) -> None:
    """Closing in a child that sent nothing leaves the parent's client open."""
    with Transport(retry=ONCE) as transport:
        transport.run(ask(put))

        def close() -> int:
            transport.close()
            return 0

        in_children(close, count=1)

        assert transport.run(ask(put)).status == 200


@pytest.mark.usefixtures("vendor")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # The first loop took its sockets along.
def test_works_on_several_event_loops(put: Request) -> None:
    """Connections belong to a loop, so each loop gets its own."""
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
    """No httpx client has more requests in flight than it can handle well."""
    made: list[httpx.AsyncClient] = []
    client = httpx.AsyncClient

    def make(**arguments: object) -> httpx.AsyncClient:
        made.append(client(**arguments))  # type: ignore[arg-type]
        return made[-1]

    async def main() -> list[int]:
        async with AsyncTransport(retry=ONCE) as transport:
            monkeypatch.setattr(httpx, "AsyncClient", make)
            responses = await asyncio.gather(*(transport.run(ask(put)) for _ in range(40)))
            return [response.status for response in responses]

    assert asyncio.run(main()) == [200] * 40
    assert len(made) == 3


def test_uses_the_callers_client_and_leaves_it_open() -> None:
    """A client passed in sends with its own settings, and the caller closes it."""
    with respx.mock, httpx.Client(headers={"x-proxy-team": "blue"}) as client:
        route = respx.put("https://vendor.example/").respond(200)

        with Transport(client, retry=ONCE) as transport:
            response = transport.run(ask(Request("identify", "PUT", "https://vendor.example/")))

        assert response.status == 200
        assert route.calls.last.request.headers["x-proxy-team"] == "blue"
        assert not client.is_closed


def test_uses_the_callers_async_client_and_leaves_it_open() -> None:
    """A client passed in sends, and the caller closes it."""

    async def main() -> tuple[int, bool]:
        async with httpx.AsyncClient() as client:
            async with AsyncTransport(client, retry=ONCE) as transport:
                response = await transport.run(ask(Request("identify", "PUT", "https://vendor.example/")))
            return response.status, client.is_closed

    with respx.mock:
        respx.put("https://vendor.example/").respond(200)

        assert asyncio.run(main()) == (200, False)


def test_ignores_redirects_and_auth_of_the_client() -> None:
    """The client's settings for redirects and credentials do not apply to our requests."""
    with respx.mock, httpx.Client(follow_redirects=True, auth=("them", "secret")) as client:
        first = respx.put("https://vendor.example/").respond(302, headers={"location": "https://other.example/"})
        other = respx.route(host="other.example").respond(200)

        with Transport(client, retry=ONCE) as transport:
            request = Request("identify", "PUT", "https://vendor.example/", {"authorization": "token k"})
            response = transport.run(ask(request))

        assert response.status == 302
        assert not other.called
        assert first.calls.last.request.headers["authorization"] == "token k"


def test_reads_what_a_mock_has_read_already() -> None:
    """Mocks of httpx read, and unpack, a response before anybody asks for it."""

    def respond(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=gzip.compress(b"{}"), headers={"content-encoding": "gzip"})

    async def awaiting() -> Response:
        async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as client:
            return await AsyncTransport(client).run(ask(Request("identify", "PUT", "https://vendor.example/")))

    with httpx.Client(transport=httpx.MockTransport(respond)) as client:
        blocking = Transport(client).run(ask(Request("identify", "PUT", "https://vendor.example/")))

    assert blocking.body == asyncio.run(awaiting()).body == b"{}"


def test_a_closed_client_sends_nothing() -> None:
    """A client that its owner closed is not a bug in the adapter."""
    client = httpx.Client()
    client.close()

    response = Transport(client).run(ask(Request("identify", "PUT", "https://vendor.example/")))

    assert response == Response(0, no_response=NoResponse.CLOSED)


def test_a_closed_async_client_sends_nothing() -> None:
    """A client that its owner closed is not a bug in the adapter."""

    async def main() -> Response:
        client = httpx.AsyncClient()
        await client.aclose()
        return await AsyncTransport(client).run(ask(Request("identify", "PUT", "https://vendor.example/")))

    assert asyncio.run(main()) == Response(0, no_response=NoResponse.CLOSED)


def test_raises_other_errors_of_the_client() -> None:
    """Not every RuntimeError means that the client was closed."""

    def fail(_request: httpx.Request) -> httpx.Response:
        raise RuntimeError("a bug")

    async def awaiting() -> Response:
        async with httpx.AsyncClient(transport=httpx.MockTransport(fail)) as client:
            return await AsyncTransport(client).run(ask(Request("identify", "PUT", "https://vendor.example/")))

    with httpx.Client(transport=httpx.MockTransport(fail)) as client, pytest.raises(RuntimeError, match="a bug"):
        Transport(client).run(ask(Request("identify", "PUT", "https://vendor.example/")))
    with pytest.raises(RuntimeError, match="a bug"):
        asyncio.run(awaiting())
