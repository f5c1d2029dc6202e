"""Mappings applied to files."""

import io
from typing import Any

import pytest

from replay_identity import REMOVE, SourceError, UserTraits
from replay_identity.mapping import FieldRule, RowMapping
from replay_identity.sources import BadRow, Format, Row, read_users

CANARY = "canary-7Q"


def read(content: bytes, kind: Format, *, anonymous: bool = False, **settings: Any) -> list[Row | BadRow]:
    """Return the rows of *content*, with a mapping of *settings*."""
    return list(read_users(io.BytesIO(content), format=kind, anonymous=anonymous, mapping=RowMapping(**settings)))


def test_maps_a_line_of_json() -> None:
    """A cast that fails makes a bad row, which names the field and quotes nothing."""
    lines = b'{"key": "u1", "seats": "3"}\n{"key": "u2", "seats": "canary-7Q"}\n'

    rows = read(lines, "jsonl", user_id="key", fields={"seats": FieldRule(cast="int")})

    assert rows == [
        Row(1, UserTraits("u1", traits={"seats": 3}, types={"seats": "int"})),
        BadRow(2, 2, 'seats: expected a whole number; set on_error = "absent" to leave it out'),
    ]


def test_maps_a_row_of_csv() -> None:
    """Dotted paths find dotted columns."""
    fields = {"company.size": FieldRule(rename="size", cast="int"), "vip": FieldRule(cast="bool")}

    rows = read(b"id,company.size,vip\nu1,40,yes\n", "csv", fields=fields)

    assert [row.user.traits for row in rows if isinstance(row, Row)] == [{"size": 40, "vip": True}]


def test_an_empty_cell_is_a_null() -> None:
    """Absent, a default or a removal, according to the mapping."""
    content = b"id,a,b.c,d\nu1,,,\n"
    fields = {"d": FieldRule(default="x", null="absent")}

    assert read(content, "csv", fields=fields) == [Row(2, UserTraits("u1", traits={"d": "x"}))]
    expected = UserTraits("u1", traits={"a": REMOVE, "b": {"c": REMOVE}, "d": "x"})
    assert read(content, "csv", null="remove", fields=fields) == [Row(2, expected)]


@pytest.mark.parametrize(
    ("column", "settings"),
    [
        ("id", {}),
        ("key", {"user_id": "key"}),
        ("key", {"fields": {"key": FieldRule(rename="uid")}}),
        ("a.key", {"user_id": "a.key"}),
    ],
)
def test_an_empty_id_is_bad_under_any_name(column: str, settings: dict[str, Any]) -> None:
    """This holds even if anonymous users are accepted: each run would create another one."""
    rows = read(f"{column},plan\n,pro\n".encode(), "csv", anonymous=True, **settings)

    assert rows == [BadRow(2, 2, f"{column}: the id is empty")]


def test_columns_may_be_in_the_object_that_is_lifted() -> None:
    """The rows show whether they are; the object itself has to be a column."""
    content = b'kind,data\nuser,"{""id"": 7, ""plan"": ""pro""}"\nclick,{}\n'
    settings: dict[str, Any] = {"where": {"kind": "user"}, "unlisted": "lifted", "fields": {"plan": FieldRule()}}

    rows = read_users(io.BytesIO(content), format="csv", mapping=RowMapping(lift="data", **settings))

    assert list(rows) == [Row(2, UserTraits("7", traits={"plan": "pro"}))]
    assert rows.notes.left_out == 1
    assert not rows.notes.unused
    for lift, where in (("dta", {"kind": "user"}), ("data", {"knd": "user"})):
        with pytest.raises(SourceError, match="the mapping names the column"):
            read(content, "csv", lift=lift, where=where)


def test_flat_dots_of_columns_do_not_nest() -> None:
    """A column may then be called like the parent of another one."""
    rows = read(b"id,a,a.b\nu1,1,2\n", "csv", dots="flat", fields={"a.b": FieldRule(cast="int")})

    assert [dict(row.user.traits) for row in rows if isinstance(row, Row)] == [{"a": "1", "a.b": 2}]


@pytest.mark.parametrize(("strict", "unused"), [(True, {"snn": "ssn"}), (False, {})])
def test_a_strict_mapping_names_what_no_row_has(strict: object, unused: dict[str, str]) -> None:
    """Once all rows of JSON Lines are read."""
    mapping = RowMapping(strict=bool(strict), fields={"snn": FieldRule(drop=True)})
    rows = read_users(io.BytesIO(b'{"id": "u1", "ssn": "1"}\n'), format="jsonl", mapping=mapping)

    assert len(list(rows)) == 1
    assert rows.notes.unused == unused


def test_names_the_missing_id_field() -> None:
    """Default names do not count if the mapping names another field."""
    row = b'{"id": "u1"}'

    assert read(row, "jsonl", user_id="a.key") == [BadRow(1, 1, "has no user id; expected one in a.key")]
    assert read(row, "jsonl", user_id="a.key", anonymous=True) == [Row(1, UserTraits(traits={"id": "u1"}))]
