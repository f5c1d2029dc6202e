"""Many exchanges at once, from one thread, in a scripted world."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transport.scripted import REQUEST, Script, ask, ask_twice_with_a_pause

from replay_identity import RetryPolicy
from replay_identity.adapters.exchange import Exchange, NoResponse, Request, Response, Sleep
from replay_identity.transport import ConcurrentTransport
from replay_identity.transport.rate_limiter import AdaptiveLimiter

OK = Response(200)
ONCE = RetryPolicy(attempts=1, total=1e9)


@attrs.define
class World:
    """A clock that only waiting moves, and a vendor that answers when told to.

    Attributes:
        answer: What the vendor says to a request.
        latency: Seconds until it says so.
    """

    answer: Callable[[Request], Response] = lambda _: OK
    latency: float = 0.0
    now: float = 0.0
    sent: list[float] = attrs.field(factory=list[float])
    most: int = 0
    under_way: list[tuple[float, int, Response]] = attrs.field(factory=list[tuple[float, int, Response]])
    results: list[Any] = attrs.field(factory=list[Any])
    closed: bool = False

    def submit(self, request_id: int, request: Request, timeout: float) -> None:
        """Answer later."""
        assert timeout > 0
        self.sent.append(self.now)
        self.under_way.append((self.now + self.latency, request_id, self.answer(request)))
        self.most = max(self.most, len(self.under_way))

    def completed(self, timeout: float) -> Sequence[tuple[int, Response]]:
        """Move the clock to the first answer, or by *timeout*."""
        self.under_way.sort(key=lambda each: each[:2])
        self.now = min(self.now + timeout, max(self.now, self.under_way[0][0]))
        done = [(request_id, response) for moment, request_id, response in self.under_way if moment <= self.now]
        self.under_way = [each for each in self.under_way if each[0] > self.now]
        return done

    def close(self) -> None:
        """Remember it."""
        self.closed = True

    def transport(self, limiter: AdaptiveLimiter | None = None, retry: RetryPolicy = ONCE) -> ConcurrentTransport:
        """Return a transport in this world, whose waits only move the clock."""
        transport = ConcurrentTransport(
            self, limiter or AdaptiveLimiter(), retry=retry, timeout=10.0, clock=lambda: self.now
        )
        transport._woken = Sleeper(self)  # type: ignore[assignment]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
        return transport

    def run(self, transport: ConcurrentTransport, *exchanges: Exchange[Any], until: float = 1e6) -> list[Any]:
        """Run *exchanges* to their ends and return their results in the order of these."""
        for exchange in exchanges:
            transport.submit(exchange, self.results.append)
        while transport.in_flight and self.now < until:
            transport.poll(1.0)
        return self.results


@attrs.define
class Sleeper:
    """An event that is never set and moves the clock."""

    world: World

    def wait(self, timeout: float) -> None:
        """Move the clock."""
        self.world.now += timeout

    def clear(self) -> None:
        """Nothing was set."""


def test_runs_exchanges_at_the_same_time() -> None:
    """A hundred slow answers take as long as one."""
    world = World(latency=2.0)

    results = world.run(world.transport(), *(ask() for _ in range(100)))

    assert results == [OK] * 100
    assert (world.most, world.now) == (100, 2.0)


@pytest.mark.parametrize(("status", "is_failure"), [(404, True), (500, False), (503, True)])
def test_what_a_vendor_means_by_a_status_sets_the_pace(status: int, is_failure: bool) -> None:  # noqa: FBT001
    """One that retries a 404 slows down after it, and one whose 500 is about the user does not."""
    world, limiter = World(lambda _: Response(status)), AdaptiveLimiter()

    def is_retryable(response: Response) -> bool:
        return response.status in {404, 503}

    request = attrs.evolve(REQUEST, retry_on=is_retryable)

    world.run(world.transport(limiter), ask(request))

    assert (limiter.failure is not None) == is_failure


def test_pauses_do_not_hold_up_others() -> None:
    """While one exchange pauses, the others go on; each goes on in time."""
    world = World()

    results = world.run(world.transport(), *(ask_twice_with_a_pause(seconds) for seconds in (30.0, 10.0, 20.0)))

    assert results == [[200, 204, 200]] * 3
    assert world.sent == [0.0, 0.0, 0.0, 10.0, 20.0, 30.0]


def test_of_two_that_wait_for_the_same_moment_the_first_goes_first() -> None:
    """Nobody is overtaken without a reason."""
    world, order = World(), list[int]()

    def remember(number: int) -> Exchange[None]:
        yield Sleep(5.0)
        order.append(number)

    world.run(world.transport(), *map(remember, range(20)))

    assert order == list(range(20))


def test_tries_again_without_holding_up_others() -> None:
    """A failure costs its own exchange a wait."""
    answers = iter([Response(503), OK, OK])
    world = World(answer=lambda _: next(answers))

    results = world.run(world.transport(retry=RetryPolicy(attempts=2, wait_initial=8.0)), ask(), ask())

    assert results == [OK, OK]
    assert len(world.sent) == 3


def test_nothing_is_sent_while_the_vendor_asks_for_a_break() -> None:
    """Neither what is new nor what has waited for its slot."""
    answers = iter([Response(429, {"retry-after": "40"})])
    world = World(answer=lambda _: next(answers, OK))
    transport = world.transport(AdaptiveLimiter(requests_per_minute=60))

    world.run(transport, *(ask() for _ in range(5)))

    assert world.sent[0] == 0.0
    assert world.sent[1] >= 40.0
    assert world.results.count(OK) == 4


@given(
    st.integers(1, 600),
    st.lists(st.tuples(st.integers(1, 30), st.sampled_from([0.0, 0.05, 0.25, 3.0, 45.0])), max_size=12),
)
def test_no_minute_has_more_requests_than_the_quota(quota: int, steps: list[tuple[int, float]]) -> None:
    """Even if the process is suspended now and then."""
    world = World()
    transport = world.transport(AdaptiveLimiter(requests_per_minute=quota))
    for count, suspended in steps:
        for _ in range(count):
            transport.submit(ask(), world.results.append)
        transport.poll(0.05)
        world.now += suspended
    world.run(transport)

    assert len(world.results) == sum(count for count, _ in steps)
    assert all(later - one >= 60 for one, later in zip(world.sent, world.sent[quota:], strict=False))


def test_stopping_cuts_every_pause_short_and_sends_nothing_more() -> None:
    """What was sent is waited for; what was not is told so."""
    world = World(latency=5.0)
    transport = world.transport(AdaptiveLimiter(requests_per_minute=1))
    paused: list[Response] = []

    def pause() -> Exchange[None]:
        paused.append((yield Sleep(1000.0)))
        paused.append((yield REQUEST))
        paused.append((yield Sleep(1000.0)))

    for exchange in (ask(), ask(), pause()):
        transport.submit(exchange, world.results.append)
    transport.stop()
    world.run(transport, ask())

    assert [response.no_response for response in paused] == [NoResponse.CLOSED] * 3
    assert [response if response is None else response.no_response for response in world.results] == [
        NoResponse.CLOSED,
        None,
        NoResponse.CLOSED,
        None,
    ]
    assert (len(world.sent), world.now, transport.in_flight) == (1, 5.0, 0)


def test_an_exchange_that_raises_raises_for_whoever_runs_it() -> None:
    """And is under way no more; the others are."""
    world = World()
    transport = world.transport()

    def fail() -> Exchange[None]:
        yield Sleep(1.0)
        raise ValueError("a bug")

    transport.submit(fail(), world.results.append)
    with pytest.raises(ValueError, match="a bug"):
        world.run(transport, ask())

    assert world.run(transport) == [OK]
    assert transport.in_flight == 0


def test_an_exchange_that_yields_something_else_is_told() -> None:
    """Where it stands, so that whoever guards it can say whose mistake it is."""

    def odd() -> Any:
        try:
            yield "GET /"
        except TypeError:
            return "told"

    world = World()

    assert world.run(world.transport(), odd()) == ["told"]


def test_an_exchange_may_start_another_when_it_ends() -> None:
    """From the call that tells its result."""
    world = World()
    transport = world.transport()

    transport.submit(ask(), lambda _: transport.submit(ask(), world.results.append))
    world.run(transport)

    assert world.results == [OK]


def test_taking_note_of_an_answer_does_not_make_the_vendor_look_slow() -> None:
    """Answers that came together were equally fast, however long it takes to write the first one down."""
    world, limiter = World(latency=1.0), AdaptiveLimiter()
    transport = world.transport(limiter)

    def write_down(_: Response) -> None:
        world.now += 50.0

    for _ in range(2):
        transport.submit(ask(), write_down)
    transport.poll(1.0)

    assert (transport.in_flight, limiter.window) == (0, 10)


def test_wakes_whoever_waits_for_nothing() -> None:
    """From any thread."""
    transport = ConcurrentTransport(World(), AdaptiveLimiter(), retry=ONCE)
    started = time.monotonic()
    threading.Timer(0.05, transport.wake).start()

    transport.poll(20.0)

    assert time.monotonic() - started < 5


def test_closing_frees_the_sender() -> None:
    """It is the transport's."""
    world = World()

    world.transport().close()

    assert world.closed


def test_shows_nothing_of_what_is_under_way() -> None:
    """No request is in the repr of what waits."""
    world = World()
    transport = world.transport(AdaptiveLimiter(requests_per_minute=1))
    secret = Request("identify", "PUT", "https://vendor.example/canary", {"key": "canary"}, b"canary")
    for _ in range(3):
        transport.submit(ask(secret), world.results.append)

    assert "canary" not in repr(vars(transport))


def talk(pauses: Sequence[float | None]) -> Exchange[list[tuple[int, NoResponse | None]]]:
    """Send a request for each None and pause for each number, and return all that was sent back."""
    heard: list[tuple[int, NoResponse | None]] = []
    for seconds in pauses:
        response = yield REQUEST if seconds is None else Sleep(seconds)
        heard.append((response.status, response.no_response))
    return heard


@given(
    st.lists(st.none() | st.floats(0, 5), max_size=6),
    st.lists(
        st.sampled_from(
            [
                OK,
                Response(400),
                Response(429),
                Response(503),
                Response(500),
                Response(0, no_response=NoResponse.CONNECTION_LOST),
            ]
        ),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 4),
)
def test_agrees_with_the_other_transports(pauses: list[float | None], responses: list[Response], attempts: int) -> None:
    """The same exchange and the same replies have the same result, blocking, awaiting and among many."""
    retry = RetryPolicy(attempts=attempts, total=1e9)
    left = list(responses)
    world = World(answer=lambda _: left.pop(0) if len(left) > 1 else left[0])

    blocking = Script(list(responses)).transport(retry).run(talk(pauses))
    awaiting = asyncio.run(Script(list(responses)).async_transport(retry).run(talk(pauses)))
    (among_many,) = world.run(world.transport(retry=retry), talk(pauses))

    assert blocking == awaiting == among_many
