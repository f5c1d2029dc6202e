"""Read the sheets of Excel workbooks with openpyxl, row by row.

openpyxl is slower than the other readers of Excel, but it is the only one that keeps errors and formulas without a
value apart from empty cells, and that does not need the whole sheet in memory. For 200,000 rows of 8 columns it needs
12 s of processor time and 46 MB (benchmarked 2026-11-30; python-calamine: 1.2 s and 144 MB; DuckDB: 1.8 s and 60 MB).
"""

import contextlib
import re
import warnings
import zipfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from difflib import get_close_matches
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeAlias

import attrs

from .._paths import FieldPath
from ..errors import ConfigurationError, SourceError, printable
from .conversion import NAME_COLUMN, RowConverter, above_header
from .rows import BadRow, Row

_OLE2: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Excel keeps 15 significant digits of a number, and a sheet has 1,048,576 rows.
_MAX_DIGITS: Final = 15
_MAX_ROWS: Final = 1_048_576
_FIRST_YEAR: Final = 1900
_BATCH: Final = 1000
_CHUNK: Final = 1024 * 1024
# Longer than any formula, which has at most 8,192 characters, and its cell.
_MAX_CELL: Final = 64 * 1024

# A cell with a formula and without a value. An empty text is the value of a cell with the type `str`.
_UNCALCULATED: Final = re.compile(
    rb"""<(?:\w+:)?c(?![^>]*\st="str")(?:\s[^>]*)?>\s*
         <(?:\w+:)?f(?:\s[^>]*)?(?:/>|>[^<]*</(?:\w+:)?f>)\s*
         (?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v>\s*</(?:\w+:)?v>)?\s*
         </(?:\w+:)?c>""",
    re.VERBOSE,
)
_ERRORS: Final = frozenset({"#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A"})


# What a number format shows besides digits: a colour or locale, a space as wide as a character, and a fill.
_INVISIBLE: Final = re.compile(r"\[(?:\$-[^\]]*|[A-Za-z]+[0-9]*)\]|_.|\*.|\\?\s")
# A format that shows a whole number by its digits, with at least as many as the first group has zeros.
_PLAIN_FORMAT: Final = re.compile(r"General|@|[#?,]*((?:0[,0]*)?)(?<!,)(?:\.[0#?]*)?", re.IGNORECASE)
_MAX_TITLES: Final = 20
# The number and the values of a row.
_SheetRow: TypeAlias = tuple[int, tuple[object, ...]]


@attrs.frozen
class BadCell:
    """A cell that has no value, although it is not empty.

    Attributes:
        problem: What is wrong, without the cell's content.
    """

    problem: str


@attrs.frozen
class FormattedNumber:
    """A whole number that its cell shows in another way, such as with leading zeros.

    Attributes:
        value: The number that the cell holds.
    """

    value: int = attrs.field(repr=False)

    def __str__(self) -> str:
        return str(self.value)


def read_sheet(
    path: Path, source: str, *, sheet: str | None = None
) -> Generator[tuple[int, tuple[object, ...]], None, None]:
    """Yield the number and the values of each row that is not blank, the header first.

    Empty cells at the end are left out, and None stands for others. Whole numbers are integers, or a `FormattedNumber`
    if their cells show other text, dates without a time of day are dates, and a cell that holds an error has a
    `BadCell` as its value.

    Args:
        path: The workbook.
        source: Its name, for errors.
        sheet: Name of the sheet; by default the only visible one that is not empty.

    Raises:
        SourceError: The workbook cannot be read, has no such sheet, or has several.
        ConfigurationError: openpyxl is not installed.
    """
    with _open_sheets(path, source, sheet) as sheets:
        for number, cells in enumerate(_rows(sheets, source), 1):
            values = [_value(*cell) for cell in cells]
            while values and values[-1] is None:
                values.pop()
            if values:
                yield number, tuple(values)


def excel_rows(path: Path, source: str, converter: RowConverter, *, sheet: str | None) -> Iterator[Row | BadRow]:
    """Yield a row for each row of a sheet below the header.

    Raises:
        SourceError: The workbook cannot be read, or its header is not valid.
        ConfigurationError: openpyxl is not installed.
    """
    with contextlib.closing(read_sheet(path, source, sheet=sheet)) as rows:
        header, rest = _Header.read(rows, source, converter)
        for number, values in rest:
            problem = header.problem(values)
            row = (
                converter.convert(header.fields(values, converter), number)
                if problem is None
                else BadRow(number, number, problem)
            )
            if row is not None:
                yield row


def excel_ids(path: Path, source: str, converter: RowConverter, *, sheet: str | None) -> Iterator[str]:
    """Yield the user id of each row that has one. Bad rows may have ids too.

    Raises:
        SourceError: The workbook cannot be read, or its header is not valid.
        ConfigurationError: openpyxl is not installed.
    """
    with contextlib.closing(read_sheet(path, source, sheet=sheet)) as rows:
        header, rest = _Header.read(rows, source, converter)
        for _, values in rest:
            if header.problem(values) is None:
                user_id = converter.find_id(header.fields(values, converter))
                if user_id is not None:
                    yield user_id


@attrs.frozen
class _Header:
    """The names in the first row.

    Attributes:
        names: The name of each column; an empty one if it has none.
        columns: The path of the field in each column that has a name, by index.
        ids: The indexes of those columns that may hold the user id.
    """

    names: tuple[str, ...]
    columns: Mapping[int, FieldPath]
    ids: frozenset[int]

    @classmethod
    def read(
        cls, rows: Iterator[_SheetRow], source: str, converter: RowConverter
    ) -> "tuple[_Header, Iterator[_SheetRow]]":
        """Return the header, and the rows below it.

        Raises:
            SourceError: There is none, or it is not valid.
        """
        _, values = next(rows, (0, ()))
        if not values:
            raise SourceError(source, "is empty; expected a first row with the names of the columns")
        for index, value in enumerate(values):
            if isinstance(value, BadCell):
                raise SourceError(source, f"the header, column {_letters(index)}: {value.problem}")
        names = _names(values)
        indexes = [index for index, name in enumerate(names) if name]
        first = [] if all(names) else list(islice(rows, _MAX_TITLES))
        for _, cells in first:
            for index, (cell, name) in enumerate(zip(cells, names, strict=False)):
                if cell is not None and not name:
                    raise SourceError(source, f"column {_letters(index)} has values, but no name; {NAME_COLUMN}")
        try:
            paths = converter.columns([names[index] for index in indexes])
        except SourceError:
            for number, titles in islice(chain(first, rows), _MAX_TITLES):
                if converter.is_header(_names(titles)):
                    raise SourceError(source, above_header(number)) from None
            raise
        columns = dict(zip(indexes, paths, strict=True))
        ids = frozenset(index for index, path in columns.items() if path.name in converter.id_paths)
        return cls(names, columns, ids), chain(first, rows)

    def problem(self, values: Sequence[object]) -> str | None:
        """Return what is wrong with a row, or None."""
        for index, value in enumerate(values):
            if value is None:
                continue
            if index not in self.columns:
                return f"has a value in column {_letters(index)}, which has no name in the header"
            bad = value if isinstance(value, BadCell) else _bad_id(value) if index in self.ids else None
            if bad is not None:
                return f"{printable(self.names[index])}: {bad.problem}"
        first = values[0]
        is_repeated = isinstance(first, str) and first.strip() == self.names[0] and _names(values) == self.names
        return "repeats the header" if is_repeated else None

    def fields(self, values: Sequence[object], converter: RowConverter) -> dict[str, Any]:
        """Return the fields of a row. An empty id is kept as a null, so that it makes no anonymous user."""
        fields: dict[str, Any] = {}
        for index, path in self.columns.items():
            value = values[index] if index < len(values) else None
            if isinstance(value, FormattedNumber):
                value = value.value
            if value is not None or converter.has_mapping or path.name in converter.id_paths:
                path.set(fields, value)
        return fields


def _names(values: Sequence[object]) -> tuple[str, ...]:
    return tuple("" if value is None else str(value).strip() for value in values)


def _value(cell: Any, formula: Any) -> object:  # noqa: ANN401  # Cells of openpyxl, which has no common type for them.
    """Return the value of a cell; *formula* is the same cell with its formula, or None if all formulas have values."""
    value = cell.value
    if value is None:
        if formula is not None and formula.data_type == "f" and cell.data_type != "str":
            return BadCell("has a formula without a value; open the file in Excel and save it")
        return None
    if isinstance(value, str):
        if cell.data_type == "e":
            return BadCell(f"has the error {value}" if value in _ERRORS else "has an error")
        return (_unescape(value) if "_x" in value else value) or None
    if isinstance(value, bool | time):
        return value
    if isinstance(value, datetime):
        return _moment(value, cell.number_format)
    return _number(value, cell.number_format) if isinstance(value, int | float) else value


def _bad_id(value: object) -> BadCell | None:
    """Return what is wrong with an id that Excel may have changed, or None."""
    if isinstance(value, FormattedNumber):
        return BadCell(
            "the cell shows other text than the number it holds; store ids as text, or set its format to General"
        )
    if isinstance(value, date | time | timedelta):
        return BadCell("is a date or a time, which Excel may have made of an id; store ids as text")
    return None


def _number(value: float, number_format: str) -> object:
    if not float(value).is_integer():
        return value
    if abs(value) >= 10**_MAX_DIGITS:
        return BadCell(f"has more than {_MAX_DIGITS} digits, which Excel does not keep; store ids as text")
    number = int(value)
    return number if len(str(abs(number))) >= _least_digits(number_format) else FormattedNumber(number)


@lru_cache(maxsize=256)
def _least_digits(number_format: str) -> int:
    """Return how many digits the format shows at least of a whole number; too many if it shows other text."""
    shown = _PLAIN_FORMAT.fullmatch(_INVISIBLE.sub("", number_format.partition(";")[0]))
    return _MAX_DIGITS + 1 if shown is None else (shown[1] or "").count("0")


def _moment(value: datetime, number_format: str) -> object:
    """Return a date if *value* is midnight and is shown without the time of day."""
    from openpyxl.styles.numbers import is_datetime  # noqa: PLC0415  # As in `_openpyxl`.

    if value.year < _FIRST_YEAR:
        return BadCell("is a date before 1900, which Excel does not have")
    return value.date() if value.time() == time() and is_datetime(number_format) == "date" else value


def _unescape(text: str) -> str:
    from openpyxl.utils.escape import unescape  # noqa: PLC0415  # As in `_openpyxl`.

    return str(unescape(text))


def _openpyxl() -> ModuleType:
    try:
        import openpyxl  # noqa: PLC0415  # The other formats must work without the extra.
    except ImportError as error:
        if error.name != "openpyxl":
            raise
        hint = "install it with: pip install 'replay-identity[files]'"
        raise ConfigurationError("format", "Excel needs openpyxl, which is not installed", hint) from None
    return openpyxl


@contextlib.contextmanager
def _open_sheets(path: Path, source: str, name: str | None) -> Generator[list[Any]]:
    """Open the sheet with values, and once more with formulas if some have no value."""
    library = _openpyxl()
    with contextlib.ExitStack() as stack:
        with _source_errors(source):
            file = stack.enter_context(path.open("rb"))
            if file.read(len(_OLE2)) == _OLE2:
                problem = "is an old Excel workbook (.xls), or one with a password; save it as .xlsx without a password"
                raise SourceError(source, problem)
            has_uncalculated = _has_uncalculated(path)
        books = [
            stack.enter_context(_open_book(library, path, source, data_only=data_only))
            for data_only in ([True, False] if has_uncalculated else [True])
        ]
        title = _choose(books[-1], source, name)  # With formulas if some cells have nothing else.
        yield [book[title] for book in books]


@contextlib.contextmanager
def _open_book(library: ModuleType, path: Path, source: str, *, data_only: bool) -> Generator[Any]:
    with path.open("rb") as file:
        with _source_errors(source), _without_warnings():
            book = library.load_workbook(file, read_only=True, data_only=data_only, keep_links=False)
            for sheet in book.worksheets:
                sheet.reset_dimensions()  # They may be wrong, and cells would be missing.
        with contextlib.closing(book):
            yield book


def _choose(book: Any, source: str, name: str | None) -> str:  # noqa: ANN401  # As in `_value`.
    """Return the title of the sheet to read."""
    titles = [sheet.title for sheet in book.worksheets]
    if name is not None:
        if name in titles:
            return name
        near = get_close_matches(name, titles, n=1)
        hint = f"did you mean {printable(near[0])}?" if near else f"found {', '.join(map(printable, titles))}"
        raise SourceError(source, f"path: the workbook has no sheet {printable(name)}; {hint}")
    visible = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
    filled = [sheet.title for sheet in visible if _has_cells(sheet, source)]
    if len(filled) > 1:
        listed = ", ".join(map(printable, filled))
        raise SourceError(source, f"has several sheets: {listed}; set path to one of them (--path)")
    if not filled:
        raise SourceError(source, "has no visible sheet with cells; set path to the name of a sheet (--path)")
    return str(filled[0])


def _has_cells(sheet: Any, source: str) -> bool:  # noqa: ANN401  # As in `_value`.
    return any(cell.value is not None for cells in _read(sheet, source) for cell in cells)


def _rows(sheets: Sequence[Any], source: str) -> Iterator[list[tuple[Any, Any]]]:
    """Yield the cells of each row, each with its formula or None."""
    values, *formulas = (_read(sheet, source) for sheet in sheets)
    if not formulas:
        yield from ([(cell, None) for cell in cells] for cells in values)
        return
    for cells, others in zip(values, formulas[0], strict=True):
        yield list(zip(cells, others, strict=True))


def _read(sheet: Any, source: str) -> Iterator[Sequence[Any]]:  # noqa: ANN401  # As in `_value`.
    rows = iter(sheet.iter_rows())
    for _ in range(0, _MAX_ROWS + 1, _BATCH):
        batch: list[Sequence[Any]] = []
        try:
            with _source_errors(source), _without_warnings():
                batch.extend(islice(rows, _BATCH))
        except SourceError:
            yield from batch
            raise
        if not batch:
            return
        yield from batch
    raise SourceError(source, f"is damaged: a sheet has at most {_MAX_ROWS:,} rows")


@contextlib.contextmanager
def _source_errors(source: str) -> Generator[None]:
    """Turn errors into SourceErrors, which quote nothing."""
    try:
        yield
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(source, f"cannot be read: {error.strerror or type(error).__name__}") from None
    except Exception as error:  # noqa: BLE001  # Whatever its parsers raise for a damaged file.
        raise SourceError(source, f"is damaged, or not an Excel workbook: {type(error).__name__}") from None


@contextlib.contextmanager
def _without_warnings() -> Generator[None]:
    """Ignore the warnings of openpyxl: they are about parts that are not read, or quote a cell."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _has_uncalculated(path: Path) -> bool:
    """Return True if a sheet has a formula without a value, as in files that no spreadsheet program has saved."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if not name.endswith(".xml"):
                continue
            with archive.open(name) as stream:
                rest = b""
                while chunk := stream.read(_CHUNK):
                    text = rest + chunk
                    if (b"<f" in text or b":f" in text) and _UNCALCULATED.search(text):
                        return True
                    rest = text[-_MAX_CELL:]
    return False


def _letters(index: int) -> str:
    """Return the name of the column at *index* in a sheet: A, B, …, Z, AA."""
    name = ""
    while index >= 0:
        name = chr(ord("A") + index % 26) + name
        index = index // 26 - 1
    return name
