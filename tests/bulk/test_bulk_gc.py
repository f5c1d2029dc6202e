"""Thresholds of the garbage collector during a run."""

import gc
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from replay_identity.bulk.run import relaxed_gc


@pytest.fixture(autouse=True)
def fixed_thresholds() -> Iterator[None]:
    """Restore the thresholds of the test process."""
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


def test_relaxes_and_restores_thresholds() -> None:
    """An application's own thresholds come back."""
    with relaxed_gc():
        during = gc.get_threshold()

    assert during[0] > 700
    assert gc.get_threshold() == (700, 10, 10)


def test_overlapping_runs_restore_thresholds() -> None:
    """The first run to start may be the first to end."""
    first, second = ExitStack(), ExitStack()
    first.enter_context(relaxed_gc())
    second.enter_context(relaxed_gc())

    first.close()
    between = gc.get_threshold()
    second.close()

    assert between[0] > 700
    assert gc.get_threshold() == (700, 10, 10)


def test_keeps_a_disabled_collector_disabled() -> None:
    """An application that disabled it had its reasons."""
    gc.set_threshold(0, 10, 10)

    with relaxed_gc():
        assert gc.get_threshold()[0] == 0
