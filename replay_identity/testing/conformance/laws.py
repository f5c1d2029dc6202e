"""Laws that hold for all that a strategy draws."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy


def for_all(*strategies: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return what makes a law a test of many examples, as many as the author's own Hypothesis profile asks for.

    It may take its time, since a slow machine is no fault of the adapter's.
    """

    def tested(law: Callable[..., None]) -> Callable[..., None]:
        return settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])(given(*strategies)(law))

    return tested
