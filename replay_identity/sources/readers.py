"""Read users from a source of any supported format."""

import contextlib
import glob
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import IO, Final, Literal, TypeAlias, get_args

from ..errors import ConfigurationError, SourceError, printable
from ..mapping import CompiledMapping, Inference, RowMapping
from ..traits import USER_ID_KEYS
from .csv_reader import csv_ids, csv_rows, line_chunks, read_lines
from .jsonl_reader import json_ids, json_rows
from .rows import BadRow, Row, Rows

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
    ".parquet": "parquet",
    ".sql": "sql",
}


def read_users(
    source: Source,
    *,
    format: Format | None = None,  # noqa: A002  # The name that callers expect.
    anonymous: bool = False,
    mapping: RowMapping | None = None,
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

    Raises:
        SourceError: The file cannot be read, is not UTF-8 or has no valid header, or the query fails.
        ConfigurationError: The extra is not installed.
    """
    rows = _read_users(source, format, mapping)
    return Rows(_check_ids(rows, mapping, anonymous=anonymous), partial(_read_ids, source, format, mapping))


def read_query(
    sql: str, database: str | Path | None = None, *, anonymous: bool = False, mapping: RowMapping | None = None
) -> Rows[Row | BadRow]:
    """Return the users that a query in DuckDB's SQL returns, in constant memory, as `read_users` does for a file.

    The query is one SELECT, and may name files: ``SELECT * FROM 'users/*.parquet'``. DuckDB opens the database
    read-only, loads no extension and uses UTC as its time zone.

    Args:
        sql: The query.
        database: A DuckDB database file; by default the query reads only files that it names.
        anonymous: Whether to accept rows without an id as anonymous users.
        mapping: Rules for the columns; by default columns become traits under their own names.

    Raises:
        SourceError: The database cannot be opened, or the query fails.
        ConfigurationError: The extra ``warehouse`` is not installed.
    """
    return Rows(_check_ids(_query_rows(sql, database, mapping), mapping, anonymous=anonymous))


def infer_mapping(rows: Iterable[Row | BadRow]) -> Inference:
    """Return the types inferred from the users in *rows*. Bad rows are ignored."""
    inference = Inference()
    for row in rows:
        if isinstance(row, Row):
            inference.add(row.user, row.line)
    return inference


def _check_ids(rows: Iterator[Row | BadRow], mapping: RowMapping | None, *, anonymous: bool) -> Iterator[Row | BadRow]:
    """Yield *rows*, those without an id as bad rows unless *anonymous* users are accepted."""
    if anonymous:
        yield from rows
        return
    if mapping is None or mapping.user_id is None:
        problem = f"has no user id; expected one in {', '.join(USER_ID_KEYS)}"
    else:
        problem = f"has no user id; expected one in {printable(mapping.user_id)}"
    for row in rows:
        if isinstance(row, Row) and row.user.user_id is None:
            yield BadRow(row.line, row.line, problem)
        else:
            yield row


def _read_users(source: Source, format: Format | None, mapping: RowMapping | None) -> Iterator[Row | BadRow]:  # noqa: A002
    name = _name(source)
    yield from _ROWS[format or _format(source, name)](source, name, mapping)


def _read_ids(source: Source, format: Format | None, mapping: RowMapping | None) -> Iterator[str]:  # noqa: A002
    """Yield the user ids in *source* if it can be read again afterwards."""
    name = _name(source)
    read = _IDS.get(format or _format(source, name))
    if read is not None and isinstance(source, str | Path):
        yield from read(source, name, mapping)


def _is_regular_file(path: str | Path) -> bool:
    """Return True if the file at *path* can be read twice."""
    # Outside Linux, /dev/stdin shares its position with standard input, even if that is a regular file.
    return Path(path).is_file() and Path(path).resolve().parent != _DESCRIPTORS


def _query_rows(sql: str, database: str | Path | None, mapping: RowMapping | None) -> Iterator[Row | BadRow]:
    path = None if database is None else Path(database)
    yield from _duckdb_reader().query_rows(sql, _QUERY, mapping, path)


def _json_ids(source: str | Path, name: str, mapping: RowMapping | None) -> Iterator[str]:
    if _is_regular_file(source):
        with _open(source, name) as stream:
            yield from json_ids(line_chunks(stream, name), mapping)


def _csv_ids(source: str | Path, name: str, mapping: RowMapping | None) -> Iterator[str]:
    if _is_regular_file(source):
        with _open(source, name) as stream:
            yield from csv_ids(read_lines(stream, name), name, mapping or RowMapping())


def _parquet_ids(source: str | Path, name: str, mapping: RowMapping | None) -> Iterator[str]:
    paths = _paths(source)
    if paths and all(map(_is_regular_file, paths)):
        yield from _duckdb_reader().parquet_ids(paths, name, mapping or RowMapping())


def _json_rows(source: Source, name: str, mapping: RowMapping | None) -> Iterator[Row | BadRow]:
    with _open(source, name) as stream:
        yield from json_rows(read_lines(stream, name), _compile(mapping))


def _csv_rows(source: Source, name: str, mapping: RowMapping | None) -> Iterator[Row | BadRow]:
    with _open(source, name) as stream:
        yield from csv_rows(read_lines(stream, name), name, _compile(mapping))


def _parquet_rows(source: Source, name: str, mapping: RowMapping | None) -> Iterator[Row | BadRow]:
    if not isinstance(source, str | Path) or str(source) == STDIN:
        raise SourceError(name, "Parquet cannot be read from a stream; pass the name of a file")
    paths = _paths(source)
    if not paths:
        raise SourceError(name, "cannot be read: No such file")
    yield from _duckdb_reader().parquet_rows(paths, name, mapping)


def _paths(source: str | Path) -> list[str]:
    """Return the file *source*, or the files that match it as a pattern."""
    return [str(source)] if Path(source).exists() else sorted(glob.glob(str(source), recursive=True))  # noqa: PTH207


def _sql_rows(source: Source, name: str, mapping: RowMapping | None) -> Iterator[Row | BadRow]:
    with _open(source, name) as stream:
        lines = [content or b"" for _, content in read_lines(stream, name)]
    try:
        sql = b"".join(lines).decode()
    except UnicodeDecodeError:
        raise SourceError(name, "not valid UTF-8") from None  # The cause quotes the file.
    yield from _duckdb_reader().query_rows(sql, name, mapping)


_ROWS: Final[Mapping[Format, Callable[[Source, str, RowMapping | None], Iterator[Row | BadRow]]]] = {
    "jsonl": _json_rows,
    "csv": _csv_rows,
    "parquet": _parquet_rows,
    "sql": _sql_rows,
}
# A query may read a stream, so it is run only once.
_IDS: Final[Mapping[Format, Callable[[str | Path, str, RowMapping | None], Iterator[str]]]] = {
    "jsonl": _json_ids,
    "csv": _csv_ids,
    "parquet": _parquet_ids,
}


def _compile(mapping: RowMapping | None) -> CompiledMapping | None:
    return None if mapping is None else CompiledMapping.compile(mapping)


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
