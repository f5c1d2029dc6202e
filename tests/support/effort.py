"""How much of something slow a run takes: little while developing, all of it in the nightly profile of Hypothesis."""

from hypothesis import settings


def is_nightly() -> bool:
    """Return True if the profile asks for more than 100 examples."""
    return settings().max_examples > 100


def examples(most: int) -> int:
    """Return the number of examples for a test that takes *most* of them at night."""
    return most if is_nightly() else max(5, most // 4)
