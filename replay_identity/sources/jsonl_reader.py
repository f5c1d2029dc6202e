"""JSON Lines: one object a line."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeGuard

from .._json import parse_json, parse_traits
from ..errors import InvalidTraitsError
from ..mapping import CompiledMapping
from ..traits import UserTraits, from_validated_row
from .csv_reader import TOO_LONG, Line
from .rows import BadRow, Row, maker, to_row

_KINDS: Final[Mapping[type[object], str]] = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}
_HINT: Final = "JSON Lines has one object a line"


def json_rows(lines: Iterator[Line], plan: CompiledMapping | None) -> Iterator[Row | BadRow]:
    """Yield one row for each line that is not blank."""
    user_of = maker(plan)
    for number, content in lines:
        if content is None:
            yield BadRow(number, number, TOO_LONG)
        elif plan is None and (user := _plain_user(content)) is not None:
            yield Row(number, user)
        elif not content.isspace():
            value = _value(number, content)
            yield value if isinstance(value, BadRow) else to_row(value, number, number, user_of)


def _plain_user(content: bytes) -> UserTraits | None:
    """Return the user that most lines are, or None for a line that takes a closer look, or is wrong."""
    try:
        row = parse_traits(content)
        return None if row is None else from_validated_row(row)
    except InvalidTraitsError:
        return None


def _value(number: int, content: bytes) -> dict[str, Any] | BadRow:
    """Return the object that a line holds, or what is wrong with it."""
    try:
        value = parse_json(content)
    except UnicodeDecodeError:
        return BadRow(number, number, "is not UTF-8")
    except RecursionError:
        return BadRow(number, number, "is nested too deeply")
    except InvalidTraitsError as error:
        return BadRow(number, number, str(error))
    except ValueError as error:
        return BadRow(number, number, _not_json(content, error))
    if not _is_object(value):
        return BadRow(number, number, f"is {_KINDS[type(value)]}, not an object; {_HINT}")
    return value


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return type(value) is dict


def _not_json(content: bytes, error: ValueError) -> str:
    """Say where *content* stops being JSON, in words of our own: a parser's may quote it."""
    if not isinstance(error, json.JSONDecodeError):
        return "has a number of too many digits"
    if error.pos >= len(error.doc.rstrip()):
        return f"is cut off; {_HINT}" if content.endswith(b"\n") else "is cut off: the file ends within it"
    return f"is not JSON from column {error.pos + 1} on" + (f"; {_HINT}" if content[:1] == b"[" else "")
