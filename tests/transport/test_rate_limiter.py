"""The rate limiter: concurrency, quota and backoff."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity.adapters import NoResponse, Response
from replay_identity.errors import ConfigurationError
from replay_identity.transport.rate_limiter import AdaptiveLimiter

OK = Response(200)
BUSY = Response(429)

responses = st.sampled_from(
    [
        OK,
        OK,
        OK,
        BUSY,
        Response(503),
        Response(0, no_response=NoResponse.TIMED_OUT),
        Response(400),
        Response(429, {"retry-after": "7"}),
    ]
)


def record(limiter: AdaptiveLimiter, response: Response, *, sent_at: float, now: float, jitter: float = 0.5) -> None:
    """Record one response."""
    limiter.record_response(response, is_failure=response.is_retryable, sent_at=sent_at, now=now, jitter=jitter)


def test_starts_with_a_small_window() -> None:
    """Nothing is known about the vendor yet."""
    assert (AdaptiveLimiter(connections=64).window, AdaptiveLimiter(connections=3).window) == (8, 3)


@pytest.mark.parametrize("field", ["connections", "requests_per_minute"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_settings_must_be_positive(field: str, value: float) -> None:
    """Zero and less are rejected."""
    with pytest.raises(ConfigurationError, match="expected a number greater than 0"):
        AdaptiveLimiter(**{field: value})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@given(
    st.integers(1, 100),
    st.lists(st.tuples(responses, st.floats(0, 5), st.floats(0, 5), st.floats(0, 1, exclude_max=True)), max_size=80),
)
def test_the_window_stays_within_its_bounds(
    connections: int, answers: list[tuple[Response, float, float, float]]
) -> None:
    """It is at least one request and at most the number of connections."""
    limiter, now = AdaptiveLimiter(connections=connections), 0.0
    for response, latency, gap, jitter in answers:
        now += gap
        record(limiter, response, sent_at=now - latency, now=now, jitter=jitter)
        assert 1 <= limiter.window <= connections
        assert limiter.allows(0)
        assert not limiter.allows(connections)


def test_grows_by_one_per_response_at_first() -> None:
    """This holds until the first failure."""
    limiter = AdaptiveLimiter(connections=64)

    for _ in range(100):
        record(limiter, OK, sent_at=0.0, now=0.1)

    assert limiter.window == 64


def test_halves_once_per_round_trip() -> None:
    """Failures of requests sent before a reduction do not reduce the window again."""
    limiter = AdaptiveLimiter(connections=64)

    for _ in range(8):
        record(limiter, BUSY, sent_at=0.0, now=1.0)
    once = limiter.window, limiter.resume_at
    record(limiter, BUSY, sent_at=1.0, now=2.0)

    assert once == (4, 1.25)
    assert (limiter.window, limiter.resume_at) == (2, 2.5)


def test_grows_by_one_per_round_trip_after_a_failure() -> None:
    """After a failure the window grows slowly."""
    limiter = AdaptiveLimiter(connections=64)
    record(limiter, BUSY, sent_at=0.0, now=1.0)
    before = limiter.window

    for _ in range(4):
        record(limiter, OK, sent_at=1.0, now=1.1)

    assert before == 4
    assert limiter.window == pytest.approx(before + 1, abs=0.15)


def test_shrinks_when_the_vendor_gets_slower() -> None:
    """Rising latency shrinks the window before anything fails."""
    limiter = AdaptiveLimiter(connections=64)
    for _ in range(100):
        record(limiter, OK, sent_at=0.0, now=0.1)

    for moment in range(100):
        record(limiter, OK, sent_at=float(moment), now=moment + 2.0)

    assert limiter.window < 32
    assert limiter.failure is None


def test_a_steadily_slow_vendor_gets_a_full_window() -> None:
    """Slow means slower than at its best."""
    limiter = AdaptiveLimiter(connections=64)

    for moment in range(100):
        record(limiter, OK, sent_at=float(moment), now=moment + 2.0)

    assert limiter.window == 64


@given(st.floats(0, 10_000), st.floats(0, 1, exclude_max=True), st.integers(1, 30))
def test_waits_at_least_as_long_as_the_vendor_asks(seconds: float, jitter: float, failures: int) -> None:
    """Retry-After is honoured in full; the own wait has a maximum."""
    limiter = AdaptiveLimiter(wait_initial=0.5, wait_max=30.0)
    now = 0.0
    for _ in range(failures):
        record(limiter, Response(429, {"retry-after": f"{seconds:.3f}"}), sent_at=now, now=now, jitter=jitter)
        assert limiter.resume_at >= now + seconds - 0.001
        assert limiter.resume_at <= max(now + seconds + 0.001, now + 30.0)
        assert limiter.reserve(now) == limiter.resume_at
        now = limiter.resume_at


def test_a_later_failure_does_not_shorten_a_wait() -> None:
    """The longest wait counts."""
    limiter = AdaptiveLimiter()
    record(limiter, Response(429, {"retry-after": "60"}), sent_at=0.0, now=0.0)
    record(limiter, BUSY, sent_at=0.0, now=1.0)
    record(limiter, OK, sent_at=0.0, now=2.0)

    assert limiter.resume_at == 60.0


def test_the_wait_doubles_with_each_failure() -> None:
    """The wait doubles up to its maximum, with full jitter."""
    limiter, now, waits = AdaptiveLimiter(wait_initial=1.0, wait_max=5.0), 0.0, list[float]()
    for _ in range(5):
        record(limiter, BUSY, sent_at=now, now=now, jitter=0.5)
        waits.append(limiter.resume_at - now)
        now = limiter.resume_at

    assert waits == [0.5, 1.0, 2.0, 2.5, 2.5]


def test_measures_how_long_everything_failed() -> None:
    """The time from the first to the last failure ends with a success."""
    limiter = AdaptiveLimiter()
    for now in (10.0, 15.0, 40.0):
        record(limiter, BUSY, sent_at=now, now=now)
    failing = limiter.failing_since, limiter.failing_for, limiter.failure
    record(limiter, OK, sent_at=41.0, now=41.0)

    assert failing == (10.0, 30.0, BUSY.cause)
    assert (limiter.failing_since, limiter.failing_for, limiter.failure) == (None, 0.0, None)


def record_result(limiter: AdaptiveLimiter, failure: str | None, *, now: float) -> None:
    """Record one successful response with a usable result or with none."""
    record(limiter, OK, sent_at=now, now=now)
    limiter.record_result(failure, now=now, jitter=0.5)


def test_an_unusable_result_is_a_failure() -> None:
    """The window is halved, and the wait doubles, although every response is a success."""
    limiter, now, waits = AdaptiveLimiter(wait_initial=1.0, wait_max=5.0), 0.0, list[float]()
    for _ in range(4):
        record_result(limiter, "a login page", now=now)
        waits.append(limiter.resume_at - now)
        now = limiter.resume_at

    assert waits == [0.5, 1.0, 2.0, 2.5]
    assert (limiter.failing_for, limiter.failure, limiter.window) == (3.5, "a login page", 1.0)


def test_a_usable_result_ends_the_failures() -> None:
    """After an unusable one, a successful response is not enough."""
    limiter = AdaptiveLimiter()
    record_result(limiter, "a login page", now=1.0)
    record(limiter, OK, sent_at=2.0, now=2.0)
    before = limiter.failure
    record_result(limiter, None, now=3.0)
    after = limiter.failure

    assert (before, after, limiter.failing_since) == ("a login page", None, None)


def test_a_failed_response_is_counted_once() -> None:
    """Its result cannot be usable."""
    limiter = AdaptiveLimiter()
    record(limiter, BUSY, sent_at=1.0, now=1.0)
    once = limiter.window, limiter.resume_at
    limiter.record_result(None, now=1.0, jitter=0.5)
    limiter.record_result("HTTP 503", now=1.0, jitter=0.5)

    assert (limiter.window, limiter.resume_at, limiter.failure) == (*once, BUSY.cause)


def test_without_a_quota_slots_are_immediate() -> None:
    """Only Retry-After and the backoff delay them."""
    limiter = AdaptiveLimiter()

    assert [limiter.reserve(5.0) for _ in range(3)] == [5.0, 5.0, 5.0]
    assert not limiter.slot_expired(1.0, 5.0)


@given(
    st.integers(1, 5000),
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.001, 0.01, 0.1, 0.31, 1.0, 7.0, 61.0]), st.integers(1, 40)), max_size=40
    ),
)
def test_no_minute_has_more_slots_than_the_quota(quota: int, calls: list[tuple[float, int]]) -> None:
    """This holds for any calls and any delays between them."""
    limiter, now, slots = AdaptiveLimiter(requests_per_minute=quota), 1000.0, list[float]()
    for delay, count in calls:
        now += delay
        slots += [limiter.reserve(now) for _ in range(count)]

    slots.sort()
    # The first beyond the quota is not in the same minute.
    assert all(later - slot >= 60 for slot, later in zip(slots, slots[quota:], strict=False))


def test_uses_nearly_the_whole_quota() -> None:
    """At least 97 % of the allowed requests are sent."""
    limiter, now, sent = AdaptiveLimiter(requests_per_minute=600), 0.0, 0
    while now < 600:
        now = limiter.reserve(now)
        sent += 1

    assert 0.97 * 6000 < sent <= 6000


def test_a_slot_expires_when_it_is_late() -> None:
    """Late requests would bunch up with those that are in time."""
    limiter = AdaptiveLimiter(requests_per_minute=600)
    slot = limiter.reserve(10.0)

    assert [limiter.slot_expired(slot, slot + late) for late in (0.0, 0.1, 0.3, 30.0)] == [False, False, True, True]
    assert not AdaptiveLimiter().slot_expired(slot, slot + 30.0)


def test_a_slot_expires_after_a_retry_after() -> None:
    """It was reserved before the vendor asked for a pause."""
    limiter = AdaptiveLimiter()
    record(limiter, Response(429, {"retry-after": "5"}), sent_at=0.0, now=0.0)

    assert (limiter.slot_expired(1.0, 1.0), limiter.slot_expired(1.0, 5.0)) == (True, False)


def test_the_clock_may_start_at_zero() -> None:
    """The first request does not wait."""
    assert AdaptiveLimiter(requests_per_minute=1).reserve(0.0) == 0.0


@given(st.floats(0, 60), st.integers(0, 64), st.integers(0, 64))
def test_gathers_for_a_small_share_of_the_latency(latency: float, received: int, in_flight: int) -> None:
    """Law: at most a tenth of the latency and five milliseconds, so that a slow vendor is called as often as before."""
    limiter = AdaptiveLimiter()
    record(limiter, OK, sent_at=100.0, now=100.0 + latency)

    assert 0 <= limiter.gather_time(received=received, in_flight=in_flight) <= min(0.005, latency / 10)


@pytest.mark.parametrize(
    ("latency", "received", "gathers"),
    [(0.048, 1, True), (0.048, 9, True), (0.048, 0, False), (0.048, 16, False), (0.001, 1, False)],
    ids=["one", "few", "none", "many", "a fast vendor"],
)
def test_gathers_when_few_responses_have_arrived(latency: float, received: int, gathers: bool) -> None:  # noqa: FBT001
    """Many need no company, and from a fast vendor more arrive in the meantime."""
    limiter = AdaptiveLimiter()
    record(limiter, OK, sent_at=100.0, now=100.0 + latency)

    assert (limiter.gather_time(received=received, in_flight=64) > 0) == gathers
