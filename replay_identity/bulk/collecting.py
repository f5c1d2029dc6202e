"""Python's search for circles of garbage, which costs a bulk run a quarter of its time and finds nothing."""

import gc
from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock
from typing import Final

# New objects between two searches, and of how many searches one goes further and one all the way.
_RARELY: Final = (100_000, 20, 50)

_lock: Final = Lock()
# What was set before the first of the runs that are under way, one entry for each run.
_before: Final[list[tuple[int, int, int]]] = []


@contextmanager
def rare_collections() -> Generator[None]:
    """Search for garbage rarely: users come and go by the million, and none of them is part of a circle."""
    with _lock:
        _before.append(_before[0] if _before else gc.get_threshold())
        if gc.get_threshold()[0]:  # Else it is switched off.
            gc.set_threshold(*_RARELY)
    try:
        yield
    finally:
        with _lock:
            before = _before.pop()
            if not _before:
                gc.set_threshold(*before)
