"""How many requests at once and how soon the next one, by law."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity.adapters.exchange import NoResponse, Response
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


def answered(limiter: AdaptiveLimiter, response: Response, *, sent_at: float, now: float, jitter: float = 0.5) -> None:
    """Answer one request."""
    limiter.record_response(response, is_failure=response.is_retryable, sent_at=sent_at, now=now, jitter=jitter)


def test_begins_with_a_few_requests() -> None:
    """Nobody knows yet what the vendor bears."""
    assert (AdaptiveLimiter(connections=64).window, AdaptiveLimiter(connections=3).window) == (8, 3)


@pytest.mark.parametrize("field", ["connections", "requests_per_minute"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_needs_something_to_go_by(field: str, value: float) -> None:
    """None, and less than none, is a mistake."""
    with pytest.raises(ConfigurationError, match="expected a number greater than 0"):
        AdaptiveLimiter(**{field: value})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@given(
    st.integers(1, 100),
    st.lists(st.tuples(responses, st.floats(0, 5), st.floats(0, 5), st.floats(0, 1, exclude_max=True)), max_size=80),
)
def test_the_window_stays_within_its_bounds(
    connections: int, answers: list[tuple[Response, float, float, float]]
) -> None:
    """From one request to as many as there are connections; and it is never closed."""
    limiter, now = AdaptiveLimiter(connections=connections), 0.0
    for response, latency, gap, jitter in answers:
        now += gap
        answered(limiter, response, sent_at=now - latency, now=now, jitter=jitter)
        assert 1 <= limiter.window <= connections
        assert limiter.allows(0)
        assert not limiter.allows(connections)


def test_opens_by_one_for_each_answer_at_first() -> None:
    """Until the vendor says that it is enough."""
    limiter = AdaptiveLimiter(connections=64)

    for _ in range(100):
        answered(limiter, OK, sent_at=0.0, now=0.1)

    assert limiter.window == 64


def test_halves_once_for_all_that_was_sent_before() -> None:
    """Failures of one round trip are one piece of news."""
    limiter = AdaptiveLimiter(connections=64)

    for _ in range(8):
        answered(limiter, BUSY, sent_at=0.0, now=1.0)
    once = limiter.window, limiter.failures
    answered(limiter, BUSY, sent_at=1.0, now=2.0)

    assert once == (4, 1)
    assert (limiter.window, limiter.failures) == (2, 2)


def test_recovers_by_one_for_each_round_trip() -> None:
    """After a failure it opens slowly."""
    limiter = AdaptiveLimiter(connections=64)
    answered(limiter, BUSY, sent_at=0.0, now=1.0)
    before = limiter.window

    for _ in range(4):
        answered(limiter, OK, sent_at=1.0, now=1.1)

    assert before == 4
    assert limiter.window == pytest.approx(before + 1, abs=0.15)


def test_slows_down_for_a_vendor_that_becomes_slow() -> None:
    """Before it has to refuse anything."""
    limiter = AdaptiveLimiter(connections=64)
    for _ in range(100):
        answered(limiter, OK, sent_at=0.0, now=0.1)

    for moment in range(100):
        answered(limiter, OK, sent_at=float(moment), now=moment + 2.0)

    assert limiter.window < 32
    assert limiter.failure is None


def test_a_vendor_that_was_always_slow_is_not_slowed_down_for() -> None:
    """Slow is slower than at best."""
    limiter = AdaptiveLimiter(connections=64)

    for moment in range(100):
        answered(limiter, OK, sent_at=float(moment), now=moment + 2.0)

    assert limiter.window == 64


@given(st.floats(0, 10_000), st.floats(0, 1, exclude_max=True), st.integers(1, 30))
def test_waits_at_least_as_long_as_the_vendor_asks(seconds: float, jitter: float, failures: int) -> None:
    """However long; its own waits have an end."""
    limiter = AdaptiveLimiter(wait_initial=0.5, wait_max=30.0)
    now = 0.0
    for _ in range(failures):
        answered(limiter, Response(429, {"retry-after": f"{seconds:.3f}"}), sent_at=now, now=now, jitter=jitter)
        assert limiter.resume_at >= now + seconds - 0.001
        assert limiter.resume_at <= max(now + seconds + 0.001, now + 30.0)
        assert limiter.reserve(now) == limiter.resume_at
        now = limiter.resume_at


def test_a_later_failure_does_not_shorten_a_wait() -> None:
    """The longest wish counts."""
    limiter = AdaptiveLimiter()
    answered(limiter, Response(429, {"retry-after": "60"}), sent_at=0.0, now=0.0)
    answered(limiter, BUSY, sent_at=0.0, now=1.0)
    answered(limiter, OK, sent_at=0.0, now=2.0)

    assert limiter.resume_at == 60.0


def test_waits_longer_with_each_failure() -> None:
    """Twice as long each time, up to a limit, with full jitter."""
    limiter, now, waits = AdaptiveLimiter(wait_initial=1.0, wait_max=5.0), 0.0, list[float]()
    for _ in range(5):
        answered(limiter, BUSY, sent_at=now, now=now, jitter=0.5)
        waits.append(limiter.resume_at - now)
        now = limiter.resume_at

    assert waits == [0.5, 1.0, 2.0, 2.5, 2.5]


def test_knows_for_how_long_there_were_only_failures() -> None:
    """From the first to the last; a success ends it."""
    limiter = AdaptiveLimiter()
    for now in (10.0, 15.0, 40.0):
        answered(limiter, BUSY, sent_at=now, now=now)
    failing = limiter.failing_since, limiter.failing_for, limiter.failure
    answered(limiter, OK, sent_at=41.0, now=41.0)

    assert failing == (10.0, 30.0, BUSY)
    assert (limiter.failing_since, limiter.failing_for, limiter.failure, limiter.failures) == (None, 0.0, None, 0)


def test_without_a_quota_a_slot_is_now() -> None:
    """Unless the vendor asked for a break."""
    limiter = AdaptiveLimiter()

    assert [limiter.reserve(5.0) for _ in range(3)] == [5.0, 5.0, 5.0]
    assert not limiter.slot_expired(1.0, 5.0)


@given(
    st.integers(1, 5000),
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.001, 0.01, 0.1, 0.31, 1.0, 7.0, 61.0]), st.integers(1, 40)), max_size=40
    ),
)
def test_gives_no_more_slots_than_the_quota_in_any_minute(quota: int, calls: list[tuple[float, int]]) -> None:
    """Whatever the calls and the delays between them."""
    limiter, now, slots = AdaptiveLimiter(requests_per_minute=quota), 1000.0, list[float]()
    for delay, count in calls:
        now += delay
        slots += [limiter.reserve(now) for _ in range(count)]

    slots.sort()
    # The first beyond the quota is not in the same minute.
    assert all(later - slot >= 60 for slot, later in zip(slots, slots[quota:], strict=False))


def test_a_quota_is_used_well() -> None:
    """Nearly as many requests as it allows."""
    limiter, now, sent = AdaptiveLimiter(requests_per_minute=600), 0.0, 0
    while now < 600:
        now = limiter.reserve(now)
        sent += 1

    assert 0.97 * 6000 < sent <= 6000


def test_a_slot_is_gone_when_it_is_too_late_for_it() -> None:
    """Requests that leave late would bunch up with those that leave in time."""
    limiter = AdaptiveLimiter(requests_per_minute=600)
    slot = limiter.reserve(10.0)

    assert [limiter.slot_expired(slot, slot + late) for late in (0.0, 0.1, 0.3, 30.0)] == [False, False, True, True]
    assert not AdaptiveLimiter().slot_expired(slot, slot + 30.0)


def test_a_slot_is_gone_when_the_vendor_asks_for_a_break() -> None:
    """It was taken before the news."""
    limiter = AdaptiveLimiter()
    answered(limiter, Response(429, {"retry-after": "5"}), sent_at=0.0, now=0.0)

    assert (limiter.slot_expired(1.0, 1.0), limiter.slot_expired(1.0, 5.0)) == (True, False)


def test_the_callers_clock_may_begin_at_zero() -> None:
    """The first request need not wait."""
    assert AdaptiveLimiter(requests_per_minute=1).reserve(0.0) == 0.0
