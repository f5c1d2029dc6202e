"""The concurrent transport, on a scripted clock."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import Clock
from support.scripted import REQUEST, Script, ask, ask_twice_with_pause

from replay_identity import RetryPolicy
from replay_identity.adapters import Exchange, NoResponse, Request, Response, Sleep
from replay_identity.transport import ConcurrentTransport
from replay_identity.transport.rate_limiter import AdaptiveLimiter

OK = Response(200)
ONCE = RetryPolicy(attempts=1, total=1e9)


@attrs.define
class SlowVendor:
    """A vendor with a fixed latency, as a `ConcurrentSender` on a clock that only waiting advances.

    Attributes:
        respond: Returns the vendor's response to a request.
        latency: Seconds until each response.
        clock: The clock of the transport.
    """

    respond: Callable[[Request], Response] = lambda _: OK
    latency: float = 0.0
    clock: Clock = attrs.field(factory=lambda: Clock(0.0))
    sent: list[float] = attrs.field(factory=list[float])
    max_in_flight: int = 0
    in_flight: list[tuple[float, int, Response]] = attrs.field(factory=list[tuple[float, int, Response]])
    results: list[Any] = attrs.field(factory=list[Any])
    closed: bool = False

    def submit(self, request_id: int, request: Request, timeout: float) -> None:
        """Record the request and respond later."""
        assert timeout > 0
        self.sent.append(self.clock.now)
        self.in_flight.append((self.clock.now + self.latency, request_id, self.respond(request)))
        self.max_in_flight = max(self.max_in_flight, len(self.in_flight))

    def completed(self, timeout: float) -> Sequence[tuple[int, Response]]:
        """Advance the clock to the first response, or by *timeout*."""
        self.in_flight.sort(key=lambda item: item[:2])
        self.clock.now = min(self.clock.now + timeout, max(self.clock.now, self.in_flight[0][0]))
        done = [(request_id, response) for moment, request_id, response in self.in_flight if moment <= self.clock.now]
        self.in_flight = [item for item in self.in_flight if item[0] > self.clock.now]
        return done

    def close(self) -> None:
        """Record the call."""
        self.closed = True

    def transport(self, limiter: AdaptiveLimiter | None = None, retry: RetryPolicy = ONCE) -> ConcurrentTransport:
        """Return a transport whose waits only advance the clock."""
        return ConcurrentTransport(
            self,
            limiter or AdaptiveLimiter(),
            retry=retry,
            timeout=10.0,
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    def run(self, transport: ConcurrentTransport, *exchanges: Exchange[Any], until: float = 1e6) -> list[Any]:
        """Run *exchanges* to their ends and return their results in that order."""
        for exchange in exchanges:
            transport.submit(exchange, self.results.append)
        while transport.in_flight and self.clock.now < until:
            transport.poll(1.0)
        return self.results


def test_runs_exchanges_concurrently() -> None:
    """A hundred slow responses take as long as one."""
    vendor = SlowVendor(latency=2.0)

    results = vendor.run(vendor.transport(), *(ask() for _ in range(100)))

    assert results == [OK] * 100
    assert (vendor.max_in_flight, vendor.clock.now) == (100, 2.0)


@pytest.mark.parametrize(("status", "is_failure"), [(404, True), (500, False), (503, True)])
def test_retry_on_decides_what_slows_down(status: int, is_failure: bool) -> None:  # noqa: FBT001
    """The limiter counts as a failure what the request says is retryable."""
    vendor, limiter = SlowVendor(lambda _: Response(status)), AdaptiveLimiter()

    def is_retryable(response: Response) -> bool:
        return response.status in {404, 503}

    request = attrs.evolve(REQUEST, retry_on=is_retryable)

    vendor.run(vendor.transport(limiter), ask(request))

    assert (limiter.failure is not None) == is_failure


def test_pauses_do_not_delay_others() -> None:
    """While one exchange pauses, the others go on."""
    vendor = SlowVendor()

    results = vendor.run(vendor.transport(), *(ask_twice_with_pause(seconds) for seconds in (30.0, 10.0, 20.0)))

    assert results == [[200, 204, 200]] * 3
    assert vendor.sent == [0.0, 0.0, 0.0, 10.0, 20.0, 30.0]


def test_pauses_of_equal_length_end_in_order() -> None:
    """Exchanges that wait for the same moment resume in their order."""
    vendor, order = SlowVendor(), list[int]()

    def remember(number: int) -> Exchange[None]:
        yield Sleep(5.0)
        order.append(number)

    vendor.run(vendor.transport(), *map(remember, range(20)))

    assert order == list(range(20))


def test_retries_do_not_delay_others() -> None:
    """A failure delays only its own exchange."""
    responses = iter([Response(503), OK, OK])
    vendor = SlowVendor(respond=lambda _: next(responses))

    results = vendor.run(vendor.transport(retry=RetryPolicy(attempts=2, wait_initial=8.0)), ask(), ask())

    assert results == [OK, OK]
    assert len(vendor.sent) == 3


def test_sends_nothing_before_retry_after_has_passed() -> None:
    """This holds for new requests and for those with a reserved slot."""
    responses = iter([Response(429, {"retry-after": "40"})])
    vendor = SlowVendor(respond=lambda _: next(responses, OK))
    transport = vendor.transport(AdaptiveLimiter(requests_per_minute=60))

    vendor.run(transport, *(ask() for _ in range(5)))

    assert vendor.sent[0] == 0.0
    assert vendor.sent[1] >= 40.0
    assert vendor.results.count(OK) == 4


@given(
    st.integers(1, 600),
    st.lists(st.tuples(st.integers(1, 30), st.sampled_from([0.0, 0.05, 0.25, 3.0, 45.0])), max_size=12),
)
def test_no_minute_has_more_requests_than_the_quota(quota: int, steps: list[tuple[int, float]]) -> None:
    """The quota holds even if the process is suspended now and then."""
    vendor = SlowVendor()
    transport = vendor.transport(AdaptiveLimiter(requests_per_minute=quota))
    for count, suspended in steps:
        for _ in range(count):
            transport.submit(ask(), vendor.results.append)
        transport.poll(0.05)
        vendor.clock.now += suspended
    vendor.run(transport)

    assert len(vendor.results) == sum(count for count, _ in steps)
    assert all(later - first >= 60 for first, later in zip(vendor.sent, vendor.sent[quota:], strict=False))


def test_stopping_ends_pauses_and_sends_nothing_more() -> None:
    """Responses to what was sent are still processed."""
    vendor = SlowVendor(latency=5.0)
    transport = vendor.transport(AdaptiveLimiter(requests_per_minute=1))
    paused: list[Response] = []

    def pause() -> Exchange[None]:
        paused.append((yield Sleep(1000.0)))
        paused.append((yield REQUEST))
        paused.append((yield Sleep(1000.0)))

    for exchange in (ask(), ask(), pause()):
        transport.submit(exchange, vendor.results.append)
    transport.stop()
    vendor.run(transport, ask())

    assert [response.no_response for response in paused] == [NoResponse.CLOSED] * 3
    assert [response if response is None else response.no_response for response in vendor.results] == [
        NoResponse.CLOSED,
        None,
        NoResponse.CLOSED,
        None,
    ]
    assert (len(vendor.sent), vendor.clock.now, transport.in_flight) == (1, 5.0, 0)


def test_an_exchange_that_raises_raises_from_poll() -> None:
    """It is no longer counted as in flight; the others go on."""
    vendor = SlowVendor()
    transport = vendor.transport()

    def fail() -> Exchange[None]:
        yield Sleep(1.0)
        raise ValueError("a bug")

    transport.submit(fail(), vendor.results.append)
    with pytest.raises(ValueError, match="a bug"):
        vendor.run(transport, ask())

    assert vendor.run(transport) == [OK]
    assert transport.in_flight == 0


def test_an_invalid_action_raises_inside_the_exchange() -> None:
    """There, `isolate_errors` can turn it into an outcome."""

    def odd() -> Any:
        try:
            yield "GET /"
        except TypeError:
            return "caught"

    vendor = SlowVendor()

    assert vendor.run(vendor.transport(), odd()) == ["caught"]


def test_on_done_may_submit_another_exchange() -> None:
    """The callback may start the next exchange."""
    vendor = SlowVendor()
    transport = vendor.transport()

    transport.submit(ask(), lambda _: transport.submit(ask(), vendor.results.append))
    vendor.run(transport)

    assert vendor.results == [OK]


def test_a_slow_callback_does_not_count_as_latency() -> None:
    """Responses that arrived together have the same latency."""
    vendor, limiter = SlowVendor(latency=1.0), AdaptiveLimiter()
    transport = vendor.transport(limiter)

    def write_down(_: Response) -> None:
        vendor.clock.now += 50.0

    for _ in range(2):
        transport.submit(ask(), write_down)
    transport.poll(1.0)

    assert (transport.in_flight, limiter.window) == (0, 10)


def test_responses_that_trickle_in_share_a_wakeup() -> None:
    """A vendor that responds every millisecond does not wake the transport up every millisecond."""
    vendor = SlowVendor(latency=0.064)
    transport = vendor.transport()
    for _ in range(64):
        transport.submit(ask(), vendor.results.append)
        vendor.clock.now += 0.001

    polls = 0
    while transport.in_flight:
        polls += transport.poll(1.0) > 0

    assert vendor.results == [OK] * 64
    assert polls < 32
    assert vendor.clock.now < 0.064 + 0.064 * 1.1


def test_closing_closes_the_sender() -> None:
    """The transport owns its sender."""
    vendor = SlowVendor()

    vendor.transport().close()

    assert vendor.closed


def test_repr_shows_no_waiting_request() -> None:
    """No content of a waiting request is in a repr."""
    vendor = SlowVendor()
    transport = vendor.transport(AdaptiveLimiter(requests_per_minute=1))
    secret = Request("identify", "PUT", "https://vendor.example/canary", {"key": "canary"}, b"canary")
    for _ in range(3):
        transport.submit(ask(secret), vendor.results.append)

    assert "canary" not in repr(vars(transport))


def exchange_of(pauses: Sequence[float | None]) -> Exchange[list[tuple[int, NoResponse | None]]]:
    """Send a request for each None, pause for each number, and return all responses."""
    received: list[tuple[int, NoResponse | None]] = []
    for seconds in pauses:
        response = yield REQUEST if seconds is None else Sleep(seconds)
        received.append((response.status, response.no_response))
    return received


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
    """The same exchange and the same responses give the same result on all three transports."""
    retry = RetryPolicy(attempts=attempts, total=1e9)
    left = list(responses)
    vendor = SlowVendor(respond=lambda _: left.pop(0) if len(left) > 1 else left[0])

    blocking = Script(list(responses)).transport(retry).run(exchange_of(pauses))
    awaiting = asyncio.run(Script(list(responses)).async_transport(retry).run(exchange_of(pauses)))
    (among_many,) = vendor.run(vendor.transport(retry=retry), exchange_of(pauses))

    assert blocking == awaiting == among_many
