"""CSV: commas, double quotes and a header, as RFC 4180 has it."""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import IO, Any, Final, TypeAlias

import attrs

from ..errors import InvalidTraitsError, SourceError, printable
from ..mapping import CompiledMapping
from ..traits import USER_ID_KEYS
from .rows import BadRow, Place, Row, UserOf, maker, places, to_row

# A file without line breaks must not fill the memory; no user is this long.
MAX_LINE: Final = 32 * 1024 * 1024

# UTF-32 comes first: its mark begins with that of UTF-16.
_OTHER_ENCODINGS: Final[Mapping[bytes, str]] = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


# The number of a line, counted from 1, and its bytes with the line break, or None when it is longer than `MAX_LINE`.
# One is made for each row of a bulk load, and a tuple is the fastest to make.
Line: TypeAlias = tuple[int, bytes | None]

TOO_LONG: Final = f"is longer than {MAX_LINE // 1024 // 1024} MiB"


def read_lines(stream: IO[bytes], source: str) -> Iterator[Line]:
    """Yield the lines of *stream* without a byte order mark.

    Raises:
        SourceError: It cannot be read, or is not UTF-8 from its first bytes on.
    """
    number = 0
    try:
        while chunk := stream.readline(MAX_LINE):
            number += 1
            if number == 1:
                chunk = _without_mark(chunk, source)
                if not chunk:  # The file is a mark and nothing else.
                    return
            if len(chunk) < MAX_LINE or chunk.endswith(b"\n"):
                yield number, chunk
            else:
                _skip_line(stream)
                yield number, None
    except (OSError, ValueError) as error:
        # A ValueError may quote what was read, for example from a stream that decodes.
        raise SourceError(source, f"cannot be read: {type(error).__name__}") from None


def _skip_line(stream: IO[bytes]) -> None:
    while (chunk := stream.readline(MAX_LINE)) and not chunk.endswith(b"\n"):
        pass


def _without_mark(first: Any, source: str) -> bytes:  # noqa: ANN401  # A stream of text gives text.
    if not isinstance(first, bytes):
        raise SourceError(source, "gives text; open it in binary mode")
    for mark, encoding in _OTHER_ENCODINGS.items():
        if first.startswith(mark):
            raise SourceError(source, f"is {encoding}; save it as UTF-8")
    return first.removeprefix(codecs.BOM_UTF8)


# Bytes that are not UTF-8 become these, so that they spoil the cell they are in and nothing else.
_NOT_UTF8: Final = re.compile("[\udc80-\udcff]")
# A line that ends inside a quoted cell: whole cells, each to its comma, and then a quote that is not closed.
_ENDS_INSIDE: Final = re.compile(
    r"""(?: "[^"]*+(?:""[^"]*+)*+" [^,]*+, | (?!")[^,]*+, )*+  "[^"]*+(?:""[^"]*+)*+""", re.VERBOSE
)


@attrs.define
class _CsvRecord:
    """One row of CSV as it stands in the file, on one line or on several."""

    line: int
    last_line: int
    text: str | None = attrs.field(repr=False)
    closed: bool = True


@attrs.frozen
class _CsvSchema:
    """What the rows below a header have in common.

    Attributes:
        columns: Where the cells of each column go.
        ids: Names of the columns in which an empty cell is not nothing.
        nulls: Whether an empty cell is a null, and not absent.
        user_of: What makes users of rows.
    """

    columns: tuple[Place, ...]
    ids: Collection[str]
    nulls: bool
    user_of: UserOf


def csv_rows(lines: Iterator[Line], source: str, plan: CompiledMapping | None) -> Iterator[Row | BadRow]:
    """Yield one row for each record after the header.

    Every cell is a string; an empty one says nothing, but for an id. For a *plan* it is a null. A dotted column name
    makes a nested trait.

    Raises:
        SourceError: The header cannot be used.
    """
    records = _records(lines)
    header = next(records, None)
    if header is None:
        raise SourceError(source, "is empty; the first line of CSV names the columns")
    table = _CsvSchema(
        _columns(header, source), USER_ID_KEYS if plan is None else plan.ids, plan is not None, maker(plan)
    )
    for record in records:
        yield _row(record, table)


def _records(lines: Iterator[Line]) -> Iterator[_CsvRecord]:
    """Yield the records that are not blank; where one ends does not depend on what is wrong inside it."""
    for number, content in lines:
        record = _CsvRecord(number, number, None if content is None else _text(content))
        if record.text is None or '"' in record.text:
            _complete(record, lines)
        if record.text is None or record.text.strip():
            yield record


def _complete(record: _CsvRecord, lines: Iterator[Line]) -> None:
    """Add to *record* the lines that its last cell goes on for."""
    if record.text is None or not _ends_inside(record.text):
        return
    parts, size = [record.text], len(record.text)
    record.closed = False
    for number, content in lines:
        record.last_line = number
        # A line too long to look at neither closes the cell nor can be kept.
        text = "" if content is None else _text(content)
        size += MAX_LINE if content is None else len(text)
        if size <= MAX_LINE:
            parts.append(text)
        if '"' in text and not _ends_inside(f'"{text}'):
            record.closed = True
            break
    record.text = "".join(parts) if size <= MAX_LINE else None


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _ends_inside(text: str) -> bool:
    return _ENDS_INSIDE.fullmatch(text) is not None


def _columns(header: _CsvRecord, source: str) -> tuple[Place, ...]:
    """Return where the cells of each column go."""
    cells = _cells(header)
    if isinstance(cells, str):
        raise SourceError(source, f"its header {cells}")
    names = [cell.strip() for cell in cells]
    if any(map(_NOT_UTF8.search, names)):
        raise SourceError(source, "its header is not UTF-8")
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        raise SourceError(source, "separates its columns by semicolons or tabs; save it with commas")
    if not all(names):
        raise SourceError(source, f"column {names.index('') + 1} has no name")
    twice = [printable(name) for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SourceError(source, f"has the column {', '.join(twice)} more than once")
    try:
        return places(names)
    except InvalidTraitsError as error:
        raise SourceError(source, f"column {error}") from error


def _row(record: _CsvRecord, table: _CsvSchema) -> Row | BadRow:
    cells = _cells(record)
    if isinstance(cells, str):
        return BadRow(record.line, record.last_line, cells)
    if len(cells) != len(table.columns):
        problem = f"has {len(cells)} cells, but the header has {len(table.columns)}"
        return BadRow(record.line, record.last_line, problem)
    row: dict[str, Any] = {}
    for place, cell in zip(table.columns, cells, strict=True):
        # An empty id is no anonymous user, whom every run would create anew, but a row to be told about.
        if cell or place.name in table.ids:
            if not cell.isascii() and _NOT_UTF8.search(cell):
                return BadRow(record.line, record.last_line, f"{printable(place.name)}: is not UTF-8")
            place.put(row, cell)
        elif table.nulls:
            place.put(row, None)
    return to_row(row, record.line, record.last_line, table.user_of)


def _cells(record: _CsvRecord) -> list[str] | str:
    """Return the cells of *record*, or what is wrong with it."""
    if record.text is None:
        return TOO_LONG
    if not record.closed:
        return "has a quote that is never closed"
    try:
        return next(csv.reader([record.text], strict=True))
    except csv.Error as error:
        if "field larger" in str(error):  # The limit is the process's own, and not ours to change.
            return f"has a cell of more than {csv.field_size_limit():,} characters"
        return "has a quote or a line break in a place where CSV has none"
