"""Text for people."""

import pytest

from replay_identity._text import pluralize


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 users"), (1, "1 user"), (2, "2 users"), (50_000, "50,000 users")]
)
def test_a_count_has_the_right_noun(count: int, expected: str) -> None:
    """Only one of something is singular."""
    assert pluralize(count, "user") == expected


def test_an_irregular_plural_is_given() -> None:
    """An added s is only the default."""
    assert pluralize(2, "property", "properties") == "2 properties"
    assert pluralize(1, "property", "properties") == "1 property"
