"""Read the rows of a query from an SQLite or PostgreSQL database: read-only, one at a time, in bounded memory."""

import contextlib
import re
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeGuard, TypeVar

import attrs

from .._paths import FieldPath
from ..errors import ConfigurationError, SourceError, printable, shown_source
from .conversion import RowConverter
from .redaction import MessageCatalog, QueryNames
from .rows import BadRow, Row

T = TypeVar("T")

SQLITE_MAGIC: Final = b"SQLite format 3\0"
# Seconds to wait for a process that writes to the database.
SQLITE_TIMEOUT: Final = 10.0

_SQLITE_URL: Final = "sqlite://"
_POSTGRES_URLS: Final = ("postgresql://", "postgres://")
_SELECT_ONLY: Final = "expected exactly one SELECT statement"
# SQLite reads a misspelled column in double quotes as text, the same for every user; in backticks it never does.
_SQLITE_TOKEN: Final = re.compile(
    r"""--[^\n]* | /\*.*?(?:\*/|\Z) | '[^']*' | `[^`]*` | \[[^\]]*\] | "(?P<name>(?:[^"]|"")*)" """,
    re.VERBOSE | re.DOTALL,
)
# What a query may do besides these would change the database, or open another one.
_ALLOWED_ACTIONS: Final = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_FORBIDDEN_FUNCTIONS: Final = frozenset({"load_extension", "fts3_tokenizer"})

# PostgreSQL's limit; what is deeper is JSON, which has no unreadable values inside.
_MAX_DIMENSIONS: Final = 6

_SQLITE_MESSAGES: Final = MessageCatalog.compile(
    (
        "malformed JSON",
        "bad JSON path: {v}",
        "JSON path error near {v}",
        "JSON cannot hold BLOB values",
        "integer overflow",
        "string or blob too big",
        "unable to open database file",
        "file is not a database",
        "database disk image is malformed",
        "disk I/O error",
        "out of memory",
    )
)
_SQLITE_QUERY_MESSAGES: Final = MessageCatalog.compile(
    (
        "no such table: {name}",
        "no such column: {name}",
        "no such function: {name}",
        "no such collation sequence: {name}",
        "ambiguous column name: {name}",
        "misuse of aggregate: {name}()",
        "misuse of aggregate function {name}()",
        "misuse of window function {name}()",
        "wrong number of arguments to function {name}()",
        "near {name}: syntax error",
        "unrecognized token: {v}",
        "incomplete input",
        "not authorized to use function: {name}",
        "no such window: {name}",
        "unable to use function {name} in the requested context",
        "a GROUP BY clause is required before HAVING",
        "all VALUES must have the same number of terms",
        "SELECTs to the left and right of UNION do not have the same number of result columns",
        "SELECTs to the left and right of UNION ALL do not have the same number of result columns",
        "sub-select returns {n} columns - expected {n}",
        "ESCAPE expression must be a single character",
        "datatype mismatch",
    )
)


@attrs.frozen
class Unreadable:
    """A value that Python cannot hold; it makes its row a bad row.

    Attributes:
        problem: What is wrong, without the value.
    """

    problem: str


NOT_UTF8: Final = Unreadable("not valid UTF-8")


def is_database(database: str | Path) -> bool:
    """Return True if *database* is an SQLite file or the URL of an SQLite or PostgreSQL database."""
    name = str(database)
    if name.startswith((_SQLITE_URL, *_POSTGRES_URLS)):
        return True
    if ("://" in name or shown_source(name) != name) and not Path(name).exists():
        raise SourceError("the database", f"expected a file, or a URL with {_SQLITE_URL} or {_POSTGRES_URLS[0]}")
    return _is_sqlite_file(Path(database))


def database_rows(sql: str, source: str, converter: RowConverter, database: str | Path) -> Iterator[Row | BadRow]:
    """Yield the rows of the query *sql*, run by the SQLite or PostgreSQL database *database*.

    Args:
        sql: One SELECT in the database's own SQL.
        source: Name of the query, for errors.
        converter: Makes users of the rows.
        database: A file, or a URL for which `is_database` returns True.

    Raises:
        SourceError: The database cannot be opened, or the query fails.
        ConfigurationError: The extra ``postgres`` is not installed.
    """
    if str(database).startswith(_POSTGRES_URLS):
        with _postgres_reader().run_query(str(database), sql, source) as (names, rows):
            yield from _convert(names, rows, converter)
    else:
        with _run_sqlite(_sqlite_path(str(database)), sql, source) as (names, rows):
            yield from _convert(names, rows, converter)


def _convert(names: Sequence[str], rows: Iterator[Sequence[Any]], converter: RowConverter) -> Iterator[Row | BadRow]:
    paths = converter.columns(names)
    for number, values in enumerate(rows, 1):
        problem = next((f"{printable(path.name)}: {bad.problem}" for path, bad in _unreadable(paths, values)), None)
        row = BadRow(number, number, problem) if problem else converter.convert(_fields(paths, values), number)
        if row is not None:
            yield row


def _fields(paths: Sequence[FieldPath], values: Sequence[Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for path, value in zip(paths, values, strict=True):
        path.set(fields, value)
    return fields


def _unreadable(
    paths: Sequence[FieldPath], values: Sequence[Any], dimension: int = 0
) -> Iterator[tuple[FieldPath, Unreadable]]:
    """Yield the unreadable values of a row, also those in arrays."""
    for path, value in zip(paths, values, strict=True):
        if isinstance(value, Unreadable):
            yield path, value
        elif _is_array(value) and dimension < _MAX_DIMENSIONS:
            yield from _unreadable([path] * len(value), value, dimension + 1)


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_sqlite_file(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC
    except (OSError, ValueError):
        return False


def _sqlite_path(database: str) -> Path:
    """Return the path of an SQLite file, which a URL names after ``sqlite:///``."""
    if not database.startswith(_SQLITE_URL):
        return Path(database)
    path = database.removeprefix(f"{_SQLITE_URL}/")
    if not path or path.startswith(_SQLITE_URL) or "?" in path:
        problem = "expected sqlite:///relative/path or sqlite:////absolute/path, without settings"
        raise SourceError(_SQLITE_URL, problem)
    return Path(path)


@contextlib.contextmanager
def _run_sqlite(path: Path, sql: str, source: str) -> Generator[tuple[list[str], Iterator[Sequence[Any]]]]:
    """Run a query, and yield the names of its columns and its rows."""
    if not path.is_file():
        raise SourceError(str(path), "cannot be read: No such file")
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=SQLITE_TIMEOUT)) as connection:
        connection.text_factory = _decode
        # The first access, which fails if the file cannot be read, is not the query's fault.
        _attempt(lambda: connection.execute("SELECT count(*) FROM sqlite_master").fetchall(), str(path), sql)
        connection.set_authorizer(_authorize)
        cursor = _attempt(lambda: connection.execute(_quote_names(sql)), source, sql)
        if cursor.description is None:
            raise SourceError(source, _SELECT_ONLY)
        yield [column[0] for column in cursor.description], _fetch(cursor, source, sql)


def _quote_names(sql: str) -> str:
    """Return the query with names in backticks instead of double quotes."""

    def quote(token: re.Match[str]) -> str:
        if token["name"] is None:
            return token[0]
        name = token["name"].replace('""', '"').replace("`", "``")
        return f"`{name}`"

    return _SQLITE_TOKEN.sub(quote, sql)


def _decode(content: bytes) -> str | Unreadable:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return NOT_UTF8


def _authorize(action: int, _first: str | None, function: str | None, *_names: str | None) -> int:
    """Allow reading only; SQLite asks before it runs a query."""
    allowed = action in _ALLOWED_ACTIONS and function not in _FORBIDDEN_FUNCTIONS
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _fetch(cursor: sqlite3.Cursor, source: str, sql: str) -> Iterator[Sequence[Any]]:
    try:
        # Not "yield from", which would close the cursor, perhaps after its connection.
        while (values := cursor.fetchone()) is not None:
            yield values
    except sqlite3.Error as error:
        problem = _sqlite_problem(error, sql)
    else:
        return
    raise SourceError(source, problem)


def _attempt(call: Callable[[], T], source: str, sql: str) -> T:
    try:
        return call()
    except (sqlite3.Error, sqlite3.Warning) as error:
        problem = _sqlite_problem(error, sql)
    raise SourceError(source, problem)  # Not inside the handler: the context of the error would quote values.


def _sqlite_problem(error: sqlite3.Error | sqlite3.Warning, sql: str) -> str:
    """Return what is wrong, without a value."""
    match getattr(error, "sqlite_errorcode", None):
        case None | sqlite3.SQLITE_AUTH:  # The module's own error has no code; the query has several statements.
            return _SELECT_ONLY
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"cannot be read: another process has locked the database for {SQLITE_TIMEOUT:g} seconds"
        case _:
            pass
    text, names = str(error), QueryNames.find(sql)
    reason = _SQLITE_QUERY_MESSAGES.redact(text, names.without_quoted())
    if reason is not None:
        return f"the query is not valid: {reason}"
    return f"cannot be read: {_SQLITE_MESSAGES.redact(text, names) or getattr(error, 'sqlite_errorname', '')}"


def _postgres_reader() -> ModuleType:
    try:
        from . import postgres_reader  # noqa: PLC0415  # SQLite must work without the extra.
    except ImportError as error:
        if error.name != "psycopg":
            raise
        hint = "install it with: pip install 'replay-identity[postgres]'"
        raise ConfigurationError("database", "PostgreSQL needs psycopg, which is not installed", hint) from None
    return postgres_reader
