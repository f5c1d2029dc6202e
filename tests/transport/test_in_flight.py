"""How many requests an async transport has in flight, and what becomes idle."""

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import attrs
import pytest
from support.scripted import ask
from support.servers import Served, serving

from replay_identity import AsyncRouter, ConfigurationError, LogRocket, RetryPolicy
from replay_identity.adapters import NoResponse, Request, Response
from replay_identity.transport import AsyncTransport, httpx_sender, runners

ONCE = RetryPolicy(attempts=1)


@attrs.define
class HeldSender:
    """A sender whose responses wait for `release`."""

    started: list[str] = attrs.field(factory=list[str])
    timeouts: list[float] = attrs.field(factory=list[float])
    most: int = 0
    now: int = 0
    held: "list[asyncio.Future[None]]" = attrs.field(factory=list["asyncio.Future[None]"])

    async def send(self, request: Request, timeout: float) -> Response:  # noqa: ASYNC109  # The protocol's.
        """Hold the request."""
        self.started.append(request.url)
        self.timeouts.append(timeout)
        self.now += 1
        self.most = max(self.most, self.now)
        self.held.append(asyncio.get_running_loop().create_future())
        try:
            await self.held[-1]
        finally:
            self.now -= 1
        return Response(200)

    async def release(self) -> None:
        """Answer the oldest request that is held."""
        future = self.held.pop(0)
        if not future.done():
            future.set_result(None)
        for _ in range(5):
            await asyncio.sleep(0)

    async def aclose(self) -> None:
        """Do nothing."""


async def started(transport: AsyncTransport, names: str) -> "list[asyncio.Task[Response]]":
    """Start one request for each letter, in order."""
    tasks = [asyncio.create_task(transport.run(ask(Request("identify", "PUT", name)))) for name in names]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


def run_held(check: Callable[[AsyncTransport, HeldSender], Awaitable[None]], *, timeout: float = 30.0) -> None:
    """Run *check* with a transport of two requests in flight."""

    async def main() -> None:
        sender = HeldSender()
        await check(AsyncTransport(sender, retry=ONCE, timeout=timeout, max_in_flight=2), sender)

    asyncio.run(main())


def test_callers_wait_in_order() -> None:
    """The first to come is the first to be sent."""

    async def check(transport: AsyncTransport, sender: HeldSender) -> None:
        tasks = await started(transport, "abcde")
        assert sender.started == ["a", "b"]
        for _ in range(5):
            await sender.release()
        assert [task.result().status for task in tasks] == [200] * 5
        assert (sender.started, sender.most) == (list("abcde"), 2)
        assert 0 < sender.timeouts[-1] < 30

    run_held(check)


def test_a_cancelled_caller_leaves_the_queue() -> None:
    """Neither a request in flight nor one that waits keeps its place."""

    async def check(transport: AsyncTransport, sender: HeldSender) -> None:
        tasks = await started(transport, "abcd")
        tasks[2].cancel()
        tasks[0].cancel()
        await asyncio.wait([tasks[0], tasks[2]])
        await asyncio.sleep(0)
        assert sender.started == ["a", "b", "d"]
        for _ in range(3):
            await sender.release()
        assert [task.cancelled() for task in tasks] == [True, False, True, False]
        (last,) = await started(transport, "e")
        await sender.release()
        assert last.result().status == 200

    run_held(check)


def test_waiting_counts_towards_the_deadline() -> None:
    """What was not sent in time cannot have been applied."""

    async def check(transport: AsyncTransport, sender: HeldSender) -> None:
        tasks = await started(transport, "abc")
        response = await tasks[2]
        assert response == Response(0, no_response=NoResponse.DEADLINE_PASSED)
        assert sender.started == ["a", "b"]
        for _ in range(2):
            await sender.release()

    run_held(check, timeout=0.05)


def test_a_turn_at_the_deadline_is_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent without time for its response."""

    async def check(transport: AsyncTransport, sender: HeldSender) -> None:
        tasks = await started(transport, "abc")
        monkeypatch.setattr(runners, "time", SimpleNamespace(monotonic=lambda: float("inf")))
        sender.held[0].set_result(None)
        response = await tasks[2]
        assert response.no_response is NoResponse.DEADLINE_PASSED
        assert sender.started == ["a", "b"]

    run_held(check)


def test_closing_ends_the_queue() -> None:
    """Callers that wait get an answer at once."""

    async def check(transport: AsyncTransport, sender: HeldSender) -> None:
        tasks = await started(transport, "abcd")
        await transport.aclose()
        responses = await asyncio.gather(*tasks[2:])
        assert responses == [Response(0, no_response=NoResponse.CLOSED)] * 2
        assert sender.started == ["a", "b"]

    run_held(check)


def test_each_event_loop_has_its_own_queue() -> None:
    """A loop that ended with requests in flight holds up no other."""
    sender = HeldSender()
    transport = AsyncTransport(sender, retry=ONCE, max_in_flight=1)

    async def leave() -> None:
        await started(transport, "ab")

    async def close() -> None:
        (task,) = await started(transport, "c")
        sender.held[-1].set_result(None)
        assert (await task).status == 200
        await transport.aclose()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    asyncio.run(close())
    loop.run_until_complete(asyncio.sleep(0))
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    asyncio.run(transport.aclose())

    assert sender.started == ["a", "c"]


@pytest.mark.parametrize("number", [0, -1, True, 2.5, "9", None])
def test_max_in_flight_is_a_positive_number(number: object) -> None:
    """A mistake is reported when the router is created."""
    with pytest.raises(ConfigurationError, match=r"^max_in_flight: "):
        AsyncRouter([LogRocket("a:b:c")], max_in_flight=number)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def until(holds: Callable[[], bool]) -> None:
    """Wait until *holds*."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  # A server in a thread.
            await asyncio.sleep(0.01)


async def burst(transport: AsyncTransport, served: Served, count: int) -> None:
    """Send *count* requests at once."""
    requests = [ask(Request("identify", "PUT", served.url)) for _ in range(count)]
    responses = await asyncio.gather(*map(transport.run, requests))
    assert {response.status for response in responses} == {200}


def test_a_burst_opens_few_connections_and_keeps_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections without requests are closed, also those of clients that only the burst needed."""
    monkeypatch.setattr(httpx_sender, "IDLE_S", 0.05)

    async def main(served: Served) -> None:
        async with AsyncTransport(retry=ONCE, max_in_flight=20) as transport:
            await burst(transport, served, 200)
            assert served.connections <= 20
            await until(lambda: served.ended == served.connections)
            await burst(transport, served, 1)

    with warnings.catch_warnings(), serving() as served:
        warnings.simplefilter("error")
        asyncio.run(main(served))
        gc.collect()


def test_a_client_that_was_used_again_is_closed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer starts again for the rest of the time."""
    monkeypatch.setattr(httpx_sender, "IDLE_S", 0.2)

    async def main(served: Served) -> None:
        async with AsyncTransport(retry=ONCE) as transport:
            await burst(transport, served, 1)
            await asyncio.sleep(0.15)
            await burst(transport, served, 1)
            await until(lambda: served.ended == served.connections)

    with serving() as served:
        asyncio.run(main(served))


def test_nothing_is_pending_when_the_loop_ends() -> None:
    """The timer does not keep a loop waiting."""

    async def main(served: Served) -> int:
        async with AsyncTransport(retry=ONCE) as transport:
            await burst(transport, served, 1)
        return len(asyncio.all_tasks())

    with serving() as served:
        assert asyncio.run(main(served), debug=True) == 1
