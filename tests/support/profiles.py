"""How much work a slow test does: a part by default, all of it in the nightly profile of Hypothesis."""

from hypothesis import settings


def is_nightly() -> bool:
    """Return True in a profile with more than 100 examples."""
    return settings().max_examples > 100


def examples(nightly_count: int) -> int:
    """Return the number of examples for a test that runs *nightly_count* of them in the nightly profile."""
    return nightly_count if is_nightly() else max(5, nightly_count // 4)
