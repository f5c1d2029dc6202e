"""A bit set behaves like a set."""

from hypothesis import given
from hypothesis import strategies as st

from replay_identity.bulk.outbox import BitSet

NUMBERS = st.integers(1, 70) | st.integers(1, 5000)


@given(
    st.lists(st.tuples(st.sampled_from(["add", "discard"]), NUMBERS)),
    st.lists(NUMBERS),
    st.lists(NUMBERS),
)
def test_behaves_like_a_set(changes: list[tuple[str, int]], more: list[int], fewer: list[int]) -> None:
    """After any operations it contains what a set of integers would contain."""
    bits, expected = BitSet(), set[int]()
    for operation, number in changes:
        getattr(bits, operation)(number)
        getattr(expected, operation)(number)
    for each in (bits, expected):
        each.update(more)
        each.difference_update(fewer)

    assert [number for number in range(5010) if number in bits] == sorted(expected)
    assert len(bits) == len(expected)


@given(st.lists(NUMBERS), st.lists(NUMBERS))
def test_is_empty_after_it_is_cleared(before: list[int], after: list[int]) -> None:
    """And can be filled again."""
    bits = BitSet()
    bits.update(before)

    bits.clear()
    bits.update(after)

    assert [number for number in range(5010) if number in bits] == sorted(set(after))
    assert len(bits) == len(set(after))
