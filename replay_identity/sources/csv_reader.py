"""Read CSV as RFC 4180 defines it: double quotes, a header, and commas or another delimiter."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from typing import Any, Final

import attrs

from .._paths import FieldPath
from .._text import pluralize
from ..errors import SourceError, printable
from ..traits import plain_name
from .conversion import NAME_COLUMN, REPEATED_HEADER, RowConverter, above_header
from .lines import MAX_LINE, TOO_LONG, Line, not_utf8
from .rows import BadRow, Row

_DELIMITERS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
# The rest of a quoted cell, up to the end of a line in which it is not closed.
_UNCLOSED: Final = re.compile(r'[^"]*+(?:""[^"]*+)*+')
# A quoted cell, which may go on in the next line.
_QUOTED: Final = re.compile(r'"[^"]*(?:""[^"]*)*(?:"|$)')
# The first line with which Excel writes and reads the delimiter.
_SEP_LINE: Final = re.compile(r'"?sep=(.)"?\r?\n?', re.IGNORECASE)
# The line below the header of a table that is printed for people, as psql and Markdown do.
_RULER: Final = re.compile(r"\s*[|+]?[\s:]*--[-+|:\s]*")
_BYTE_ORDER_MARK: Final = "\ufeff"
# What a row of empty cells has.
_BLANK: Final = ',;|\t \r\n"'
# The longest name that may be the value of another column.
_MAX_CODE: Final = 2
# Of a cell and of a name, that many characters are compared first: almost all rows differ there already.
_START: Final = 3
_SEP_START: Final = "sep"
_JSON: Final = re.compile(r'\s*(?:\[\s*$|\[?\s*\{\s*(?:"|\}|$))')
_MAX_TITLES: Final = 20
# Bytes that are not UTF-8 are decoded to these, so that they affect only the cell that they are in.
_NOT_UTF8: Final = re.compile("[\udc80-\udcff]")
_FOR_PEOPLE: Final = "is a table printed for people, not CSV; export it as CSV, in psql with \\copy … csv header"
# No id begins like that: in other dialects, text is in single quotes, and spreadsheets mark text by ' or =.
_NO_ID: Final = ("'", "=")
_QUOTED_WHOLE: Final = "is in quotes as a whole, so that it is one cell; remove the quotes around each line"
_SET_DELIMITER: Final = "set delimiter to the character between cells (--delimiter)"
# What may be between the names of several columns, in a name.
_SEPARATOR: Final = re.compile(r"[^\w.-]")
_SQL_HINT: Final = "a query with read_csv(…) can read other dialects (--sql)"


def csv_rows(
    lines: Iterator[Line], source: str, converter: RowConverter, *, delimiter: str | None
) -> Iterator[Row | BadRow]:
    """Yield a row for each record after the header.

    Every cell is a string. An empty cell is a null with a mapping, and absent without one; an empty id is an error in
    either case. A dotted column name makes a nested trait. Records whose cells are all empty are skipped.

    Args:
        lines: The lines of the file.
        source: Name of the file, for errors.
        converter: Converts the cells of a record to a user.
        delimiter: The character between cells, or None to find it in the header.

    Raises:
        SourceError: The header is not valid, or the delimiter cannot be told from it.
    """
    table = _Table.open(lines, source, converter, delimiter)
    for record in table.records:
        row = _row(record, table, converter)
        if row is not None:
            yield row


def csv_ids(lines: Iterator[Line], source: str, converter: RowConverter, *, delimiter: str | None) -> Iterator[str]:
    """Yield the user id of each record that has one, much faster than `csv_rows`. Bad rows may have ids too.

    Raises:
        SourceError: The header is not valid, or the delimiter cannot be told from it.
    """
    table = _Table.open(lines, source, converter, delimiter)
    indexed = zip(table.indexes, table.columns, strict=True)
    columns = [(index, path) for index, path in indexed if converter.decides_id(path)]
    if not columns:
        return
    end = columns[-1][0] + 1
    for record in table.records:
        cells = _first_cells(record, table.delimiter, end)
        row: dict[str, Any] = {}
        for index, path in columns:
            path.set(row, cells[index] or None)
        user_id = converter.find_id(row)
        if user_id is not None:
            yield user_id


@attrs.define
class _Record:
    """A record, which may span several lines.

    Attributes:
        line: Number of its first line.
        last_line: Number of its last line.
        text: Its text, or None if it is too long.
        is_closed: Whether its last quote is closed.
        quote_line: Number of the line in which the quote of the last cell that goes on in the next line is opened.
    """

    line: int
    last_line: int
    text: str | None = attrs.field(repr=False)
    is_closed: bool = True
    quote_line: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.quote_line = self.line

    def bad_row(self, problem: str) -> BadRow:
        """Return the bad row that this is.

        Of a cell over several lines, it says where it begins: its quote may be one too many, and its lines other rows.
        """
        if self.last_line > self.line:
            count = self.last_line - self.quote_line + 1
            problem = f"{problem}; the quote that is opened in line {self.quote_line} takes in {count:,} lines"
        return BadRow(self.line, self.last_line, problem)


@attrs.frozen
class _Table:
    """The header of a file, and the records below it.

    Attributes:
        source: Name of the file.
        delimiter: The character between cells.
        header: The names of the columns, without empty ones at the end, as `plain_name` returns them.
        starts: How these names start.
        id_index: Index of the column of the user id, or of the first one with a name.
        id_name: Its name as the header has it.
        indexes: The indexes of the columns that have a name.
        columns: The path of the field in each of them.
        keeps_empty: Whether an empty cell of a column is kept, because it is an invalid id.
        records: The records below the header that are not blank.
    """

    source: str
    delimiter: str
    header: list[str]
    starts: frozenset[str]
    id_index: int
    id_name: str
    indexes: tuple[int, ...]
    columns: tuple[FieldPath, ...]
    keeps_empty: tuple[bool, ...]
    records: Iterator[_Record] = attrs.field(repr=False)

    @classmethod
    def open(cls, lines: Iterator[Line], source: str, converter: RowConverter, delimiter: str | None) -> "_Table":
        """Read the header.

        Raises:
            SourceError: There is none, or it is not valid.
        """
        lines, delimiter = _read_delimiter(lines, source, delimiter)
        records = _records(lines, delimiter)
        first = next(records, None)
        if first is None:
            raise SourceError(source, "is empty; expected a first line with the names of the columns")
        names = _names(first, delimiter, source)
        # Titles above the header have fewer cells than the rows.
        rest = list(islice(records, 1 if len(names) > 1 and all(names) else _MAX_TITLES))
        _check_first(rest, len(names), delimiter, converter)
        _check_unnamed(rest, names, delimiter, source)
        columns = _columns(first, list(filter(None, names)), delimiter, chain(rest, records), converter)
        keeps_empty = tuple(path.name in converter.id_paths for path in columns)
        header = list(map(plain_name, names))
        indexes = tuple(index for index, name in enumerate(names) if name)
        id_index = indexes[keeps_empty.index(True) if any(keeps_empty) else 0]
        return cls(
            source=source,
            delimiter=delimiter,
            header=header,
            starts=frozenset({_SEP_START, *(name[:_START] for name in header if name)}),
            id_index=id_index,
            id_name=names[id_index],
            indexes=indexes,
            columns=columns,
            keeps_empty=keeps_empty,
            records=chain(rest, records),
        )


def _check_unnamed(records: Sequence[_Record], names: Sequence[str], delimiter: str, source: str) -> None:
    """Raise SourceError if one of the first *records* has a value in a column without a name."""
    for record in records:
        cells = _cells(record, delimiter)
        if isinstance(cells, str) or len(cells) < len(names):
            continue
        for index, (cell, name) in enumerate(zip(cells, names, strict=False)):
            if cell and not name:
                raise SourceError(source, f"column {index + 1} has values, but no name; {_unnamed_hint(index, names)}")


def _unnamed_hint(index: int, names: Sequence[str]) -> str:
    if not any(names[1::2]):
        return f"if the delimiter has several characters, {_SQL_HINT}"
    return f"{NAME_COLUMN}, or, if it is the index of a data frame, export without it" if index == 0 else NAME_COLUMN


def _columns(
    header: _Record, names: Sequence[str], delimiter: str, rest: Iterator[_Record], converter: RowConverter
) -> tuple[FieldPath, ...]:
    """Return where the value of each column goes.

    Raises:
        SourceError: The *header* is not valid; *rest*, the records below it, and the delimiter may show why.
    """
    try:
        return converter.columns(names)
    except SourceError as error:
        if len(names) == 1 and (found := _delimiters(names[0])):
            if (header.text or "").lstrip().startswith('"'):
                raise SourceError(error.source, f"the header {_QUOTED_WHOLE}") from None
            problem = f"the header has {found} instead of {_DELIMITERS.get(delimiter, delimiter)}; {_SET_DELIMITER}"
            raise SourceError(error.source, problem) from None
        titles = _titles_problem(islice(rest, _MAX_TITLES), delimiter, converter)
        if titles is not None:
            raise SourceError(error.source, titles) from None
        if len(names) == 1 and _SEPARATOR.search(names[0]):
            problem = f"{error.problem}; if it is several columns, {_SET_DELIMITER}"
            raise SourceError(error.source, problem) from None
        raise


def _titles_problem(records: Iterable[_Record], delimiter: str, converter: RowConverter) -> str | None:
    """Return what is wrong if one of the *records* below the first line is the header."""
    for record in records:
        cells = _cells(record, delimiter)
        if not isinstance(cells, str) and converter.is_header(cells):
            return f"{above_header(record.line)}, or skip them with read_csv(…, skip={record.line - 1}) (--sql)"
    return None


def _delimiters(text: str) -> str:
    """Return the names of the usual delimiters in *text*."""
    return " and ".join(name for delimiter, name in _DELIMITERS.items() if delimiter in text)


def _check_first(records: Sequence[_Record], column_count: int, delimiter: str, converter: RowConverter) -> None:
    """Check the first *records* below a header.

    Raises:
        SourceError: They show that the first line is not the header, that the rows have another delimiter, or that the
            file is not CSV.
    """
    for record in records:
        cells = _cells(record, delimiter)
        if column_count > 1 and _RULER.fullmatch(record.text or ""):
            raise SourceError(converter.source, _FOR_PEOPLE)
        if isinstance(cells, str):
            continue
        if column_count == 1 < len(cells) and any(cells[1:]):
            problem = f"has more cells below the first line than in it; {_SQL_HINT}"
            raise SourceError(converter.source, _titles_problem(records, delimiter, converter) or problem)
        if len(cells) == 1 < column_count:
            _check_only_cell(cells[0], record, column_count, delimiter, converter.source)


def _check_only_cell(cell: str, record: _Record, column_count: int, delimiter: str, source: str) -> None:
    if _is_quoted_whole([cell], record, delimiter):
        raise SourceError(source, f"line {record.line} {_QUOTED_WHOLE}")
    for other, name in _DELIMITERS.items():
        if cell.count(other) == column_count - 1:
            problem = f"line {record.line} has {name}, and the header {_DELIMITERS.get(delimiter, delimiter)}"
            raise SourceError(source, f"{problem}; {_SET_DELIMITER}")


def _is_quoted_whole(cells: Sequence[str], record: _Record, delimiter: str) -> bool:
    return len(cells) == 1 and delimiter in cells[0] and (record.text or "").startswith('"')


def _row(record: _Record, table: _Table, converter: RowConverter) -> Row | BadRow | None:
    cells = _cells(record, table.delimiter)
    if isinstance(cells, str):
        return record.bad_row(cells)
    if len(cells) > 1 and not any(cells):
        return None
    problem = _problem(cells, record, table)
    if problem is not None:
        return record.bad_row(problem)
    if len(cells) > len(table.columns):
        cells = [cells[index] for index in table.indexes]
    row: dict[str, Any] = {}
    has_nulls = converter.has_mapping
    for path, keeps_empty, cell in zip(table.columns, table.keeps_empty, cells, strict=True):
        # An empty id must not make an anonymous user: each run would create this user again.
        if cell or keeps_empty:
            path.set(row, cell)
        elif has_nulls:
            path.set(row, None)
    return converter.convert(row, record.line, record.last_line)


def _problem(cells: list[str], record: _Record, table: _Table) -> str | None:
    """Return what is wrong with the *cells* of a record, without empty ones at the end, or None.

    Raises:
        SourceError: They are another header.
    """
    text, count = record.text or "", len(table.header)
    if _may_be_header(cells, text, table) and (problem := _header_problem(cells, text, table)) is not None:
        return problem
    if len(cells) != count and not _trim(cells, count):
        if _is_quoted_whole(cells, record, table.delimiter):
            return _QUOTED_WHOLE
        problem = f"has {pluralize(len(cells), 'cell')}, but the header has {count}"
        is_quoted = "'" in text or (len(cells) == 1 and '"' in text)
        return f"{problem}; {_SQL_HINT}" if is_quoted else problem
    return _cell_problem(cells, text, table)


def _cell_problem(cells: Sequence[str], text: str, table: _Table) -> str | None:
    """Return what is wrong with one of *cells*, of which there are as many as columns."""
    count = len(cells)
    if count > len(table.columns) and (problem := _unnamed_problem(cells, table)) is not None:
        return problem
    if "\0" in text:
        return "has a zero byte; if the file is UTF-16, set encoding (--encoding)"
    if not text.isascii() and _NOT_UTF8.search(text):
        index = next(index for index, cell in enumerate(cells) if _NOT_UTF8.search(cell))
        return f"{_shown_column(index, table)}: {_not_utf8(text)}"
    if count == 1 and text.partition(_BYTE_ORDER_MARK)[2].strip():
        return "has a byte order mark inside; if files were joined, pass them one by one"
    user_id = cells[table.id_index]
    if user_id.startswith(_NO_ID) or (count == 1 and (";" in user_id or "\t" in user_id)):
        return f"{_shown_column(table.id_index, table)}: {_id_problem(user_id)}"
    return None


def _unnamed_problem(cells: Sequence[str], table: _Table) -> str | None:
    for index, (cell, name) in enumerate(zip(cells, table.header, strict=True)):
        if cell and not name:
            return f"has a value in column {index + 1}, which has no name in the header"
    return None


def _shown_column(index: int, table: _Table) -> str:
    return printable(table.columns[table.indexes.index(index)].name)


def _id_problem(user_id: str) -> str:
    if user_id.startswith("'"):
        return f"has single quotes around it, or one before it; {_SQL_HINT}"
    if user_id.startswith("="):
        return f"is a formula of a spreadsheet; {_SQL_HINT}"
    return f"has a delimiter that the header does not have; {_SET_DELIMITER}"


def _trim(cells: list[str], count: int) -> bool:
    """Remove empty cells beyond *count* from the end of *cells*; return True if *count* are left."""
    if len(cells) > count and not any(cells[count:]):
        del cells[count:]
    return len(cells) == count


def _may_be_header(cells: list[str], text: str, table: _Table) -> bool:
    """Return True if *cells*, which *text* has, may be a header; fast, because few rows may."""
    return table.id_name in text or cells[0].lstrip()[:_START].lower() in table.starts or _starts_as_id(cells, table)


def _starts_as_id(cells: list[str], table: _Table) -> bool:
    index = table.id_index
    return 0 < index < len(cells) and cells[index].lstrip()[:_START].lower() in table.starts


def _header_problem(cells: list[str], text: str, table: _Table) -> str | None:
    """Return what is wrong if *cells* are the header again, as in files that were joined.

    Raises:
        SourceError: They are a header with other columns, so that all rows below it would be misread.
    """
    if _SEP_LINE.fullmatch(text):
        return "is a line that belongs above the header; if files were joined, pass them one by one"
    names = list(map(plain_name, cells))
    _trim(names, len(table.header))
    if names == table.header:
        return REPEATED_HEADER
    id_name = table.header[table.id_index]
    # Two letters may be a value: "id" is a country.
    is_header = id_name in (names if len(id_name) > _MAX_CODE else names[table.id_index : table.id_index + 1])
    if is_header or (len(names) > 1 and "" not in names and set(names).issubset(table.header)):
        raise SourceError(table.source, "has another header further down; if files were joined, pass them one by one")
    return None


def _not_utf8(text: str) -> str:
    return not_utf8(text.encode("utf-8", "surrogateescape"))


def _cells(record: _Record, delimiter: str) -> list[str] | str:
    """Return the cells of *record*, or what is wrong with it."""
    if record.text is None:
        return TOO_LONG
    if not record.is_closed:
        return "has a quote that is never closed"
    try:
        return next(csv.reader([record.text], strict=True, delimiter=delimiter))
    except csv.Error as error:
        if "field larger" in str(error):  # The limit is global to the process, so it is not ours to change.
            return f"has a cell of more than {csv.field_size_limit():,} characters"
        return f"has a quote or a line break where CSV allows none; {_SQL_HINT}"


def _first_cells(record: _Record, delimiter: str, count: int) -> Sequence[str]:
    """Return at least *count* cells of *record*; empty ones if there are fewer."""
    cells = (record.text or "").rstrip("\r\n").split(delimiter, count)
    if any('"' in cell for cell in cells[:count]):
        checked = _cells(record, delimiter)
        cells = [] if isinstance(checked, str) else checked
    return cells if len(cells) >= count else [""] * count


def _read_delimiter(lines: Iterator[Line], source: str, delimiter: str | None) -> tuple[Iterator[Line], str]:
    """Return *lines* from the header on, and *delimiter* or the one that Excel's line ``sep=;`` or the header shows.

    Raises:
        SourceError: The header shows several delimiters.
    """
    for number, content in lines:
        text = "" if content is None else _decode(content)
        found = _SEP_LINE.fullmatch(text)
        if found is not None and delimiter is None:
            delimiter = found[1]
        elif found is None and (content is None or text.strip(_BLANK)):
            return chain([(number, content)], lines), delimiter or _find_delimiter(text, source)
    return iter(()), ","


def _find_delimiter(header: str, source: str) -> str:
    """Return the delimiter of the *header*: the only one of the usual ones that it has outside quotes.

    Raises:
        SourceError: It has several.
    """
    text = _QUOTED.sub("", header)
    found = [delimiter for delimiter in _DELIMITERS if delimiter in text]
    if len(found) > 1:
        raise SourceError(source, f"the header has {_delimiters(text)}; {_SET_DELIMITER}")
    return found[0] if found else ","


def _names(header: _Record, delimiter: str, source: str) -> list[str]:
    if _JSON.match(header.text or ""):  # Its values must not be listed as names of columns.
        raise SourceError(source, "is JSON instead of CSV; set format to jsonl or json (--format)")
    cells = _cells(header, delimiter)
    if isinstance(cells, str):
        raise SourceError(source, f"the header {cells}")
    names = [cell.strip() for cell in cells]
    while names and not names[-1]:
        del names[-1]
    if any(map(_NOT_UTF8.search, names)):
        raise SourceError(source, f"the header is {_not_utf8(header.text or '')}")
    if not names:
        raise SourceError(source, "the header has no names")
    if delimiter == "|" and not names[0] and (header.text or "").rstrip().endswith("|"):
        raise SourceError(source, _FOR_PEOPLE)  # Markdown.
    if names[0].startswith("#"):
        raise SourceError(source, f"begins with a comment; {_SQL_HINT}")
    if header.text is not None and _RULER.fullmatch(header.text):
        raise SourceError(source, _FOR_PEOPLE)
    if any(name.startswith('"') for name in names):
        raise SourceError(source, f"the header has spaces before its quotes; {_SQL_HINT}")
    return names


def _records(lines: Iterator[Line], delimiter: str) -> Iterator[_Record]:
    """Yield the records that are not blank. Errors inside a record do not change where it ends."""
    for number, content in lines:
        # Files that begin with a byte order mark may have been joined.
        text = None if content is None else _decode(content).lstrip(_BYTE_ORDER_MARK)
        record = _Record(number, number, text)
        if record.text is None or '"' in record.text:
            _complete(record, lines, delimiter)
        if record.text is None or record.text.strip():
            yield record


def _complete(record: _Record, lines: Iterator[Line], delimiter: str) -> None:
    """Append to *record* the lines that its last cell continues on."""
    if record.text is None or not _ends_in_quotes(record.text, delimiter):
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
        if '"' in text and not _ends_in_quotes(f'"{text}', delimiter):
            record.is_closed = True
            break
        if '"' in text and not _UNCLOSED.fullmatch(text):
            record.quote_line = number
    record.text = "".join(parts) if size <= MAX_LINE else None


def _decode(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _ends_in_quotes(text: str, delimiter: str) -> bool:
    return _unclosed_quote(delimiter).fullmatch(text) is not None


@lru_cache(maxsize=16)
def _unclosed_quote(delimiter: str) -> re.Pattern[str]:
    """Return the pattern of a line that ends inside a quoted cell: whole cells, then a quote that is not closed."""
    end = re.escape(delimiter)
    quoted, other = rf'"[^"]*+(?:""[^"]*+)*+"[^{end}]*+{end}', rf'(?!")[^{end}]*+{end}'
    return re.compile(rf'(?:{quoted}|{other})*+"[^"]*+(?:""[^"]*+)*+')
