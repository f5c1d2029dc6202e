"""Fast paths of the model and the ledger return what the slow ones do."""

import sqlite3
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from replay_identity import InvalidTraitsError, UserTraits
from replay_identity.ledger.codec import decode, encode
from replay_identity.ledger.database import sql_in
from replay_identity.testing import user_traits
from replay_identity.traits import new_unchecked


class StringSubclass(str):
    """A string of a subclass."""

    __slots__ = ()


STRINGS = st.text(st.characters(codec="utf-8"), max_size=5)
ODD_STRINGS = STRINGS | st.text(st.characters(codec="ascii"), max_size=5) | STRINGS.map(StringSubclass)


@given(st.lists(ODD_STRINGS) | st.lists(ODD_STRINGS).map(tuple))
def test_keeps_a_list_of_strings(strings: Any) -> None:
    """The order is kept, and the items are plain strings, with or without other values."""
    (kept,) = UserTraits("u1", traits={"tags": strings}).traits.values()
    (beside,) = UserTraits("u1", traits={"tags": [*strings, 1]}).traits.values()

    assert isinstance(kept, tuple)
    assert isinstance(beside, tuple)
    assert kept == tuple(strings) == beside[:-1]
    assert {type(text) for text in kept} <= {str}


@given(st.lists(ODD_STRINGS), st.sampled_from([None, "\ud800", b"x", object()]), st.integers(0, 5))
def test_finds_a_bad_item_among_strings(strings: list[Any], odd: Any, at: int) -> None:
    """Any number of good items may surround it."""
    with pytest.raises(InvalidTraitsError, match=r"traits\.tags\["):
        UserTraits("u1", traits={"tags": [*strings[:at], odd, *strings[at:]]})


@given(user_traits())
def test_an_unchecked_user_equals_a_checked_one(one: UserTraits) -> None:
    """Every field is equal, and so are the hashes."""
    copy = new_unchecked(one.user_id, one.name, one.email, one.traits, one.types, one.observed_at, one.vendor_ids)

    assert copy == one
    assert (hash(copy), repr(copy), type(copy)) == (hash(one), repr(one), type(one))
    assert new_unchecked(one.user_id, one.name, one.email, one.traits) == UserTraits(
        one.user_id, name=one.name, email=one.email, traits=one.traits
    )


def row_id_range(start: int, size: int) -> list[int]:
    """Return row ids without a gap."""
    return list(range(start, start + size))


ROW_IDS = st.lists(st.integers(1, 40)) | st.builds(row_id_range, st.integers(1, 20), st.integers(0, 20))


@given(ROW_IDS)
@example([1, 1, 3])
@example([3, 2, 1])
@example([])
def test_sql_in_selects_exactly_the_row_ids(row_ids: list[int]) -> None:
    """They may be in any order, with gaps and repetitions."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE users (row_id INTEGER PRIMARY KEY)")
    db.executemany("INSERT INTO users VALUES (?)", [(row_id,) for row_id in range(45)])

    clause, parameters = sql_in(row_ids)
    selected = db.execute(f"SELECT row_id FROM users WHERE row_id {clause}", parameters).fetchall()  # noqa: S608  # A clause of the ledger's own.
    db.close()

    assert [row_id for (row_id,) in selected] == sorted(set(row_ids))


def test_a_range_needs_two_parameters() -> None:
    """SQLite limits the number of parameters."""
    assert sql_in(range(100_000)) == ("BETWEEN ? AND ?", [0, 99_999])


LARGE = st.integers(-(10**60), 10**60) | st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1])
PLAIN = st.none() | STRINGS | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(STRINGS, LARGE | PLAIN | st.lists(LARGE) | st.dictionaries(STRINGS, LARGE)), STRINGS, LARGE)
def test_decodes_integers_of_any_size(traits: dict[str, Any], name: str, number: int) -> None:
    """It is enough if one of them is beyond 64 bits."""
    one = UserTraits("u1", traits={**traits, name: number})

    assert decode(encode(one)) == one


@pytest.mark.parametrize("values", [(1, True, 1.0, "1"), (0, False, 0.0, -0.0, ""), (10**20, 1e20, str(10**20))])
def test_distinguishes_values_that_python_equates(values: Any) -> None:
    """A vendor distinguishes them, alone, in a list and in an object."""
    for inside in ([*values], [[value] for value in values], [{"n": value} for value in values]):
        assert len({encode(UserTraits("u1", traits={"x": value})) for value in inside}) == len(values)
