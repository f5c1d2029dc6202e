"""Read users from a source of any supported format."""

import contextlib
import glob
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import IO, Final, Literal, TypeAlias, get_args

import attrs

from ..errors import ConfigurationError, SourceError
from ..mapping import Inference, RowMapping
from .conversion import RowConverter
from .csv_reader import csv_ids, csv_rows
from .database_reader import database_rows, is_database
from .jsonl_reader import json_ids, json_rows
from .lines import line_chunks, read_lines
from .rows import BadRow, Row, Rows, SourceNotes

Format: TypeAlias = Literal["jsonl", "csv", "parquet", "sql"]

Source: TypeAlias = str | Path | IO[bytes]

STDIN: Final = "-"
_QUERY: Final = "the query"
_DESCRIPTORS: Final = Path("/dev/fd")

_FORMATS: Final[Mapping[str, Format]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".sql": "sql",
}


def read_users(
    source: Source,
    *,
    format: Format | None = None,  # noqa: A002  # The name that callers expect.
    anonymous: bool = False,
    mapping: RowMapping | None = None,
    delimiter: str | None = None,
) -> Rows[Row | BadRow]:
    """Return the users in a file, which are read one by one, in constant memory.

    A row that is not a valid user is yielded as a BadRow. In JSON Lines each line is an object. In CSV all values are
    strings and an empty cell is ignored. Blank lines are skipped. Parquet has its own types; Parquet and SQL need the
    extra ``warehouse``. Nothing is opened before the first row is requested.

    The ids in a file of JSON Lines, CSV or Parquet can be read beforehand, so that `sync` merges all rows about a user.
    Standard input, a stream and a query are read only once.

    Args:
        source: A file, ``-`` for standard input, or a binary stream, which is not closed. For Parquet this may be a
            pattern for several files, such as ``users/*.parquet``; for SQL it is a file with one query.
        format: ``"jsonl"``, ``"csv"``, ``"parquet"`` or ``"sql"``; by default chosen by the suffix, and JSON Lines
            for a source without a name.
        anonymous: Whether to accept rows without an id as anonymous users. By default they are bad rows: usually the
            id has another name in the file, and each run would create all users at Fullstory again.
        mapping: Rules for the fields of a row; by default fields become traits under their own names.
        delimiter: The character between the cells of CSV; by default it is found in the header.

    Raises:
        SourceError: The file cannot be read, is not UTF-8 or has no valid header, or the query fails.
        ConfigurationError: The extra is not installed.
    """
    options = _Options(format=format, anonymous=anonymous, mapping=mapping, delimiter=delimiter)
    notes = SourceNotes()
    return Rows(_read_users(source, options, notes), partial(_read_ids, source, options), notes)


def read_query(
    sql: str, database: str | Path | None = None, *, anonymous: bool = False, mapping: RowMapping | None = None
) -> Rows[Row | BadRow]:
    """Return the users that a query returns, in constant memory, as `read_users` does for a file.

    The query is one SELECT. Without a database, DuckDB runs it, and it may name files:
    ``SELECT * FROM 'users/*.parquet'``. Databases are opened read-only, no extension is loaded, and the time zone is
    UTC.

    Args:
        sql: The query, in the database's own SQL.
        database: A DuckDB or SQLite file, or a URL, ``sqlite:///relative/path`` or ``sqlite:////absolute/path``. By
            default the query reads only files that it names.
        anonymous: Whether to accept rows without an id as anonymous users.
        mapping: Rules for the columns; by default columns become traits under their own names.

    Raises:
        SourceError: The database cannot be opened, or the query fails.
        ConfigurationError: The extra ``warehouse`` is not installed.
    """
    options, notes = _Options(anonymous=anonymous, mapping=mapping), SourceNotes()
    return Rows(_query_rows(sql, database, options, notes), notes=notes)


def infer_mapping(rows: Iterable[Row | BadRow]) -> Inference:
    """Return the types inferred from the users in *rows*. Bad rows are ignored."""
    inference = Inference()
    for row in rows:
        if isinstance(row, Row):
            inference.add(row.user, row.line)
    return inference


@attrs.frozen(kw_only=True)
class _Options:
    """How to read a source."""

    format: Format | None = None
    anonymous: bool = False
    mapping: RowMapping | None = None
    delimiter: str | None = None

    def converter(self, source: str, notes: SourceNotes, *, has_datetimes: bool = False) -> RowConverter:
        """Return the converter of the rows of one file."""
        return RowConverter(source, self.mapping, notes, anonymous=self.anonymous, has_datetimes=has_datetimes)


def _read_users(source: Source, options: _Options, notes: SourceNotes) -> Iterator[Row | BadRow]:
    name = _name(source)
    format = options.format or _format(source, name)  # noqa: A001
    converter = options.converter(name, notes, has_datetimes=format in {"parquet", "sql"})
    yield from _ROWS[format](source, name, converter, options)
    converter.finish()


def _read_ids(source: Source, options: _Options) -> Iterator[str]:
    """Yield the user ids in *source* if it can be read again afterwards."""
    name = _name(source)
    format = options.format or _format(source, name)  # noqa: A001
    # A file without ids is an error when its rows are read.
    lenient = attrs.evolve(options, anonymous=True)
    converter = lenient.converter(name, SourceNotes(), has_datetimes=format in {"parquet", "sql"})
    read = _IDS.get(format)
    if read is not None and isinstance(source, str | Path):
        yield from read(source, name, converter, options)


def _is_regular_file(path: str | Path) -> bool:
    """Return True if the file at *path* can be read twice."""
    # Outside Linux, /dev/stdin shares its position with standard input, even if that is a regular file.
    return Path(path).is_file() and Path(path).resolve().parent != _DESCRIPTORS


def _query_rows(sql: str, database: str | Path | None, options: _Options, notes: SourceNotes) -> Iterator[Row | BadRow]:
    converter = options.converter(_QUERY, notes, has_datetimes=True)
    if database is not None and is_database(database):
        yield from database_rows(sql, _QUERY, converter, database)
    else:
        path = None if database is None else Path(database)
        yield from _duckdb_reader().query_rows(sql, _QUERY, converter, path)
    converter.finish()


def _json_ids(source: str | Path, name: str, converter: RowConverter, _options: _Options) -> Iterator[str]:
    if _is_regular_file(source):
        with _open(source, name) as stream:
            yield from json_ids(line_chunks(stream, name), converter)


def _csv_ids(source: str | Path, name: str, converter: RowConverter, options: _Options) -> Iterator[str]:
    if _is_regular_file(source):
        with _open(source, name) as stream:
            yield from csv_ids(read_lines(stream, name), name, converter, delimiter=options.delimiter)


def _parquet_ids(source: str | Path, name: str, converter: RowConverter, _options: _Options) -> Iterator[str]:
    paths = _paths(source)
    if paths and all(map(_is_regular_file, paths)):
        yield from _duckdb_reader().parquet_ids(paths, name, converter)


def _json_rows(source: Source, name: str, converter: RowConverter, _options: _Options) -> Iterator[Row | BadRow]:
    with _open(source, name) as stream:
        yield from json_rows(read_lines(stream, name), converter)


def _csv_rows(source: Source, name: str, converter: RowConverter, options: _Options) -> Iterator[Row | BadRow]:
    with _open(source, name) as stream:
        yield from csv_rows(read_lines(stream, name), name, converter, delimiter=options.delimiter)


def _parquet_rows(source: Source, name: str, converter: RowConverter, _options: _Options) -> Iterator[Row | BadRow]:
    if not isinstance(source, str | Path) or str(source) == STDIN:
        raise SourceError(name, "Parquet cannot be read from a stream; pass the name of a file")
    paths = _paths(source)
    if not paths:
        raise SourceError(name, "cannot be read: No such file")
    yield from _duckdb_reader().parquet_rows(paths, name, converter)


def _paths(source: str | Path) -> list[str]:
    """Return the file *source*, or the files that match it as a pattern."""
    return [str(source)] if Path(source).exists() else sorted(glob.glob(str(source), recursive=True))  # noqa: PTH207


def _sql_rows(source: Source, name: str, converter: RowConverter, _options: _Options) -> Iterator[Row | BadRow]:
    with _open(source, name) as stream:
        lines = [content or b"" for _, content in read_lines(stream, name)]
    try:
        sql = b"".join(lines).decode()
    except UnicodeDecodeError:
        raise SourceError(name, "not valid UTF-8") from None  # The cause quotes the file.
    yield from _duckdb_reader().query_rows(sql, name, converter)


_ROWS: Final[Mapping[Format, Callable[[Source, str, RowConverter, _Options], Iterator[Row | BadRow]]]] = {
    "jsonl": _json_rows,
    "csv": _csv_rows,
    "parquet": _parquet_rows,
    "sql": _sql_rows,
}
# A query may read a stream, so it is run only once.
_IDS: Final[Mapping[Format, Callable[[str | Path, str, RowConverter, _Options], Iterator[str]]]] = {
    "jsonl": _json_ids,
    "csv": _csv_ids,
    "parquet": _parquet_ids,
}


def _duckdb_reader() -> ModuleType:
    try:
        from . import duckdb_reader  # noqa: PLC0415  # CSV and JSON Lines must work without the extra.
    except ImportError as error:
        if error.name != "duckdb":
            raise
        hint = "install it with: pip install 'replay-identity[warehouse]'"
        raise ConfigurationError("format", "Parquet and SQL need DuckDB, which is not installed", hint) from None
    return duckdb_reader


def _name(path: Source) -> str:
    if isinstance(path, str | Path):
        return "standard input" if str(path) == STDIN else str(path)
    name: object = getattr(path, "name", None)
    return name if isinstance(name, str) else "stream"


def _open(path: Source, source: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    if not isinstance(path, str | Path):
        return contextlib.nullcontext(path)
    if str(path) == STDIN:
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return Path(path).open("rb")
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else None
        raise SourceError(source, f"cannot be read: {problem or type(error).__name__}") from None


def _format(path: Source, source: str) -> Format:
    if not isinstance(path, str | Path) or str(path) == STDIN:
        return "jsonl"
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        known = ", ".join(_FORMATS)
        with _open(path, source):  # Report first that the file cannot be opened, if so.
            problem = f"expected a name ending in {known}; or set format to one of {', '.join(get_args(Format))}"
            raise SourceError(source, problem)
    return _FORMATS[suffix]
