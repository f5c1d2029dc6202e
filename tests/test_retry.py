import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from replay_identity import ConfigurationError, RetryPolicy
from replay_identity.retry import RetryBudget

seconds = st.floats(0.001, 1e6)
policies = st.builds(RetryPolicy, attempts=st.integers(1, 50), wait_initial=seconds, wait_max=seconds, total=seconds)
jitters = st.floats(0, 1, exclude_max=True)


def test_the_waits_double_up_to_the_most() -> None:
    """With the die at one half, half of 0.5, 1, 2, 4 ... seconds, and never half of more than 30."""
    policy = RetryPolicy(attempts=100)

    waits = [policy.delay(attempt, retry_after=None, jitter=0.5) for attempt in (1, 2, 3, 4, 7, 8, 99)]

    assert waits == [0.25, 0.5, 1.0, 2.0, 15.0, 15.0, 15.0]


@given(policy=policies, attempt=st.integers(1, 10_000), jitter=jitters)
def test_a_wait_is_within_its_bounds(policy: RetryPolicy, attempt: int, jitter: float) -> None:
    """Between nothing and the most allowed, and None exactly when the attempts are used up."""
    wait = policy.delay(attempt, retry_after=None, jitter=jitter)

    assert (wait is None) == (attempt >= policy.attempts)
    assert wait is None or 0 <= wait <= policy.wait_max


@given(policy=policies, attempt=st.integers(1, 49), jitter=jitters, asked=st.floats(0, 1e7))
def test_what_the_vendor_asks_for_is_a_minimum(policy: RetryPolicy, attempt: int, jitter: float, asked: float) -> None:
    """We come back later or not at all, and not at all exactly when asked for more than the most allowed."""
    assume(attempt < policy.attempts)

    wait = policy.delay(attempt, retry_after=asked, jitter=jitter)

    assert (wait is None) == (asked > policy.wait_max)
    assert wait is None or asked <= wait <= policy.wait_max


@given(policy=policies, attempt=st.integers(1, 49))
def test_the_die_decides_how_much_of_the_bound_is_waited(policy: RetryPolicy, attempt: int) -> None:
    """Nothing at zero, half of it at one half: workers that failed together do not return together."""
    assume(attempt < policy.attempts)

    none = policy.delay(attempt, retry_after=None, jitter=0.0)
    half = policy.delay(attempt, retry_after=None, jitter=0.5)

    assert none == 0
    assert half == min(policy.wait_max, policy.wait_initial * 2.0 ** (attempt - 1)) / 2


def test_the_defaults_are_those_of_the_reference() -> None:
    """Five attempts, half a second to half a minute between them, two minutes in all; twenty retries in the purse."""
    assert RetryPolicy() == RetryPolicy(attempts=5, wait_initial=0.5, wait_max=30.0, total=120.0)
    assert RetryBudget() == RetryBudget(size=20.0, deposit=0.1)


def test_one_attempt_is_never_followed_by_another() -> None:
    """A policy of one attempt does not retry."""
    assert RetryPolicy(attempts=1).delay(1, retry_after=0, jitter=0.5) is None


@pytest.mark.parametrize("setting", ["attempts", "wait_initial", "wait_max", "total"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_setting_that_is_not_above_zero_is_refused(setting: str, value: float) -> None:
    """By its name."""
    with pytest.raises(ConfigurationError) as caught:
        RetryPolicy(**{setting: value})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    assert caught.value.setting == setting
    assert caught.value.problem == "expected a number greater than 0"


def test_a_full_purse_pays_its_size() -> None:
    """And no more."""
    budget = RetryBudget(size=3)

    assert [budget.take() for _ in range(5)] == [True, True, True, False, False]


def test_ten_requests_pay_for_one_retry() -> None:
    """That is how an outage does not multiply the load."""
    budget = RetryBudget(size=1, deposit=0.125)
    budget.take()

    paid: list[bool] = []
    for _ in range(17):
        budget.refill()
        paid.append(budget.take())

    assert paid.count(True) == 2


@given(steps=st.lists(st.booleans(), max_size=200))
def test_retries_never_exceed_the_purse_and_its_deposits(steps: list[bool]) -> None:
    """Whatever the order of requests and retries."""
    budget = RetryBudget()
    requests = retries = 0

    for is_request in steps:
        if is_request:
            budget.refill()
            requests += 1
        else:
            retries += budget.take()

    assert retries <= 20 + requests * 0.1 + 1e-9


def test_a_purse_does_not_grow_beyond_its_size() -> None:
    """A quiet year does not pay for a storm."""
    budget = RetryBudget(size=2)
    for _ in range(1000):
        budget.refill()

    assert [budget.take() for _ in range(3)] == [True, True, False]
