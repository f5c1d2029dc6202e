"""The machinery of the stateful tests that compare an adapter and its emulator with a model."""

import contextlib
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, Generic, TypeAlias, TypeVar

import attrs
import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from support.clock import Clock

from replay_identity.adapters import Exchange
from replay_identity.adapters.exchange import T
from replay_identity.emulator import Emulator, Fault, running
from replay_identity.retry import RetryBudget, RetryPolicy
from replay_identity.transport import Attempts, Transport

# Faults that a retry overcomes: the vendor did not apply the request, or applied it and the response was lost.
FAULTS: Final[Mapping[str, Fault]] = {
    "response lost": Fault(drop="after"),
    "response lost three times": Fault(drop="after", times=3),
    "request lost": Fault(drop="before"),
    "429": Fault(status=429, headers={"retry-after": "1"}),
    "500": Fault(status=500),
    "502": Fault(status=502),
    "503 twice": Fault(status=503, times=2),
}

# Fields of users by id.
Users: TypeAlias = Mapping[str, Mapping[str, Any]]
AnEmulator = TypeVar("AnEmulator", bound=Emulator)


def fault_names() -> st.SearchStrategy[str | None]:
    """Return a strategy for the name of a fault, or None for no fault."""
    return st.none() | st.sampled_from(sorted(FAULTS))


@attrs.frozen
class EmulatedVendor(Generic[AnEmulator]):
    """One emulator for all examples, and a transport that retries without waiting until it gets a response."""

    emulator: AnEmulator
    clock: Clock
    url: str
    _transport: Transport

    def run(self, exchange: Exchange[T], fault: str | None = None) -> T:
        """Run *exchange* one second after the previous one, with the fault of this name."""
        self.clock.now += 1
        if fault is not None:
            self.emulator.faults.add(FAULTS[fault])
        try:
            return self._transport.run(exchange)
        finally:
            self.emulator.faults.clear()


@contextlib.contextmanager
def emulated_vendor(make: Callable[[Clock], AnEmulator]) -> Generator[EmulatedVendor[AnEmulator], None, None]:
    """Serve the emulator that *make* returns, with a clock that the test sets."""
    clock = Clock()
    emulator = make(clock)
    attempts = Attempts(RetryPolicy(attempts=1000), budget=RetryBudget(size=1e9), jitter=lambda: 0.0)
    with running(emulator) as server, Transport(attempts=attempts, sleep=lambda _: None) as transport:
        yield EmulatedVendor(emulator, clock, server.url, transport)


def differences(stored: Users, expected: Users) -> list[str]:
    """Return the fields that differ, with both values as JSON, because 43 == 43.0 in Python."""
    fields = sorted({(key, field) for users in (stored, expected) for key, user in users.items() for field in user})
    pairs = [(key, field, _json(stored, key, field), _json(expected, key, field)) for key, field in fields]
    # Cut, because pytest needs minutes to compare long strings.
    return [
        f"{key[:20]} {field}: {left[:200]} is not {right[:200]}" for key, field, left, right in pairs if left != right
    ]


def _json(users: Users, key: str, field: str) -> str:
    return orjson.dumps(users.get(key, {}).get(field), option=orjson.OPT_SORT_KEYS).decode()


def run_machine(make: Callable[[], RuleBasedStateMachine]) -> None:
    """Run the machine that *make* returns, 15 steps in each example of the profile."""
    # Shrinking a failure over HTTP is slow, so one failure is enough.
    short = settings(stateful_step_count=15, report_multiple_bugs=False)
    # Its docstring allows a function, too.
    run_state_machine_as_test(make, settings=short)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
