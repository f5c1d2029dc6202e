"""One way in for every format."""

import contextlib
import glob
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import IO, Final, Literal, TypeAlias, get_args

from ..errors import ConfigurationError, SourceError, printable
from ..mapping import CompiledMapping, Inference, RowMapping
from ..traits import USER_ID_KEYS
from .csv_reader import csv_rows, read_lines
from .jsonl_reader import json_rows
from .rows import BadRow, Row

Format: TypeAlias = Literal["jsonl", "csv", "parquet", "sql"]

Source: TypeAlias = str | Path | IO[bytes]

STDIN: Final = "-"
_QUERY: Final = "the query"

_FORMATS: Final[Mapping[str, Format]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".sql": "sql",
}


def read_users(
    source: Source,
    *,
    format: Format | None = None,  # noqa: A002  # The word a caller looks for.
    anonymous: bool = False,
    mapping: RowMapping | None = None,
) -> Iterator[Row | BadRow]:
    """Yield the users of a file one after another, in constant memory.

    A row that is no user is a BadRow, and the reading goes on. In JSON Lines each line is an object; in CSV all
    values are strings and an empty cell says nothing. Blank lines are skipped. Parquet has its own types and needs
    the extra ``duckdb_reader``, as SQL does. Nothing is opened before the first row is asked for.

    Args:
        source: The file, ``-`` for standard input, or a binary stream, which stays the caller's to close. Parquet may
            be several files, by a pattern like ``users/*.parquet``; SQL is a file with one query.
        format: ``"jsonl"``, ``"csv"``, ``"parquet"`` or ``"sql"``; by default what the suffix says, and JSON Lines
            where there is none to go by.
        anonymous: Whether a row without an id is an anonymous user. By default it is a BadRow: nearly always the id
            has another name in the file, and each run would create all users anew at Fullstory.
        mapping: How the fields of a row become those of a user; without one, by their names.

    Raises:
        SourceError: The file as a whole cannot be read, is not UTF-8, has no usable header, or its query fails.
        ConfigurationError: The extra is not installed.
    """
    name = _name(source)
    rows = _ROWS[format or _format(source, name)](source, name, mapping)
    yield from _identified(rows, mapping, anonymous=anonymous)


def read_query(
    sql: str, database: str | Path | None = None, *, anonymous: bool = False, mapping: RowMapping | None = None
) -> Iterator[Row | BadRow]:
    """Yield the users that a query in DuckDB's SQL gives, in constant memory, as `read_users` does those of a file.

    The query is one SELECT. It may name files: ``SELECT * FROM 'users/*.parquet'``. DuckDB reads the database
    without writing to it, loads no extension, and takes the time zone to be UTC.

    Args:
        sql: The query.
        database: A database file of DuckDB; by default there is none.
        anonymous: Whether a row without an id is an anonymous user.
        mapping: How the columns become a user's fields; without one, by their names.

    Raises:
        SourceError: The database or the query cannot be used.
        ConfigurationError: The extra ``duckdb_reader`` is not installed.
    """
    path = None if database is None else Path(database)
    rows = _warehouse().query_rows(sql, _QUERY, mapping, path)
    yield from _identified(rows, mapping, anonymous=anonymous)


def _identified(rows: Iterator[Row | BadRow], mapping: RowMapping | None, *, anonymous: bool) -> Iterator[Row | BadRow]:
    """Yield *rows*, with those that have no id made bad unless such users are wanted."""
    if anonymous:
        yield from rows
        return
    names = USER_ID_KEYS if mapping is None or mapping.user_id is None else (mapping.user_id,)
    problem = f"has none of {', '.join(names)}, so it would be an anonymous user"
    if len(names) == 1:
        problem = f"has no {printable(names[0])}, so it would be an anonymous user"
    for row in rows:
        if isinstance(row, Row) and row.user.user_id is None:
            yield BadRow(row.line, row.line, problem)
        else:
            yield row


def _json_rows(source: Source, name: str, mapping: RowMapping | None) -> Iterator[Row | BadRow]:
    with _open(source, name) as stream:
        yield from json_rows(read_lines(stream, name), _plan(mapping))


def _csv_rows(source: Source, name: str, mapping: RowMapping | None) -> Iterator[Row | BadRow]:
    with _open(source, name) as stream:
        yield from csv_rows(read_lines(stream, name), name, _plan(mapping))


def _parquet_rows(source: Source, name: str, mapping: RowMapping | None) -> Iterator[Row | BadRow]:
    if not isinstance(source, str | Path) or str(source) == STDIN:
        raise SourceError(name, "cannot be read as Parquet, which is read from its end; give the name of a file")
    paths = [str(source)] if Path(source).exists() else sorted(glob.glob(str(source), recursive=True))  # noqa: PTH207
    if not paths:
        raise SourceError(name, "cannot be read: No such file")
    yield from _warehouse().parquet_rows(paths, name, mapping)


def _sql_rows(source: Source, name: str, mapping: RowMapping | None) -> Iterator[Row | BadRow]:
    with _open(source, name) as stream:
        lines = [content or b"" for _, content in read_lines(stream, name)]
    try:
        sql = b"".join(lines).decode()
    except UnicodeDecodeError:
        raise SourceError(name, "is not UTF-8") from None  # The cause quotes the file.
    yield from _warehouse().query_rows(sql, name, mapping)


_ROWS: Final[Mapping[Format, Callable[[Source, str, RowMapping | None], Iterator[Row | BadRow]]]] = {
    "jsonl": _json_rows,
    "csv": _csv_rows,
    "parquet": _parquet_rows,
    "sql": _sql_rows,
}


def _plan(mapping: RowMapping | None) -> CompiledMapping | None:
    return None if mapping is None else CompiledMapping.of(mapping)


def _warehouse() -> ModuleType:
    try:
        from . import duckdb_reader  # noqa: PLC0415  # Without the extra, files of lines must still be readable.
    except ImportError as error:
        if error.name != "duckdb":
            raise
        hint = "pip install 'replay-identity[warehouse]'"
        raise ConfigurationError("format", "Parquet and SQL need DuckDB", hint) from None
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
        with _open(path, source):  # That it cannot be opened would be the greater problem.
            problem = f"does not end in {known}; say whether its format is {', '.join(get_args(Format))}"
            raise SourceError(source, problem)
    return _FORMATS[suffix]


def infer_mapping(rows: Iterable[Row | BadRow]) -> Inference:
    """Return what *rows* tell of the types of their fields; rows that are no users tell nothing."""
    inference = Inference()
    for row in rows:
        if isinstance(row, Row):
            inference.add(row.user, row.line)
    return inference
