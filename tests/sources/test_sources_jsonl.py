"""Users read from JSON Lines."""

import io
import json
from typing import Any

import pytest

from replay_identity import UserTraits
from replay_identity.errors import SourceError
from replay_identity.sources import BadRow, Row, SourceNotes, lines, read_users
from replay_identity.sources.conversion import RowConverter
from replay_identity.sources.jsonl_reader import json_rows
from replay_identity.sources.lines import read_lines

CANARY = "canary-7Q"


def read(content: bytes) -> list[Row | BadRow]:
    """Return the rows of *content*."""
    return list(read_users(io.BytesIO(content), format="jsonl"))


def problems(content: bytes) -> list[str]:
    """Return the bad rows of *content* as text."""
    return [str(row) for row in read(content) if isinstance(row, BadRow)]


def test_a_line_is_a_user() -> None:
    """Default names give the user fields; other names are traits."""
    rows = read(b'{"id": "u1", "name": "Ada", "email": "a@b.c", "plan": "pro", "company": {"size": 3}}\n')

    assert rows == [Row(1, UserTraits("u1", name="Ada", email="a@b.c", traits={"plan": "pro", "company": {"size": 3}}))]


def test_skips_blank_lines_and_a_byte_order_mark() -> None:
    """Blank lines still count as lines."""
    rows = read(b'\xef\xbb\xbf\n  \r\n{"id": "u1"}\r\n\n{"id": "u2"}')

    assert [row.line for row in rows] == [3, 5]
    assert problems(b'\xef\xbb\xbf{"id": "u1"}') == []


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_an_empty_file_has_no_rows(content: bytes) -> None:
    """A lone byte order mark is not a bad row."""
    assert read(content) == []


IN_CSV = "is not JSON Lines: no line begins an object; set format to csv (--format csv)"
IN_LINES = "has an object over several lines; set format to json (--format json)"
WITH_COMMAS = "has a comma after each object; remove them, or put the objects in [ ] and set format to json (--format)"
ONE_OBJECT = 'is one object; its users may be in {path}: set path (--path {path}); if it is one user, set path to ""'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("id,plan\nu1,pro\n", IN_CSV),
        ('\n"id";"plan"\n\nu1;pro\n', IN_CSV),
        ("id\tplan\nu1\tpro\n", IN_CSV),
        ("id\nu1\nu2\n", "is not JSON Lines: no line begins an object; set format to that of the file (--format)"),
        ("7\n7\n", "is not JSON Lines: no line begins an object; set format to that of the file (--format)"),
        ('{"id": 1},\n{"id": 2},\n{"id": 3}\n', WITH_COMMAS),
        ('\n{"id": 1} , \r\n\n{"id": 2},\n', WITH_COMMAS),
        ('{"users": [\n{"id": 1},\n{"id": 2}\n]}\n', ONE_OBJECT.format(path="users")),
        ('{\n"users":\n[{"id": 1},\n{"id": 2}\n]}\n', ONE_OBJECT.format(path="users")),
        ('{"a": {"b": [\n' + '{"id": 1},\n' * 100 + '{"id": 2}]}}', ONE_OBJECT.format(path="a.b")),
        ('{\n  "id": 1,\n  "a": {\n    "b": 2\n  }\n}\n{\n  "id": 2\n}\n', IN_LINES),
        ('{\n  "id": 1, "orders": [{"a": 1}]\n}\n{\n  "id": 2\n}\n', IN_LINES),
        ('{"id": 1,\n"plan": "pro"}\n', IN_LINES),
    ],
)
def test_other_formats_are_one_error(text: str, problem: str) -> None:
    """They would be as many bad rows as lines, and some would be users."""
    with pytest.raises(SourceError) as caught:
        read(text.encode())

    assert str(caught.value) == f"stream: {problem}"


@pytest.mark.parametrize(
    "text",
    [
        '{"id": 1, "a":\n',
        '{"id": 1, "a\n',
        '{"id": 1},\n',
        '{"id" 1}\n',
        "id,plan\n",
        '"canary"\n',
        '{"id": [1\n',
    ],
)
def test_a_broken_first_line_is_a_bad_row(text: str) -> None:
    """The lines below it are objects."""
    rows = read(f'{text}{{"id": "u2"}}\n{{"id": "u3"}}\n'.encode())

    assert [type(row) for row in rows] == [BadRow, Row, Row]


def test_a_long_first_line_is_a_bad_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows nothing."""
    monkeypatch.setattr(lines, "MAX_LINE", 20)

    assert [type(row) for row in read(b"x" * 50 + b'\n{"id": "u2"}\n{"id": "u3"}\n')] == [BadRow, Row, Row]


def test_more_lines_are_read_only_if_the_first_is_none() -> None:
    """A program that writes row by row would wait for its first row to be read."""
    stream = io.BytesIO(b'{"id": "u1"}\nplan\n')
    rows = json_rows(read_lines(stream, "users"), RowConverter("users", None, SourceNotes()))

    assert next(rows) == Row(1, UserTraits("u1"))
    assert stream.read() == b"plan\n"


def test_accepts_anonymous_users_only_on_request() -> None:
    """The id may have another name, and each run would create every user again."""
    row = b'{"plan": "pro"}'
    anonymous = list(read_users(io.BytesIO(row), format="jsonl", anonymous=True))

    assert anonymous == [Row(1, UserTraits(traits={"plan": "pro"}))]
    assert [str(bad) for bad in read(row + b"\n" + row)] == [
        (
            "line 1: has no user id; expected one in user_id, uid, id (found plan); name it in a mapping: "
            'user_id = "…" (--mapping)'
        ),
        "line 2: has no user id",
    ]


def test_a_null_id_is_never_anonymous() -> None:
    """Each run would create the user again."""
    row = b'{"id": null, "plan": "pro"}'

    assert list(read_users(io.BytesIO(row), format="jsonl", anonymous=True)) == [BadRow(1, 1, "id: the id is null")]


@pytest.mark.parametrize("number", [2**63, 2**64 + 1, -(2**64), 10**300])
def test_keeps_integers_of_more_than_64_bits(number: int) -> None:
    """The fast parser would turn them into floats."""
    rows = read(json.dumps({"id": "u1", "number": number}).encode())

    assert rows == [Row(1, UserTraits("u1", traits={"number": number}))]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            b'{"id": "canary-7Q", "a": "\xff"}',
            "line 1: not valid UTF-8; set encoding, perhaps to windows-1252 (--encoding)",
        ),
        (b'{"id": "canary-7Q"', "line 1: is cut off: the file ends inside the object"),
        (
            b'{"id": "canary-7Q"\n',
            "line 1: is cut off; write one JSON object per line, or set format to json (--format)",
        ),
        (b'{"id": "canary-7Q"}, \n', "line 1: has a comma after the object; remove it"),
        (b'{"id": canary-7Q}', "line 1: not valid JSON at column 8"),
        (b'["canary-7Q"]', "line 1: expected an object, got a string"),
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
        (b'{"id": NaN}', "line 1: id: expected an id as text or as a whole number, got NaN or an infinity"),
        (b'{"id": -Infinity}', "line 1: id: expected an id as text or as a whole number, got NaN or an infinity"),
        (b'{"id": true}', "line 1: id: expected an id as text or as a whole number"),
        (b'{"user_id": null, "id": "7"}', "line 1: user_id: the id is null"),
        (b'{"userId": null, "id": "7"}', "line 1: user_id: the id is null"),
        (b'{"id": ""}', "line 1: id: the id is empty"),
        (b'{"plan": "canary-7Q", "plan": "b"}', "line 1: plan: the name occurs twice in one object"),
        (b'{"d" : 1, "d": 2}', "line 1: d: the name occurs twice in one object"),
        (b'{"a": [{"b": {"c" : 1, "c" :2}}]}', "line 1: c: the name occurs twice in one object"),
    ],
)
def test_names_the_line_and_field_of_a_bad_row(line: bytes, problem: str) -> None:
    """The content is not quoted, and the row after it is read."""
    is_last_line = problem.endswith("inside the object")

    rows = read(line if is_last_line else line.rstrip(b"\n") + b'\n{"id": "after"}\n')

    assert problems(line) == [problem]
    assert CANARY not in repr(rows)
    assert rows[1:] in ([], [Row(2, UserTraits("after"))])
    assert is_last_line or len(rows) == 2


@pytest.mark.parametrize(
    "row",
    [
        {"id": "u1", "quote": 'say ":" or "a": 1', "list": [{"x": 1}, ["y", {"z": '":'}]]},
        {"id": "u1", "vendor": "7449164135934483470"},
    ],
)
def test_quotes_in_strings_are_not_duplicate_names(row: dict[str, Any]) -> None:
    """The slower parser gives the same result."""
    assert read(json.dumps(row).encode()) == [Row(1, UserTraits.from_mapping(row))]


def test_reads_a_value_of_ten_megabytes() -> None:
    """The vendors' limits are not the reader's."""
    rows = read(json.dumps({"id": "u1", "bio": "x" * 10_000_000}).encode() + b'\n{"id": "u2"}')

    assert [type(row) for row in rows] == [Row, Row]


def test_an_oversized_line_is_one_bad_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is skipped without filling the memory, even if it is many times too long."""
    monkeypatch.setattr(lines, "MAX_LINE", 20)

    rows = read(b'{"id": "' + b"x" * 50 + b'"}\n{"id": "u2"}\n' + b"y" * 20)

    assert [(row.line, type(row)) for row in rows] == [(1, BadRow), (2, Row), (3, BadRow)]


@pytest.mark.parametrize("start", ["", "\n"])
def test_a_byte_order_mark_hides_no_long_line(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is one bad row."""
    monkeypatch.setattr(lines, "MAX_LINE", 20)

    rows = read(f'{start}\ufeff{{"id": "{"x" * 50}"}}\n{{"id": "u2"}}\n'.encode())

    assert [type(row) for row in rows] == [BadRow, Row]


def test_reads_a_line_of_the_maximum_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line break counts."""
    line = b'{"id": "u1"}\n'
    monkeypatch.setattr(lines, "MAX_LINE", len(line))

    assert read(line) == [Row(1, UserTraits("u1"))]


def test_an_array_after_the_first_line_is_a_bad_row() -> None:
    """Only a file that begins with one is an array."""
    rows = read(b'{"id": "u1"}\n["canary-7Q"]\n[{"id": "canary-7Q"} 7]\n')

    assert [str(row) for row in rows[1:]] == [
        "line 2: expected an object, got an array; write one JSON object per line",
        "line 3: not valid JSON at column 22; write one JSON object per line",
    ]
