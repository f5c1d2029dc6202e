"""JSON Lines: one object a line."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeGuard

import orjson

from ..errors import InvalidTraitsError, printable
from .lines import TOO_LONG, Line
from .rows import BadRow, Row, to_row

# Every name of an object is a text followed by a colon; so is the like of it inside a text.
_NAME_END: Final = re.compile(rb'"\s*:')
# orjson makes an integer beyond 64 bits a float without a word.
_LONG_NUMBER: Final = re.compile(rb"\d{19}")
_KINDS: Final[Mapping[type[object], str]] = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}
_CONTAINERS: Final = frozenset[type[object]]({dict, list})
_HINT: Final = "JSON Lines has one object a line"


def json_rows(lines: Iterator[Line], _source: str) -> Iterator[Row | BadRow]:
    """Yield one row for each line that is not blank."""
    for line in lines:
        if line.content is None:
            yield BadRow(line.number, line.number, TOO_LONG)
        elif line.content.strip():
            yield _row(line.number, line.content)


def _row(number: int, content: bytes) -> Row | BadRow:
    try:
        value = _parse(content)
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
    return to_row(value, number, number)


def _parse(content: bytes) -> object:
    """Return what *content* says, by the fast parser wherever that one loses nothing.

    Raises:
        UnicodeDecodeError: It is not UTF-8.
        RecursionError: It is nested too deeply.
        ValueError: It is not JSON.
        InvalidTraitsError: One object has a name twice.
    """
    if _LONG_NUMBER.search(content):
        return _parse_whole(content)
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        # The other parser takes lone surrogates, NaN and numbers beyond any float, which the model then names by path.
        return _parse_whole(content)
    # Fewer names than there are ends of names: perhaps one is there twice, and only the last was kept.
    return value if _count_names(value) == len(_NAME_END.findall(content)) else _parse_whole(content)


def _parse_whole(content: bytes) -> object:
    return json.loads(content.decode(), object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for name, value in pairs:
        if name in mapping:
            raise InvalidTraitsError(printable(name), "is there twice in one object")
        mapping[name] = value
    return mapping


def _count_names(value: object) -> int:
    """Return how many names the objects in *value* have together."""
    if _is_object(value):
        return len(value) + sum([_count_names(item) for item in value.values() if type(item) in _CONTAINERS])
    if _is_array(value):
        return sum([_count_names(item) for item in value if type(item) in _CONTAINERS])
    return 0


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return type(value) is dict


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return type(value) is list


def _not_json(content: bytes, error: ValueError) -> str:
    """Say where *content* stops being JSON, in words of our own: a parser's may quote it."""
    if not isinstance(error, json.JSONDecodeError):
        return "has a number of too many digits"
    if error.pos >= len(error.doc.rstrip()):
        return f"is cut off; {_HINT}" if content.endswith(b"\n") else "is cut off: the file ends within it"
    return f"is not JSON from column {error.pos + 1} on" + (f"; {_HINT}" if content[:1] == b"[" else "")
