"""Users out of JSON Lines."""

import io
import json
from typing import Any

import pytest

from replay_identity import UserTraits
from replay_identity.errors import SourceError
from replay_identity.sources import BadRow, Row, read_users
from replay_identity.sources import csv_reader as line_reading

CANARY = "canary-7Q"


def read(content: bytes) -> list[Row | BadRow]:
    """Return the rows of *content*."""
    return list(read_users(io.BytesIO(content), format="jsonl"))


def problems(content: bytes) -> list[str]:
    """Return the bad rows of *content* as text."""
    return [str(row) for row in read(content) if isinstance(row, BadRow)]


def test_a_line_is_a_user() -> None:
    """The usual names become the user's own fields, and the others traits."""
    rows = read(b'{"id": "u1", "name": "Ada", "email": "a@b.c", "plan": "pro", "company": {"size": 3}}\n')

    assert rows == [Row(1, UserTraits("u1", name="Ada", email="a@b.c", traits={"plan": "pro", "company": {"size": 3}}))]


def test_blank_lines_and_a_byte_order_mark_are_skipped() -> None:
    """They count as lines all the same."""
    rows = read(b'\xef\xbb\xbf\n  \r\n{"id": "u1"}\r\n\n{"id": "u2"}')

    assert [row.line for row in rows] == [3, 5]
    assert problems(b'\xef\xbb\xbf{"id": "u1"}') == []


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_a_file_without_rows_holds_nobody(content: bytes) -> None:
    """An export of nobody may be a byte order mark alone, which is no bad row."""
    assert read(content) == []


@pytest.mark.parametrize("row", [b'{"plan": "pro"}', b'{"id": null, "plan": "pro"}'])
def test_a_row_without_an_id_is_an_anonymous_user_only_where_that_is_said(row: bytes) -> None:
    """The id may have another name, and each run would create every user anew."""
    anonymous = list(read_users(io.BytesIO(row), format="jsonl", anonymous=True))

    assert anonymous == [Row(1, UserTraits(traits={"plan": "pro"}))]
    assert read(row) == [BadRow(1, 1, "has no user id; expected one in user_id, uid, id")]


@pytest.mark.parametrize("number", [2**63, 2**64 + 1, -(2**64), 10**300])
def test_an_integer_beyond_64_bits_stays_itself(number: int) -> None:
    """The fast parser would make it a float, silently."""
    rows = read(json.dumps({"id": "u1", "number": number}).encode())

    assert rows == [Row(1, UserTraits("u1", traits={"number": number}))]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"id": "canary-7Q", "a": "\xff"}', "line 1: not valid UTF-8"),
        (b'{"id": "canary-7Q"', "line 1: is cut off: the file ends inside the object"),
        (b'{"id": "canary-7Q"\n', "line 1: is cut off; write one JSON object per line"),
        (b'{"id": canary-7Q}', "line 1: not valid JSON at column 8"),
        (b'[{"id": "canary-7Q"} 7]', "line 1: not valid JSON at column 22; write one JSON object per line"),
        (b'["canary-7Q"]', "line 1: expected an object, got an array; write one JSON object per line"),
        (b'"canary-7Q"', "line 1: expected an object, got a string; write one JSON object per line"),
        (b"7.5", "line 1: expected an object, got a number; write one JSON object per line"),
        (b"true", "line 1: expected an object, got a boolean; write one JSON object per line"),
        (b"null", "line 1: expected an object, got null; write one JSON object per line"),
        (b'{"id": "u", "a": {"b": NaN}}', "line 1: traits.a.b: expected a finite number"),
        (b'{"id": "u", "a": -Infinity}', "line 1: traits.a: expected a finite number"),
        (b'{"id": "u", "a": 1e999}', "line 1: traits.a: expected a finite number"),
        (
            b'{"id": "u", "a": "\\ud800"}',
            "line 1: traits.a: not valid Unicode: a lone surrogate at character 0",
        ),
        (b'{"id": "u", "a": ' + b"7" * 5000 + b"}", "line 1: has a number with too many digits"),
        (b'{"id": "u", "a": ' + b"7" * 600 + b"}", "line 1: traits.a: expected an integer of at most 400 digits"),
        (b'{"a": ' * 100_000 + b"1" + b"}" * 100_000, "line 1: nested too deeply"),
        (b'{"id": 7}', "line 1: user_id: expected a string, got an int; convert it with str()"),
        (b'{"id": true}', "line 1: user_id: expected a string, got a bool; convert it with str()"),
        (b'{"id": ""}', "line 1: user_id: the id is empty; leave it out for an anonymous user"),
        (b'{"plan": "canary-7Q", "plan": "b"}', "line 1: plan: the name occurs twice in one object"),
        (b'{"d" : 1, "d": 2}', "line 1: d: the name occurs twice in one object"),
        (b'{"a": [{"b": {"c" : 1, "c" :2}}]}', "line 1: c: the name occurs twice in one object"),
    ],
)
def test_a_row_that_is_no_user_is_named_by_line_and_field(line: bytes, problem: str) -> None:
    """Its content is not quoted, and the row after it is read."""
    rows = read(line.rstrip(b"\n") + b'\n{"id": "after"}\n') if not problem.endswith("within it") else read(line)

    assert problems(line) == [problem]
    assert CANARY not in repr(rows)
    assert rows[1:] in ([], [Row(2, UserTraits("after"))])
    assert problem.endswith("within it") or len(rows) == 2


@pytest.mark.parametrize(
    "row",
    [
        {"id": "u1", "quote": 'say ":" or "a": 1', "list": [{"x": 1}, ["y", {"z": '":'}]]},
        {"id": "u1", "vendor": "7449164135934483470"},
    ],
)
def test_what_looks_like_a_second_name_inside_a_text_is_none(row: dict[str, Any]) -> None:
    """The slower parser is asked, and says the same."""
    assert read(json.dumps(row).encode()) == [Row(1, UserTraits.from_mapping(row))]


def test_a_ten_megabyte_value_is_one_row() -> None:
    """How much of it a vendor takes is not the reader's to say."""
    rows = read(json.dumps({"id": "u1", "bio": "x" * 10_000_000}).encode() + b'\n{"id": "u2"}')

    assert [type(row) for row in rows] == [Row, Row]


def test_a_line_beyond_all_measure_is_one_bad_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is skipped without being held in memory, however often its length exceeds the measure."""
    monkeypatch.setattr(line_reading, "MAX_LINE", 20)

    rows = read(b'{"id": "' + b"x" * 50 + b'"}\n{"id": "u2"}\n' + b"y" * 20)

    assert [(row.line, type(row)) for row in rows] == [(1, BadRow), (2, Row), (3, BadRow)]


def test_a_line_of_just_the_longest_length_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its line break belongs to it."""
    line = b'{"id": "u1"}\n'
    monkeypatch.setattr(line_reading, "MAX_LINE", len(line))

    assert read(line) == [Row(1, UserTraits("u1"))]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_another_unicode_encoding_is_told(encoding: str) -> None:
    """Every row would be bad, so it is a problem of the file."""
    mark = b"" if encoding in {"utf-16", "utf-32"} else "\ufeff".encode(encoding)

    with pytest.raises(SourceError, match=f"^stream: is UTF-{encoding[4:6]}; save it as UTF-8$"):
        read(mark + '{"id": "u1"}'.encode(encoding))
