"""How many examples a second the strategies of the testing kit draw, compared with Hypothesis's own integers."""

import time
from collections.abc import Mapping
from itertools import count
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.tables import Cell, Table, spread
from replay_identity import Fullstory, LogRocket
from replay_identity.testing import identity_files, responses, user_traits, users_at, users_over, valid_users

ROUNDS: Final = 5
EXAMPLES: Final = 1000
TARGET: Final = 1000
FULLSTORY: Final = Fullstory("na1.benchmark").limits
LOGROCKET: Final = LogRocket("org:app:benchmark").limits
STRATEGIES: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "user_traits()": user_traits(),
    "valid_users() for Fullstory": valid_users(FULLSTORY),
    "valid_users() for LogRocket": valid_users(LOGROCKET),
    "users_at() for Fullstory": users_at(FULLSTORY),
    "users_over() for LogRocket": users_over(LOGROCKET),
    "responses()": responses(),
    "identity_files()": identity_files(),
}


_RATIOS: Final[Mapping[str, str | None]] = {"time x integers()": None}


def strategies() -> Table:
    """Measure every strategy."""
    rows: list[dict[str, Cell]] = []
    for name, strategy in STRATEGIES.items():
        examples_per_second(strategy)  # Warms the caches of the strategy.
        pairs = [(examples_per_second(strategy), examples_per_second(st.integers())) for _ in range(ROUNDS)]
        rows.append(
            {
                "strategy": name,
                "examples/s": spread([rate for rate, _ in pairs]),
                "target": TARGET,
                "time x integers()": spread([integers / rate for rate, integers in pairs]),
            }
        )
    note = f"{ROUNDS} rounds of {EXAMPLES:,} examples, alternating with st.integers(). Seconds are CPU time."
    return Table(name="strategies", title="Strategies of the testing kit", rows=rows, note=note, ratios=_RATIOS)


def examples_per_second(strategy: st.SearchStrategy[Any]) -> float:
    """Return how many examples of *strategy* are drawn per second of CPU time, repeated ones included."""
    drawn = count()

    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(strategy)
    def draw(_: object) -> None:
        """Count one example."""
        next(drawn)

    started = time.process_time()
    draw()
    return next(drawn) / (time.process_time() - started)
