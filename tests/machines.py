"""What the stateful tests of the adapters against their emulators share."""

from collections.abc import Callable
from typing import Final

import attrs
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from replay_identity.emulator import Fault
from replay_identity.retry import RetryBudget, RetryPolicy
from replay_identity.transport import Attempts, Transport

# Nothing, or what is worth another try: the vendor did not act, or it did and its answer was lost, once or thrice.
MISHAPS: Final = (
    None,
    None,
    None,
    Fault(drop="after"),
    Fault(drop="after", times=3),
    Fault(drop="before"),
    Fault(status=429, headers={"retry-after": "1"}),
    Fault(status=500),
    Fault(status=502),
    Fault(status=503, times=2),
)


@attrs.define
class Clock:
    """A clock that goes when told to."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now


def stubborn_transport() -> Transport:
    """Return a transport that tries until it is answered, and never waits."""
    attempts = Attempts(RetryPolicy(attempts=1000), budget=RetryBudget(size=1e9), jitter=lambda: 0.0)
    return Transport(attempts=attempts, sleep=lambda _: None)


def run_machine(make: Callable[[], RuleBasedStateMachine]) -> None:
    """Run machines that *make* returns, as many as 60 unless the profile says fewer, each for 15 steps."""
    few = settings(max_examples=min(60, settings().max_examples), stateful_step_count=15)
    # Its docstring says that a function will do, too.
    run_state_machine_as_test(make, settings=few)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
