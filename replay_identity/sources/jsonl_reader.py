"""Read JSON Lines: one object per line."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeGuard

from .._json import parse_json, parse_leniently, parse_traits
from ..errors import InvalidTraitsError
from ..mapping import CompiledMapping, RowMapping
from ..traits import UserTraits, from_validated_row
from .csv_reader import TOO_LONG, Line
from .rows import BadRow, Row, id_finder, to_row, user_factory

_TYPE_NAMES: Final[Mapping[type[object], str]] = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}
_HINT: Final = "write one JSON object per line"
# An object whose first field is a user id without escapes.
_FIRST_FIELD: Final = re.compile(rb'\s*+\{\s*+"(user_id|uid|id)"\s*+:\s*+"([^"\\]++)"').match


def json_rows(lines: Iterator[Line], mapping: CompiledMapping | None) -> Iterator[Row | BadRow]:
    """Yield a row for each line that is not blank."""
    to_user = user_factory(mapping)
    for number, content in lines:
        if content is None:
            yield BadRow(number, number, TOO_LONG)
        elif mapping is None and (user := _parse_fast(content)) is not None:
            yield Row(number, user)
        elif not content.isspace():
            value = _parse(number, content)
            yield value if isinstance(value, BadRow) else to_row(value, number, number, to_user)


def json_ids(lines: Iterable[bytes], mapping: RowMapping | None) -> Iterator[str]:
    """Yield the user id on each line that has one, much faster than `json_rows`. Bad rows may have ids too."""
    find_user_id = id_finder(mapping or RowMapping())
    for line in lines:
        user_id = _find_fast(line) if mapping is None else None
        if user_id is None:
            content = _parse_object(line)
            user_id = None if content is None else find_user_id(content)
        if user_id is not None:
            yield user_id


def _parse_object(line: bytes) -> dict[str, Any] | None:
    try:
        value = parse_leniently(line)
    except (ValueError, RecursionError):
        return None
    return value if _is_object(value) else None


def _find_fast(line: bytes) -> str | None:
    """Return the user id on an ordinary line, or None if `_parse` must find it."""
    found = _FIRST_FIELD(line)
    if found is None:
        return None
    name, user_id = found.groups()
    if name != b"user_id" and (b"user_id" in line or b"uid" in line[found.end() :] or b"\\" in line):
        return None  # Another field may be the id instead.
    try:
        return user_id.decode()
    except UnicodeDecodeError:
        return None


def _parse_fast(content: bytes) -> UserTraits | None:
    """Return the user on an ordinary line, or None for a line that `_parse` must inspect or report."""
    try:
        row = parse_traits(content)
        return None if row is None else from_validated_row(row)
    except InvalidTraitsError:
        return None


def _parse(number: int, content: bytes) -> dict[str, Any] | BadRow:
    """Return the object on a line, or what is wrong with the line."""
    try:
        value = parse_json(content)
    except UnicodeDecodeError:
        return BadRow(number, number, "not valid UTF-8")
    except RecursionError:
        return BadRow(number, number, "nested too deeply")
    except InvalidTraitsError as error:
        return BadRow(number, number, str(error))
    except ValueError as error:
        return BadRow(number, number, _syntax_problem(content, error))
    if not _is_object(value):
        return BadRow(number, number, f"expected an object, got {_TYPE_NAMES[type(value)]}; {_HINT}")
    return value


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return type(value) is dict


def _syntax_problem(content: bytes, error: ValueError) -> str:
    """Return where *content* stops being JSON. The parser's own message is not used: it may quote the content."""
    if not isinstance(error, json.JSONDecodeError):
        return "has a number with too many digits"
    if error.pos >= len(error.doc.rstrip()):
        return f"is cut off; {_HINT}" if content.endswith(b"\n") else "is cut off: the file ends inside the object"
    return f"not valid JSON at column {error.pos + 1}" + (f"; {_HINT}" if content[:1] == b"[" else "")
