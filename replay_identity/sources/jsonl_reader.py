"""Read JSON Lines: one object per line."""

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final, TypeGuard

import attrs

from .._json import parse_json, parse_leniently, parse_traits
from ..errors import InvalidTraitsError, SourceError
from .conversion import RowConverter
from .json_reader import check_object
from .json_text import Element, JsonText
from .lines import TOO_LONG, Line, not_utf8, without_mark
from .rows import BadRow, Row

_TYPE_NAMES: Final[Mapping[type[object], str]] = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}
# Lines that show what a file is.
_MAX_FIRST: Final = 20
_HINT: Final = "; write one JSON object per line"
# A string that is, or may be, the name of an id under any spelling.
_OTHER_ID: Final = re.compile(rb'"[ _-]*(?:u[ _-]*s[ _-]*e[ _-]*r|u)?[ _-]*i[ _-]*d[ _-]*"', re.IGNORECASE).search
# An object whose first field is a user id without escapes.
_FIRST_FIELD: Final = re.compile(rb'\s*+\{\s*+"(user_id|uid|id)"\s*+:\s*+"([^"\\]++)"').match


def json_rows(lines: Iterator[Line], converter: RowConverter) -> Iterator[Row | BadRow]:
    """Yield a row for each line that is not blank.

    Raises:
        SourceError: The first lines show that the file is something else.
    """
    for number, content in _checked(lines, converter.source):
        if content is None:
            yield BadRow(number, number, TOO_LONG)
        else:
            row = json_row(content, converter, number, number, hint=_HINT)
            if row is not None:
                yield row


def _checked(lines: Iterator[Line], source: str) -> Iterator[Line]:
    """Return *lines* if they may be JSON Lines. More than the first one is read only unless that is an object.

    Raises:
        SourceError: They are something else.
    """
    first = next(lines, None)
    if first is None:
        return lines
    if first[1] is not None and _parse_object(first[1]) is not None:
        return chain([first], lines)
    beginning = [first, *islice(lines, _MAX_FIRST)]
    contents = [content for _, content in beginning if content is not None and not content.isspace()]
    if len(contents) > 1 and _parse_object(contents[0]) is None:
        _check_first(contents, source)
    return chain(beginning, lines)


def _check_first(contents: Sequence[bytes], source: str) -> None:
    """Raise SourceError if *contents*, the first lines, of which the first one is not an object, are not JSON Lines."""
    if not any(content.lstrip().startswith(b"{") for content in contents):
        may_be_csv = any(delimiter in contents[0] for delimiter in b",;\t|")
        hint = "csv (--format csv)" if may_be_csv else "that of the file (--format)"
        raise SourceError(source, f"is not JSON Lines: no line begins an object; set format to {hint}")
    if all(_has_comma(content) for content in contents[:2]):
        problem = (
            "has a comma after each object; remove them, or put the objects in [ ] and set format to json (--format)"
        )
        raise SourceError(source, problem)
    if all(_parse_object(content) is not None for content in contents[1:]):
        return
    text, line = (JsonText(io.BytesIO(), source, content) for content in (b"".join(contents), contents[0]))
    if line.strict_fault() is not None or isinstance(line.find_end(), int) or text.strict_fault() is not None:
        return  # Only this line is not valid.
    beginning, is_whole = text.beginning()
    if not is_whole or not text.buffer[len(beginning) :].strip():
        check_object(beginning, source, "")
    raise SourceError(source, "has an object over several lines; set format to json (--format json)")


def _has_comma(content: bytes) -> bool:
    """Return True if a comma, which belongs into an array, follows the object in *content*."""
    stripped = content.rstrip()
    return stripped.endswith(b",") and _parse_object(stripped[:-1]) is not None


def json_row(
    content: bytes, converter: RowConverter, line: int, last_line: int, *, hint: str = ""
) -> Row | BadRow | None:
    """Return the row that the JSON text *content* is, or None for blank text or a row that the mapping leaves out.

    Args:
        content: The text.
        converter: Converts the fields of an object to a user.
        line: Number of its first line.
        last_line: Number of its last line.
        hint: What to do if it is not one object.
    """
    if not converter.has_mapping and (row := _parse_fast(content, converter, line)) is not None:
        return row
    if content.isspace() or not content:
        return None
    value = _parse(content, hint)
    if isinstance(value, str):
        return BadRow(line, last_line, value)
    return converter.convert(value, line, last_line)


def element_rows(elements: Iterator[Element], converter: RowConverter) -> Iterator[Row | BadRow]:
    """Yield a row for each element of a JSON document. A bad row has its number if it shares a line with others."""
    held: BadRow | None = None  # Until it is known whether the next element is on the same line.
    previous = 0
    try:
        for number, (line, last_line, content) in enumerate(elements, 1):
            if held is not None:
                yield _numbered(held, number - 1) if line == previous else held
            held = None
            row = (
                BadRow(line, last_line, TOO_LONG) if content is None else json_row(content, converter, line, last_line)
            )
            if isinstance(row, BadRow) and line != previous:
                held = row
            elif row is not None:
                yield _numbered(row, number) if isinstance(row, BadRow) else row
            previous = last_line
    except SourceError:
        if held is not None:
            yield held
        raise
    if held is not None:
        yield held


def _numbered(row: BadRow, number: int) -> BadRow:
    return attrs.evolve(row, problem=f"element {number:,}: {row.problem}")


def json_ids(lines: Iterable[bytes], converter: RowConverter) -> Iterator[str]:
    """Yield the user id on each line that has one, much faster than `json_rows`. Bad rows may have ids too."""
    for line in lines:
        user_id = None if converter.has_mapping else _find_fast(line)
        if user_id is None:
            content = _parse_object(without_mark(line))
            user_id = None if content is None else converter.find_id(content)
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
    if name != b"user_id" and (b"\\" in line or _OTHER_ID(line, found.end())):
        return None  # Another field may be the id instead.
    try:
        return user_id.decode()
    except UnicodeDecodeError:
        return None


def _parse_fast(content: bytes, converter: RowConverter, line: int) -> Row | None:
    """Return the user on an ordinary line, or None for a line that `_parse` must inspect or report."""
    try:
        fields = parse_traits(content)
        return None if fields is None else converter.convert_fast(fields, line, content)
    except InvalidTraitsError:
        return None


def _parse(content: bytes, hint: str) -> dict[str, Any] | str:
    """Return the object in *content*, or what is wrong with it."""
    try:
        value = parse_json(content)
    except UnicodeDecodeError:
        return not_utf8(content)
    except RecursionError:
        return "nested too deeply"
    except InvalidTraitsError as error:
        return str(error)
    except ValueError as error:
        return _syntax_problem(content, error, hint)
    return value if _is_object(value) else f"expected an object, got {_TYPE_NAMES[type(value)]}{hint}"


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return type(value) is dict


def _syntax_problem(content: bytes, error: ValueError, hint: str) -> str:
    """Return where *content* stops being JSON. The parser's own message is not used: it may quote the content."""
    if not isinstance(error, json.JSONDecodeError):
        return "has a number with too many digits"
    rest = error.doc[error.pos :].rstrip()
    if not rest and content.endswith(b"\n"):
        return f"is cut off{hint}, or set format to json (--format)"
    if not rest:
        return "is cut off: the file ends inside the object"
    if rest == "," and hint:
        return "has a comma after the object; remove it"
    return f"not valid JSON at column {error.pos + 1}{hint if content[:1] == b'[' else ''}"
