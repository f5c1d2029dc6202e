"""Unusual JSON gives the same rows with the fast parser and the exact one."""

import io
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from replay_identity import InvalidTraitsError, SourceError
from replay_identity._json import parse_json, parse_traits
from replay_identity._values import MAX_DEPTH
from replay_identity.sources import BadRow, Row, jsonl_reader, read_users

TEXTS = ["", "u1", "a", "é", "\ud800", '"', "\\", '\\"', '":', '" :', '\\\\"', "{", "\\u0022", "\x7f", "😀"]
RAW = [r'"\u0022:"', r'"\u0061"', r'"\/"', r'"\ud83d\ude00"', r'"\\\u0022"']
NUMBERS = ["0", "-0.0", "1.50", "1E400", "-1e19", "9.3e18", "NaN", "-Infinity", "7" * 401, "1" + "0" * 400]
WIDE = ["9223372036854775807", "9223372036854775808", "-9223372036854775809", "18446744073709551615", "1" * 20]
NAMES = ["id", "uid", "user_id", "name", "display_name", "email", "plan", "plan", "é", ""]
SPACES = st.sampled_from(["", "", " ", "\t", " \r"])

texts = st.sampled_from(TEXTS) | st.text(max_size=5)
literals = st.one_of(
    texts.map(json.dumps),
    texts.filter(lambda text: "\ud800" not in text).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(
        [
            *RAW,
            *NUMBERS,
            *WIDE,
            "true",
            "false",
            "null",
            "{}",
            "[]",
            "[1, 2.5, true]",
            "[18446744073709551616]",
            '{"a": null}',
            '["a", "b"]',
        ]
    ),
)


def objects(values: st.SearchStrategy[str], names: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return JSON objects, some with a duplicate name."""
    entry = st.tuples(names.map(json.dumps), SPACES, SPACES, values).map(
        lambda parts: f"{parts[0]}{parts[1]}:{parts[2]}{parts[3]}"
    )
    return st.tuples(SPACES, st.lists(entry, max_size=5)).map(lambda parts: f"{{{parts[0]}{','.join(parts[1])}}}")


values = st.recursive(
    literals,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]") | objects(inner, st.sampled_from(NAMES))
    ),
    max_leaves=8,
)
rows = objects(values, st.sampled_from(NAMES) | texts) | objects(literals, st.sampled_from(NAMES))


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of *pairs*, or raise for a duplicate name."""
    if len(dict(pairs)) < len(pairs):
        raise InvalidTraitsError("a name", "is there twice")
    return dict(pairs)


def read(line: bytes) -> list[Row | BadRow]:
    """Return the row on *line*, or why it is not JSON Lines."""
    try:
        return list(read_users(io.BytesIO(line), format="jsonl", anonymous=True))
    except SourceError as error:  # A carriage return ends a line.
        return [BadRow(0, 0, str(error))]


def content_of(read_rows: list[Row | BadRow]) -> list[Any]:
    """Return the content of *read_rows* with the order of names and all nested types."""
    return [
        (row.line, row.user, repr((row.user.name, row.user.email, row.user.traits))) if isinstance(row, Row) else row
        for row in read_rows
    ]


def no_traits(_content: bytes) -> None:
    """Disable the fast parser."""


def nested(levels: int, leaf: str) -> str:
    """Return a row with *leaf* inside nested objects."""
    return '{"a": ' * levels + leaf + "}" * levels


@given(text=values)
@example(r'{"a": "\\", "a": "b"}')
@example(r'{"a": "\\\"", "b": "\"\\"}')
@example(r'{"a": "\u0022", "a" : 1}')
@example(r'{"a": "x\\", "b": "y\\", "a": "\""}')
def test_parsing_loses_nothing(text: str) -> None:
    """No digit and no duplicate name, whatever the quotes and backslashes."""
    content = text.encode()
    try:
        expected = repr(json.loads(text, object_pairs_hook=once))
    except InvalidTraitsError:
        with pytest.raises(InvalidTraitsError, match="the name occurs twice in one object"):
            parse_json(content)
    else:
        assert repr(parse_json(content)) == expected


@given(text=rows)
@example(nested(MAX_DEPTH, '["a"]'))
@example(nested(MAX_DEPTH - 1, '["a"]'))
@example(nested(MAX_DEPTH + 1, "1"))
@example(nested(MAX_DEPTH, "1"))
@example('{"name": {"a": null}, "id": []}')
@example('{"id": null, "uid": "u1", "z": null, "a": ["x", "x"], "b": {"c": null, "d": ["\u00e9"]}}')
def test_both_parsers_give_the_same_row(text: str) -> None:
    """The same user with names in the same order, or the same problem."""
    content = text.encode()
    fast = read(content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl_reader, "parse_traits", no_traits)
        exact = read(content)

    assert content_of(fast) == content_of(exact)


@pytest.mark.parametrize(
    "text",
    [
        r'{"a": "\\", "b": "say \"a\": \\\" {"}',
        '{"a": {"b": ["x"], "c": 1}, "d": [1, 2.5, true], "e": -1e18, "f" : true}',
    ],
)
def test_plain_traits_use_the_fast_parser(text: str) -> None:
    """Strings may contain quotes and backslashes."""
    assert json.dumps(parse_traits(text.encode())) == json.dumps(json.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "7",
        "{",
        '{"a": 1, "a": 1}',
        '{"a": 18446744073709551616}',
        '{"a": [1e19]}',
        '{"a": {}}',
        '{"a": {"b": {}}}',
        '{"a": [{}]}',
    ],
)
def test_doubtful_lines_use_the_exact_parser(text: str) -> None:
    """It reports what is wrong and drops empty values."""
    assert parse_traits(text.encode()) is None
