"""What is valid in a source and still likely to be a mistake."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity import REMOVE, UserTraits
from replay_identity.sources import BadRow, Row
from replay_identity.sources.inspection import SimilarIds, SourceInspection


def inspected(*users: UserTraits) -> SourceInspection:
    """Return the inspection of *users*."""
    inspection = SourceInspection()
    for line, user in enumerate(users, 1):
        inspection.add(Row(line, user))
    return inspection


def ids(*user_ids: str) -> SourceInspection:
    """Return the inspection of users with these ids."""
    return inspected(*(UserTraits(user_id) for user_id in user_ids))


def columns(**values: Any) -> dict[str, str]:
    """Return the columns of text that look like another type, of one user with these traits."""
    return dict(inspected(UserTraits("u1", traits=values)).text_columns)


# Ids


@pytest.mark.parametrize(
    "other",
    ["U1", " u1", "u1 ", "u 1", "u1\u200b", "\ufeffu1", "u\u00a01", "\tu1", "u1\u2060"],
)
def test_spellings_of_one_id_are_counted(other: str) -> None:
    """They differ in case, blanks or characters of no width."""
    assert ids("u1", "u2", other, other).similar_ids == SimilarIds(2, 1)


def test_each_user_is_counted_with_all_spellings() -> None:
    """Also if none of them is the plain one."""
    found = ids("A", "a ", " a", "B", "b", "c", "c").similar_ids

    assert found == SimilarIds(5, 2)


@pytest.mark.parametrize("user_ids", [["u1", "u1"], ["U1", "U1"], ["u1", "u2"], ["É", "E"], ["a-b", "ab"], []])
def test_other_ids_are_not_similar(user_ids: list[str]) -> None:
    """Nor is one id that is repeated."""
    assert ids(*user_ids).similar_ids == SimilarIds()


@pytest.mark.parametrize(("user_id", "count"), [("17.0", 1), ("-3.00", 1), ("17.5", 0), ("17", 0), ("v1.0", 0)])
def test_ids_with_a_zero_fraction_are_counted(user_id: str, count: int) -> None:
    """A data frame wrote them, because an id was missing."""
    inspection = ids(user_id)

    assert inspection.ids_like_floats == count
    assert bool(inspection.warnings()) == bool(count)


def test_composed_characters_are_compared() -> None:
    """One letter, written in two ways."""
    assert ids("jos\u00e9", "jose\u0301").similar_ids == SimilarIds(2, 1)


@given(st.lists(st.text(st.sampled_from("aAbB \u200b"), min_size=1, max_size=3), max_size=30))
def test_counts_equal_a_plain_count(user_ids: list[str]) -> None:
    """Of the distinct spellings of each id."""
    spellings: dict[str, set[str]] = {}
    for user_id in user_ids:
        spellings.setdefault(user_id.lower().replace(" ", "").replace("\u200b", ""), set()).add(user_id)
    repeated = [len(found) for found in spellings.values() if len(found) > 1]

    assert ids(*user_ids).similar_ids == SimilarIds(sum(repeated), len(repeated))


def test_ids_beyond_a_limit_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the memory is bounded."""
    monkeypatch.setattr("replay_identity.sources.inspection._MAX_IDS", 2)

    assert ids("a", "b", "B").similar_ids == SimilarIds()


def test_a_later_row_is_counted_too() -> None:
    """Though the count was asked for before."""
    inspection = ids("a")
    before = inspection.similar_ids
    inspection.add(Row(2, UserTraits("A")))

    assert (before, inspection.similar_ids) == (SimilarIds(), SimilarIds(2, 1))


@pytest.mark.parametrize(
    ("user_id", "blanks", "invisible"),
    [
        ("u1", 0, 0),
        ("a-b", 0, 0),
        ("a b", 0, 0),
        ("é", 0, 0),
        (" u1", 1, 0),
        ("u1\u00a0", 1, 0),
        ("u\u200b1", 0, 1),
        ("\ufeffu1", 0, 1),
        ("e\u0301", 0, 1),
    ],
)
def test_ids_with_odd_characters_are_counted(user_id: str, blanks: int, invisible: int) -> None:
    """Blanks only at the ends, since some ids have one inside."""
    inspection = ids(user_id)

    assert (inspection.ids_with_blanks, inspection.ids_with_invisible) == (blanks, invisible)


# E-mail addresses


@pytest.mark.parametrize(
    ("email", "blanks", "invisible"),
    [
        ("ada@example.com", 0, 0),
        ("ada@exämple.com", 0, 0),
        (" ada@example.com", 1, 0),
        ("ada@example.com\n", 1, 0),
        ("ada lovelace@example.com", 1, 0),
        (" ", 1, 0),
        ("ada\u200b@example.com", 0, 1),
        ("\ufeffada@example.com ", 1, 1),
    ],
)
def test_addresses_with_odd_characters_are_counted(email: str, blanks: int, invisible: int) -> None:
    """Wherever they are."""
    inspection = inspected(UserTraits("u1", email=email), UserTraits("u2"))

    assert (inspection.emails_with_blanks, inspection.emails_with_invisible) == (blanks, invisible)


# Columns


def test_text_that_looks_like_a_type_is_found() -> None:
    """With the cast that `infer` would choose."""
    found = columns(seats="43", price="9.99", active="true", since="2026-01-01", plan="pro", company={"size": "7"})

    assert found == {"seats": "int", "price": "real", "active": "bool", "since": "date", "company.size": "int"}


@pytest.mark.parametrize(
    ("text", "cast"),
    [
        ("$5.00", "real"),
        ("43%", "int"),
        ("1,000", "real"),
        ("12,50", "real"),
        ("yes", "bool"),
        ("N", "bool"),
        ("1700000000", "epoch"),
        ("1700000000000", "epoch"),
        ("45293", "excel-date"),
        ("43 ", "int"),
        ("01/02/2026", "date"),
        ("01/02/26", "date"),
        ("2026-11-21 08:30", "date"),
        ("{a,b}", "strs"),
    ],
)
def test_text_that_needs_settings_is_found(text: str, cast: str) -> None:
    """Beside texts that mean null, too: what `infer` gives a type, or leaves to a person."""
    inspection = inspected(UserTraits("u1", traits={"a": text}), UserTraits("u2", traits={"a": "NULL"}))

    assert inspection.text_columns == {"a": cast}
    assert inspection.warnings()[0].startswith("1 column of text that looks like another type: a (")


def test_nulls_alone_look_like_no_type() -> None:
    """Nor do nulls among other texts."""
    assert columns(a="NULL", b="N/A") == {}


def test_values_with_a_type_are_not_found() -> None:
    """Nor are removals, lists, and numbers that are names."""
    assert columns(seats=43, active=True, plan=REMOVE, tags=["1"], zip="12345", phone="1234567") == {}


def test_a_column_of_two_kinds_is_not_found() -> None:
    """It already has a value of another type, or one that does not look like the others."""
    inspection = inspected(UserTraits("u1", traits={"a": "1", "b": "1"}), UserTraits("u2", traits={"a": 1, "b": "x"}))

    assert inspection.text_columns == {}


def test_a_declared_type_is_believed() -> None:
    """A mapping says that it is text."""
    assert inspected(UserTraits("u1", traits={"a": "1"}, types={"a": "str"})).text_columns == {}


def test_only_the_first_rows_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Types are expensive to infer."""
    monkeypatch.setattr("replay_identity.sources.inspection._TYPED_ROWS", 1)

    inspection = inspected(UserTraits("u1", traits={"a": "1"}), UserTraits("u2", traits={"a": "x", "b": "1"}))

    assert inspection.text_columns == {"a": "int"}


def test_decided_columns_are_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most columns are decided by the first rows; a candidate and a new column are not."""
    monkeypatch.setattr("replay_identity.sources.inspection._SURVEYED_ROWS", 2)
    rows: list[dict[str, str]] = [
        {"decided": "x", "late": "1", "mixed": "1"},
        {"decided": "x", "late": "2", "mixed": "2"},
        {"decided": "1", "late": "3", "mixed": "x", "new": "1"},
        {"decided": "2"},
    ]

    inspection = inspected(*(UserTraits(f"u{number}", traits=row) for number, row in enumerate(rows)))

    assert inspection.text_columns == {"late": "int", "new": "int"}


# The result


def test_a_clean_source_has_no_warnings() -> None:
    """Nor does one without users."""
    assert inspected(UserTraits("u1", email="ada@example.com", traits={"plan": "pro"})).warnings() == []
    assert SourceInspection().warnings() == []


def test_warnings_are_sentences_without_values() -> None:
    """With counts and the names of columns; the same findings are ready for JSON."""
    inspection = inspected(
        UserTraits("canary1 ", email="canary @x\u200b", traits={"seats": "43"}), UserTraits("\ufeffCANARY1")
    )

    assert inspection.warnings() == [
        "2 ids may be only 1 user: nothing but case, blanks or characters of no width tells them apart",
        "1 row with a blank before or after the id",
        "1 row with invisible characters or separate accents in the id",
        "1 row with a blank in the e-mail address",
        "1 row with invisible characters or separate accents in the e-mail address",
        "1 column of text that looks like another type: seats (integer); run infer first",
    ]
    assert inspection.as_dict() == {
        "similar_ids": {"ids": 2, "users": 1},
        "ids_with_blanks": 1,
        "ids_with_invisible": 1,
        "ids_like_floats": 0,
        "emails_with_blanks": 1,
        "emails_with_invisible": 1,
        "text_columns": {"seats": "int"},
    }
    assert "canary" not in repr(inspection).lower()


def test_many_columns_are_only_counted() -> None:
    """After the first twenty."""
    (warning,) = inspected(UserTraits("u1", traits={f"c{number}": "1" for number in range(25)})).warnings()

    assert warning.startswith("25 columns of text that look like other types: c0 (integer), ")
    assert warning.endswith("c19 (integer) and 5 more; run infer first")


def test_rows_are_passed_on() -> None:
    """Bad rows and anonymous users, too."""
    rows: list[Row | BadRow] = [Row(1, UserTraits(" u1")), BadRow(2, 2, "no id"), Row(3, UserTraits(name="Ada"))]
    inspection = SourceInspection()

    assert list(inspection.track(rows)) == rows
    assert (inspection.rows, inspection.ids_with_blanks) == (2, 1)
