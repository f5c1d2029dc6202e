"""A set of places is a set."""

from hypothesis import given
from hypothesis import strategies as st

from replay_identity.bulk.outbox import BitSet

PLACES = st.integers(1, 70) | st.integers(1, 5000)


@given(
    st.lists(st.tuples(st.sampled_from(["add", "discard"]), PLACES)),
    st.lists(PLACES),
    st.lists(PLACES),
)
def test_behaves_like_a_set(changes: list[tuple[str, int]], more: list[int], fewer: list[int]) -> None:
    """After any operations it contains what a set of integers would contain."""
    row_ids, expected = BitSet(), set[int]()
    for change, row_id in changes:
        getattr(row_ids, change)(row_id)
        getattr(expected, change)(row_id)
    for each in (row_ids, expected):
        each.update(more)
        each.difference_update(fewer)

    assert [row_id for row_id in range(5010) if row_id in row_ids] == sorted(expected)
    assert len(row_ids) == len(expected)
