"""How many requests at once and how soon the next one, by law."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity.adapters.exchange import Lost, Reply
from replay_identity.errors import ConfigurationError
from replay_identity.transport.rate_limiter import Pace

OK = Reply(200)
BUSY = Reply(429)

replies = st.sampled_from(
    [OK, OK, OK, BUSY, Reply(503), Reply(0, lost=Lost.TIMED_OUT), Reply(400), Reply(429, {"retry-after": "7"})]
)


def answered(pace: Pace, reply: Reply, *, sent_at: float, now: float, jitter: float = 0.5) -> None:
    """Answer one request."""
    pace.answered(reply, is_failure=reply.is_retryable, sent_at=sent_at, now=now, jitter=jitter)


def test_begins_with_a_few_requests() -> None:
    """Nobody knows yet what the vendor bears."""
    assert (Pace(connections=64).window, Pace(connections=3).window) == (8, 3)


@pytest.mark.parametrize("field", ["connections", "requests_per_minute"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_needs_something_to_go_by(field: str, value: float) -> None:
    """None, and less than none, is a mistake."""
    with pytest.raises(ConfigurationError, match="must be greater than 0"):
        Pace(**{field: value})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@given(
    st.integers(1, 100),
    st.lists(st.tuples(replies, st.floats(0, 5), st.floats(0, 5), st.floats(0, 1, exclude_max=True)), max_size=80),
)
def test_the_window_stays_within_its_bounds(connections: int, answers: list[tuple[Reply, float, float, float]]) -> None:
    """From one request to as many as there are connections; and it is never closed."""
    pace, now = Pace(connections=connections), 0.0
    for reply, latency, gap, jitter in answers:
        now += gap
        answered(pace, reply, sent_at=now - latency, now=now, jitter=jitter)
        assert 1 <= pace.window <= connections
        assert pace.has_room(0)
        assert not pace.has_room(connections)


def test_opens_by_one_for_each_answer_at_first() -> None:
    """Until the vendor says that it is enough."""
    pace = Pace(connections=64)

    for _ in range(100):
        answered(pace, OK, sent_at=0.0, now=0.1)

    assert pace.window == 64


def test_halves_once_for_all_that_was_sent_before() -> None:
    """Failures of one round trip are one piece of news."""
    pace = Pace(connections=64)

    for _ in range(8):
        answered(pace, BUSY, sent_at=0.0, now=1.0)
    once = pace.window, pace.failures
    answered(pace, BUSY, sent_at=1.0, now=2.0)

    assert once == (4, 1)
    assert (pace.window, pace.failures) == (2, 2)


def test_recovers_by_one_for_each_round_trip() -> None:
    """After a failure it opens slowly."""
    pace = Pace(connections=64)
    answered(pace, BUSY, sent_at=0.0, now=1.0)
    before = pace.window

    for _ in range(4):
        answered(pace, OK, sent_at=1.0, now=1.1)

    assert before == 4
    assert pace.window == pytest.approx(before + 1, abs=0.15)


def test_slows_down_for_a_vendor_that_becomes_slow() -> None:
    """Before it has to refuse anything."""
    pace = Pace(connections=64)
    for _ in range(100):
        answered(pace, OK, sent_at=0.0, now=0.1)

    for moment in range(100):
        answered(pace, OK, sent_at=float(moment), now=moment + 2.0)

    assert pace.window < 32
    assert pace.failure is None


def test_a_vendor_that_was_always_slow_is_not_slowed_down_for() -> None:
    """Slow is slower than at best."""
    pace = Pace(connections=64)

    for moment in range(100):
        answered(pace, OK, sent_at=float(moment), now=moment + 2.0)

    assert pace.window == 64


@given(st.floats(0, 10_000), st.floats(0, 1, exclude_max=True), st.integers(1, 30))
def test_waits_at_least_as_long_as_the_vendor_asks(seconds: float, jitter: float, failures: int) -> None:
    """However long; its own waits have an end."""
    pace = Pace(wait_initial=0.5, wait_max=30.0)
    now = 0.0
    for _ in range(failures):
        answered(pace, Reply(429, {"retry-after": f"{seconds:.3f}"}), sent_at=now, now=now, jitter=jitter)
        assert pace.resume_at >= now + seconds - 0.001
        assert pace.resume_at <= max(now + seconds + 0.001, now + 30.0)
        assert pace.take_slot(now) == pace.resume_at
        now = pace.resume_at


def test_a_later_failure_does_not_shorten_a_wait() -> None:
    """The longest wish counts."""
    pace = Pace()
    answered(pace, Reply(429, {"retry-after": "60"}), sent_at=0.0, now=0.0)
    answered(pace, BUSY, sent_at=0.0, now=1.0)
    answered(pace, OK, sent_at=0.0, now=2.0)

    assert pace.resume_at == 60.0


def test_waits_longer_with_each_failure() -> None:
    """Twice as long each time, up to a limit, with full jitter."""
    pace, now, waits = Pace(wait_initial=1.0, wait_max=5.0), 0.0, list[float]()
    for _ in range(5):
        answered(pace, BUSY, sent_at=now, now=now, jitter=0.5)
        waits.append(pace.resume_at - now)
        now = pace.resume_at

    assert waits == [0.5, 1.0, 2.0, 2.5, 2.5]


def test_knows_for_how_long_there_were_only_failures() -> None:
    """From the first to the last; a success ends it."""
    pace = Pace()
    for now in (10.0, 15.0, 40.0):
        answered(pace, BUSY, sent_at=now, now=now)
    failing = pace.failing_since, pace.failing_for, pace.failure
    answered(pace, OK, sent_at=41.0, now=41.0)

    assert failing == (10.0, 30.0, BUSY)
    assert (pace.failing_since, pace.failing_for, pace.failure, pace.failures) == (None, 0.0, None, 0)


def test_without_a_quota_a_slot_is_now() -> None:
    """Unless the vendor asked for a break."""
    pace = Pace()

    assert [pace.take_slot(5.0) for _ in range(3)] == [5.0, 5.0, 5.0]
    assert not pace.has_missed(1.0, 5.0)


@given(
    st.integers(1, 5000),
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.001, 0.01, 0.1, 0.31, 1.0, 7.0, 61.0]), st.integers(1, 40)), max_size=40
    ),
)
def test_gives_no_more_slots_than_the_quota_in_any_minute(quota: int, calls: list[tuple[float, int]]) -> None:
    """Whatever the calls and the delays between them."""
    pace, now, slots = Pace(requests_per_minute=quota), 1000.0, list[float]()
    for delay, count in calls:
        now += delay
        slots += [pace.take_slot(now) for _ in range(count)]

    slots.sort()
    # The first beyond the quota is not in the same minute.
    assert all(later - slot >= 60 for slot, later in zip(slots, slots[quota:], strict=False))


def test_a_quota_is_used_well() -> None:
    """Nearly as many requests as it allows."""
    pace, now, sent = Pace(requests_per_minute=600), 0.0, 0
    while now < 600:
        now = pace.take_slot(now)
        sent += 1

    assert 0.97 * 6000 < sent <= 6000


def test_a_slot_is_gone_when_it_is_too_late_for_it() -> None:
    """Requests that leave late would bunch up with those that leave in time."""
    pace = Pace(requests_per_minute=600)
    slot = pace.take_slot(10.0)

    assert [pace.has_missed(slot, slot + late) for late in (0.0, 0.1, 0.3, 30.0)] == [False, False, True, True]
    assert not Pace().has_missed(slot, slot + 30.0)


def test_a_slot_is_gone_when_the_vendor_asks_for_a_break() -> None:
    """It was taken before the news."""
    pace = Pace()
    answered(pace, Reply(429, {"retry-after": "5"}), sent_at=0.0, now=0.0)

    assert (pace.has_missed(1.0, 1.0), pace.has_missed(1.0, 5.0)) == (True, False)


def test_the_callers_clock_may_begin_at_zero() -> None:
    """The first request need not wait."""
    assert Pace(requests_per_minute=1).take_slot(0.0) == 0.0
