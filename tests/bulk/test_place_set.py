"""A set of places is a set."""

from hypothesis import given
from hypothesis import strategies as st

from replay_identity.bulk.outbox import PlaceSet

PLACES = st.integers(1, 70) | st.integers(1, 5000)


@given(
    st.lists(st.tuples(st.sampled_from(["add", "discard"]), PLACES)),
    st.lists(PLACES),
    st.lists(PLACES),
)
def test_is_a_set(changes: list[tuple[str, int]], more: list[int], fewer: list[int]) -> None:
    """Whatever is done, it holds what a set of integers would hold."""
    places, expected = PlaceSet(), set[int]()
    for change, place in changes:
        getattr(places, change)(place)
        getattr(expected, change)(place)
    for each in (places, expected):
        each.update(more)
        each.difference_update(fewer)

    assert [place for place in range(5010) if place in places] == sorted(expected)
    assert len(places) == len(expected)
