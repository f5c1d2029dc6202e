"""What the stateful tests of the adapters against their emulators share."""

import contextlib
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, Generic, TypeAlias, TypeVar

import attrs
import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from replay_identity.adapters.exchange import Exchange, T
from replay_identity.emulator import Emulator, Fault, running
from replay_identity.retry import RetryBudget, RetryPolicy
from replay_identity.transport import Attempts, Transport

# What is worth another try: the vendor did not act, or it did and its answer was lost.
MISHAPS: Final[Mapping[str, Fault]] = {
    "answer lost": Fault(drop="after"),
    "answer lost thrice": Fault(drop="after", times=3),
    "request lost": Fault(drop="before"),
    "too many": Fault(status=429, headers={"retry-after": "1"}),
    "500": Fault(status=500),
    "502": Fault(status=502),
    "503 twice": Fault(status=503, times=2),
}

# Fields of users by their ids.
Users: TypeAlias = Mapping[str, Mapping[str, Any]]
AnEmulator = TypeVar("AnEmulator", bound=Emulator)


def mishaps() -> st.SearchStrategy[str | None]:
    """Return what goes wrong on the way, mostly nothing."""
    return st.none() | st.sampled_from(sorted(MISHAPS))


@attrs.define
class Clock:
    """A clock that goes when told to."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now


@attrs.frozen
class World(Generic[AnEmulator]):
    """One vendor for all examples, and a way to ask it that tries until it is answered, and never waits."""

    emulator: AnEmulator
    clock: Clock
    url: str
    _transport: Transport

    def ask(self, exchange: Exchange[T], mishap: str | None = None) -> T:
        """Run an exchange, a second after the one before, while something goes wrong on the way."""
        self.clock.now += 1
        if mishap is not None:
            self.emulator.faults.add(MISHAPS[mishap])
        try:
            return self._transport.run(exchange)
        finally:
            self.emulator.faults.clear()


@contextlib.contextmanager
def serving(make: Callable[[Clock], AnEmulator]) -> Generator[World[AnEmulator], None, None]:
    """Serve the vendor that *make* makes with a clock."""
    clock = Clock()
    emulator = make(clock)
    attempts = Attempts(RetryPolicy(attempts=1000), budget=RetryBudget(size=1e9), jitter=lambda: 0.0)
    with running(emulator) as server, Transport(attempts=attempts, sleep=lambda _: None) as transport:
        yield World(emulator, clock, server.url, transport)


def differences(held: Users, wanted: Users) -> list[str]:
    """Return which fields of which users differ, and how; as JSON, in which 43 is not 43.0."""
    fields = sorted({(key, field) for users in (held, wanted) for key, user in users.items() for field in user})
    found = [(key, field, _json(held, key, field), _json(wanted, key, field)) for key, field in fields]
    # Cut, since pytest would compare long texts for minutes.
    return [
        f"{key[:20]} {field}: {ours[:200]} is not {theirs[:200]}"
        for key, field, ours, theirs in found
        if ours != theirs
    ]


def _json(users: Users, key: str, field: str) -> str:
    return orjson.dumps(users.get(key, {}).get(field), option=orjson.OPT_SORT_KEYS).decode()


def run_machine(make: Callable[[], RuleBasedStateMachine]) -> None:
    """Run as many machines that *make* returns as the profile says, each for 15 steps."""
    # To shrink one failure over HTTP takes long enough.
    short = settings(stateful_step_count=15, report_multiple_bugs=False)
    # Its docstring says that a function will do, too.
    run_state_machine_as_test(make, settings=short)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
