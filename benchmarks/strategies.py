"""How many examples a second the testing kit's strategies draw, each in turn with Hypothesis's own integers."""

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
    "valid_users(Fullstory's)": valid_users(FULLSTORY),
    "valid_users(LogRocket's)": valid_users(LOGROCKET),
    "users_at(Fullstory's)": users_at(FULLSTORY),
    "users_over(LogRocket's)": users_over(LOGROCKET),
    "replies()": responses(),
    "identity_files()": identity_files(),
}


def drawn_per_second(strategy: st.SearchStrategy[Any]) -> float:
    """Return how many examples of *strategy* are drawn in a second of this process; there may be few different ones."""
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
        """Count it."""
        next(drawn)

    begun = time.process_time()
    draw()
    return next(drawn) / (time.process_time() - begun)


def strategies() -> Table:
    """Measure all."""
    rows: list[dict[str, Cell]] = []
    for name, strategy in STRATEGIES.items():
        drawn_per_second(strategy)  # What is made once is made here.
        pairs = [(drawn_per_second(strategy), drawn_per_second(st.integers())) for _ in range(ROUNDS)]
        rows.append(
            {
                "strategy": name,
                "examples/s": spread([ours for ours, _ in pairs]),
                "target": TARGET,
                "of integers()": spread([ours / integers for ours, integers in pairs]),
            }
        )
    note = (
        f"{ROUNDS} rounds of {EXAMPLES:,} examples, in seconds of the process; each round beside one of st.integers()."
    )
    return Table(name="strategies", title="Examples of the testing kit", rows=rows, note=note)
