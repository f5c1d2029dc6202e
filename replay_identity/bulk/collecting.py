"""Python's search for circles of garbage, which costs a bulk run a quarter of its time and finds nothing."""

import gc
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

# New objects between two searches, and of how many searches one goes further and one all the way.
_RARELY: Final = (100_000, 20, 50)


@contextmanager
def rare_collections() -> Generator[None]:
    """Search for garbage rarely: users come and go by the million, and none of them is part of a circle."""
    before = gc.get_threshold()
    if before[0]:  # Else it is switched off.
        gc.set_threshold(*_RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)
