"""Read CSV as RFC 4180 defines it: commas, double quotes and a header."""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import IO, Any, Final, TypeAlias

import attrs

from .._paths import FieldPath, parse_paths
from .._text import pluralize
from ..errors import InvalidTraitsError, SourceError, printable
from ..mapping import CompiledMapping, RowMapping
from ..traits import USER_ID_KEYS
from .rows import BadRow, Row, ToUser, id_finder, to_row, user_factory

# A file without line breaks must not fill the memory; no user is this long.
MAX_LINE: Final = 32 * 1024 * 1024
TOO_LONG: Final = f"is longer than {MAX_LINE // 1024 // 1024} MiB"

# The number of a line, starting at 1, and its bytes with the line break, or None for a line longer than `MAX_LINE`.
# A bulk load makes one for each row, and a tuple is the fastest to make.
Line: TypeAlias = tuple[int, bytes | None]

# UTF-32 comes first: its byte order mark begins with that of UTF-16.
_OTHER_ENCODINGS: Final[Mapping[bytes, str]] = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
# Bytes that are not UTF-8 are decoded to these, so that they affect only the cell that they are in.
_NOT_UTF8: Final = re.compile("[\udc80-\udcff]")
# A line that ends inside a quoted cell: whole cells, each with its comma, then a quote that is not closed.
_UNCLOSED_QUOTE: Final = re.compile(
    r"""(?: "[^"]*+(?:""[^"]*+)*+" [^,]*+, | (?!")[^,]*+, )*+  "[^"]*+(?:""[^"]*+)*+""", re.VERBOSE
)


def read_lines(stream: IO[bytes], source: str) -> Iterator[Line]:
    """Yield the lines of *stream* without a byte order mark.

    Raises:
        SourceError: The stream cannot be read, or begins with the mark of another encoding than UTF-8.
    """
    number = 0
    try:
        while chunk := stream.readline(MAX_LINE):
            number += 1
            if number == 1:
                chunk = _without_byte_order_mark(chunk, source)
                if not chunk:  # The file holds nothing but the mark.
                    return
            if len(chunk) < MAX_LINE or chunk.endswith(b"\n"):
                yield number, chunk
            else:
                _skip_line(stream)
                yield number, None
    except (OSError, ValueError) as error:
        # A ValueError may quote content, for example from a stream that decodes.
        raise SourceError(source, f"cannot be read: {type(error).__name__}") from None


def line_chunks(stream: IO[bytes], source: str) -> Iterator[bytes]:
    """Yield the lines of *stream* faster than `read_lines`, those that are too long in pieces.

    Raises:
        SourceError: The stream begins with the mark of another encoding than UTF-8.
    """
    yield _without_byte_order_mark(stream.readline(MAX_LINE), source)
    yield from iter(partial(stream.readline, MAX_LINE), b"")


def csv_rows(lines: Iterator[Line], source: str, mapping: CompiledMapping | None) -> Iterator[Row | BadRow]:
    """Yield a row for each record after the header.

    Every cell is a string. An empty cell is a null with a *mapping*, and absent without one; an empty id is an error
    in either case. A dotted column name makes a nested trait.

    Raises:
        SourceError: The header is not valid.
    """
    records = _records(lines)
    header = next(records, None)
    if header is None:
        raise SourceError(source, "is empty; expected a first line with the names of the columns")
    schema = _CsvSchema(
        columns=_columns(header, source),
        id_paths=USER_ID_KEYS if mapping is None else mapping.id_paths,
        has_nulls=mapping is not None,
        to_user=user_factory(mapping),
    )
    for record in records:
        yield _row(record, schema)


def csv_ids(lines: Iterator[Line], source: str, mapping: RowMapping) -> Iterator[str]:
    """Yield the user id of each record that has one, much faster than `csv_rows`. Bad rows may have ids too.

    Raises:
        SourceError: The header is not valid.
    """
    records = _records(lines)
    header = next(records, None)
    paths = () if header is None else _columns(header, source)
    columns = [(index, path) for index, path in enumerate(paths) if path.name in mapping.id_paths]
    if not columns:
        return
    end = columns[-1][0] + 1
    find_user_id = id_finder(mapping)
    for record in records:
        cells = _first_cells(record, end)
        row: dict[str, Any] = {}
        for index, path in columns:
            path.set(row, cells[index] or None)
        user_id = find_user_id(row)
        if user_id is not None:
            yield user_id


@attrs.define
class _CsvRecord:
    """The text of one record, which may span several lines; None if it is too long."""

    line: int
    last_line: int
    text: str | None = attrs.field(repr=False)
    is_closed: bool = True


@attrs.frozen
class _CsvSchema:
    """What all records below a header share.

    Attributes:
        columns: Path of the field in each column.
        id_paths: Columns in which an empty cell is kept, to be reported as an invalid id.
        has_nulls: Whether another empty cell is a null instead of an absent field.
        to_user: Turns the fields of a record into a user.
    """

    columns: tuple[FieldPath, ...]
    id_paths: Collection[str]
    has_nulls: bool
    to_user: ToUser


def _row(record: _CsvRecord, schema: _CsvSchema) -> Row | BadRow:
    cells = _cells(record)
    if isinstance(cells, str):
        return BadRow(record.line, record.last_line, cells)
    if len(cells) != len(schema.columns):
        problem = f"has {pluralize(len(cells), 'cell')}, but the header has {len(schema.columns)}"
        return BadRow(record.line, record.last_line, problem)
    row: dict[str, Any] = {}
    for path, cell in zip(schema.columns, cells, strict=True):
        # An empty id must not make an anonymous user: each run would create this user again.
        if cell or path.name in schema.id_paths:
            if not cell.isascii() and _NOT_UTF8.search(cell):
                return BadRow(record.line, record.last_line, f"{printable(path.name)}: not valid UTF-8")
            path.set(row, cell)
        elif schema.has_nulls:
            path.set(row, None)
    return to_row(row, record.line, record.last_line, schema.to_user)


def _cells(record: _CsvRecord) -> list[str] | str:
    """Return the cells of *record*, or what is wrong with it."""
    if record.text is None:
        return TOO_LONG
    if not record.is_closed:
        return "has a quote that is never closed"
    try:
        return next(csv.reader([record.text], strict=True))
    except csv.Error as error:
        if "field larger" in str(error):  # The limit is global to the process, so it is not ours to change.
            return f"has a cell of more than {csv.field_size_limit():,} characters"
        return "has a quote or a line break where CSV allows none"


def _first_cells(record: _CsvRecord, count: int) -> Sequence[str]:
    """Return at least *count* cells of *record*; empty ones if there are fewer."""
    cells = (record.text or "").rstrip("\r\n").split(",", count)
    if any('"' in cell for cell in cells[:count]):
        checked = _cells(record)
        cells = [] if isinstance(checked, str) else checked
    return cells if len(cells) >= count else [""] * count


def _columns(header: _CsvRecord, source: str) -> tuple[FieldPath, ...]:
    cells = _cells(header)
    if isinstance(cells, str):
        raise SourceError(source, f"the header {cells}")
    names = [cell.strip() for cell in cells]
    if any(map(_NOT_UTF8.search, names)):
        raise SourceError(source, "the header is not valid UTF-8")
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        raise SourceError(source, "the columns are separated by semicolons or tabs; save the file with commas")
    if not all(names):
        raise SourceError(source, f"column {names.index('') + 1} has no name")
    return column_paths(names, source)


def column_paths(names: Collection[str], source: str) -> tuple[FieldPath, ...]:
    """Return the path that each column name is.

    Raises:
        SourceError: A name is not unique, not a valid path, or the parent of another one.
    """
    duplicates = [printable(name) for name, count in Counter(names).items() if count > 1]
    if duplicates:
        raise SourceError(source, f"has the column {', '.join(duplicates)} more than once")
    try:
        return parse_paths(names)
    except InvalidTraitsError as error:
        raise SourceError(source, f"column {error}") from error


def _records(lines: Iterator[Line]) -> Iterator[_CsvRecord]:
    """Yield the records that are not blank. Errors inside a record do not change where it ends."""
    for number, content in lines:
        record = _CsvRecord(number, number, None if content is None else _decode(content))
        if record.text is None or '"' in record.text:
            _complete(record, lines)
        if record.text is None or record.text.strip():
            yield record


def _complete(record: _CsvRecord, lines: Iterator[Line]) -> None:
    """Append to *record* the lines that its last cell continues on."""
    if record.text is None or not _ends_in_quotes(record.text):
        return
    parts, size = [record.text], len(record.text)
    record.is_closed = False
    for number, content in lines:
        record.last_line = number
        # A line that is too long neither closes the cell nor is kept.
        text = "" if content is None else _decode(content)
        size += MAX_LINE if content is None else len(text)
        if size <= MAX_LINE:
            parts.append(text)
        if '"' in text and not _ends_in_quotes(f'"{text}'):
            record.is_closed = True
            break
    record.text = "".join(parts) if size <= MAX_LINE else None


def _decode(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _ends_in_quotes(text: str) -> bool:
    return _UNCLOSED_QUOTE.fullmatch(text) is not None


def _skip_line(stream: IO[bytes]) -> None:
    while (chunk := stream.readline(MAX_LINE)) and not chunk.endswith(b"\n"):
        pass


def _without_byte_order_mark(first: Any, source: str) -> bytes:  # noqa: ANN401  # A text stream yields str.
    if not isinstance(first, bytes):
        raise SourceError(source, "expected a binary stream, got a text stream; open the file in binary mode")
    for mark, encoding in _OTHER_ENCODINGS.items():
        if first.startswith(mark):
            raise SourceError(source, f"is {encoding}; save it as UTF-8")
    return first.removeprefix(codecs.BOM_UTF8)
