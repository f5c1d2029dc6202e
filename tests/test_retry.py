import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from replay_identity import ConfigurationError, RetryPolicy
from replay_identity.retry import Backoff, RetryBudget

seconds = st.floats(0.001, 1e6)
policies = st.builds(RetryPolicy, attempts=st.integers(1, 50), wait_initial=seconds, wait_max=seconds, total=seconds)
jitters = st.floats(0, 1, exclude_max=True)


def test_waits_double_up_to_the_maximum() -> None:
    """With a jitter of one half, they are half of 0.5, 1, 2, 4 ... seconds, and of at most 30."""
    policy = RetryPolicy(attempts=100)

    waits = [policy.delay(attempt, retry_after=None, jitter=0.5) for attempt in (1, 2, 3, 4, 7, 8, 99)]

    assert waits == [0.25, 0.5, 1.0, 2.0, 15.0, 15.0, 15.0]


@given(policy=policies, attempt=st.integers(1, 10_000), jitter=jitters)
def test_a_wait_is_within_its_bounds(policy: RetryPolicy, attempt: int, jitter: float) -> None:
    """It is between zero and the maximum, and None only if no attempt is left."""
    wait = policy.delay(attempt, retry_after=None, jitter=jitter)

    assert (wait is None) == (attempt >= policy.attempts)
    assert wait is None or 0 <= wait <= policy.wait_max


@given(policy=policies, attempt=st.integers(1, 49), jitter=jitters, asked=st.floats(0, 1e7))
def test_retry_after_is_a_minimum(policy: RetryPolicy, attempt: int, jitter: float, asked: float) -> None:
    """If the vendor asks for more than the maximum, there is no retry."""
    assume(attempt < policy.attempts)

    wait = policy.delay(attempt, retry_after=asked, jitter=jitter)

    assert (wait is None) == (asked > policy.wait_max)
    assert wait is None or asked <= wait <= policy.wait_max


@given(policy=policies, attempt=st.integers(1, 49))
def test_jitter_scales_the_wait(policy: RetryPolicy, attempt: int) -> None:
    """Workers that failed together do not return together."""
    assume(attempt < policy.attempts)

    none = policy.delay(attempt, retry_after=None, jitter=0.0)
    half = policy.delay(attempt, retry_after=None, jitter=0.5)

    assert none == 0
    assert half == min(policy.wait_max, policy.wait_initial * 2.0 ** (attempt - 1)) / 2


def test_defaults_match_the_reference() -> None:
    """See docs/reference/routers-and-backends.md."""
    assert RetryPolicy() == RetryPolicy(attempts=5, wait_initial=0.5, wait_max=30.0, total=120.0)
    assert RetryBudget() == RetryBudget(size=20.0, deposit=0.1)


def test_one_attempt_is_never_retried() -> None:
    """A policy of one attempt has no retries."""
    assert RetryPolicy(attempts=1).delay(1, retry_after=0, jitter=0.5) is None


@pytest.mark.parametrize("setting", ["attempts", "wait_initial", "wait_max", "total"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_rejects_settings_of_zero_or_less(setting: str, value: float) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigurationError) as caught:
        RetryPolicy(**{setting: value})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    assert caught.value.setting == setting
    assert caught.value.problem == "expected a number greater than 0"


def test_a_full_budget_allows_its_size() -> None:
    """One more retry is refused."""
    budget = RetryBudget(size=3)

    assert [budget.take() for _ in range(5)] == [True, True, True, False, False]


def test_deposits_add_up_to_a_retry() -> None:
    """An outage does not multiply the load."""
    budget = RetryBudget(size=1, deposit=0.125)
    budget.take()

    paid: list[bool] = []
    for _ in range(17):
        budget.refill()
        paid.append(budget.take())

    assert paid.count(True) == 2


@given(steps=st.lists(st.booleans(), max_size=200))
def test_retries_never_exceed_the_deposits(steps: list[bool]) -> None:
    """This holds for any order of requests and retries."""
    budget = RetryBudget()
    requests = retries = 0

    for is_request in steps:
        if is_request:
            budget.refill()
            requests += 1
        else:
            retries += budget.take()

    assert retries <= 20 + requests * 0.1 + 1e-9


def test_a_budget_does_not_exceed_its_size() -> None:
    """Any number of requests may succeed."""
    budget = RetryBudget(size=2)
    for _ in range(1000):
        budget.refill()

    assert [budget.take() for _ in range(3)] == [True, True, False]


def test_a_backoff_doubles_until_it_is_reset() -> None:
    """No delay is longer than the maximum, not even the first."""
    backoff = Backoff(1.0, 5.0)

    delays = [backoff.next() for _ in range(5)]
    backoff.reset()

    assert delays == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert backoff.next() == 1.0
    assert Backoff(7.0, 5.0).next() == 5.0
