"""Run a query in PostgreSQL with psycopg: in a read-only transaction, with a cursor of the server."""

import contextlib
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, TypeVar

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.types import TypeInfo
from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader
from psycopg.types.json import JsonLoader
from psycopg.types.string import TextLoader

from ..errors import URL_HINT, SourceError, shown_source
from .database_reader import NOT_UTF8, Unreadable
from .redaction import MessageCatalog, QueryNames, keep_words, similar_names

T = TypeVar("T")

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
Cursor: TypeAlias = psycopg.ServerCursor[tuple[Any, ...]]

BATCH: Final = 1000
_CURSOR: Final = "replay_identity"
# What psycopg's readers of dates rely on; the zone makes every timestamptz comparable.
_SETTINGS: Final = "SET TIME ZONE 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'"
# Types of the database's own, such as enums and domains, which psycopg does not know: their names, OIDs and base types.
_OWN_TYPES: Final = """
    SELECT typname, oid, typarray, typbasetype FROM pg_catalog.pg_type
    WHERE typtype IN ('e', 'd', 'b') AND typarray <> 0 AND oid >= 16384 ORDER BY oid
"""
_FAR_DATE: Final = Unreadable("is not a date between the years 1 and 9999")
_DEEP_JSON: Final = Unreadable("is JSON that cannot be read")

# The SQLSTATE begins with this if the query is at fault, not a value.
_QUERY_CLASS: Final = "42"
_MESSAGES: Final = MessageCatalog.compile(
    (
        "invalid input syntax for type {types}: {v}",
        "invalid input syntax for type json",
        "invalid value {v} for {v}",
        "invalid input value for enum {name}: {v}",
        "invalid input value for enum {v}",
        "value {v} is out of range for type {types}",
        "{types} out of range: {v}",
        "{types} out of range",
        "date/time field value out of range: {v}",
        "division by zero",
        "numeric field overflow",
        "malformed array literal: {v}",
        "malformed record literal: {v}",
        "malformed range literal: {v}",
        "invalid byte sequence for encoding {v}",
        "unsupported Unicode escape sequence",
        "invalid regular expression: {v}",
        "cannot cast jsonb {word} to type {types}",
        "more than one row returned by a subquery used as an expression",
        "canceling statement due to statement timeout",
        "canceling statement due to lock timeout",
        "canceling statement due to user request",
        "canceling statement due to conflict with recovery",
        "terminating connection due to administrator command",
        "terminating connection due to idle-in-transaction timeout",
        "out of memory",
        "cannot execute {rest} in a read-only transaction",
        "DECLARE CURSOR must not contain data-modifying statements in WITH",
    )
)
# What libpq and the server say about a connection that cannot be made, without the names and addresses around it.
_CONNECTION_REASONS: Final[Sequence[str]] = (
    *("Connection refused", "No such file or directory", "Permission denied", "Network is unreachable"),
    *("No route to host", "timeout expired", "Connection timed out", "could not translate host name"),
    *("failed to resolve host", "password authentication failed", "no password supplied"),
    *("authentication failed", "no pg_hba.conf entry", "too many clients already", "too many connections"),
    *("remaining connection slots are reserved", "the database system is starting up"),
    *("the database system is shutting down", "the database system is in recovery mode"),
    *("server does not support SSL", "certificate verify failed", "root certificate file", "SSL error"),
    *("server closed the connection unexpectedly", "invalid sslmode value", "invalid URI query parameter"),
    *("invalid port number", "invalid integer value", "invalid percent-encoded token", "invalid connection option"),
)
_MISSING: Final = re.compile(r'(database|role) "[^"]*" does not exist')


class _DateLoader(DateLoader):
    def load(self, data: Buffer) -> Any:  # noqa: ANN401  # A date, or an Unreadable.
        try:
            return super().load(data)
        except (psycopg.DataError, ValueError):
            return _FAR_DATE


class _TimestampLoader(TimestampLoader):
    def load(self, data: Buffer) -> Any:  # noqa: ANN401  # As above.
        try:
            return super().load(data)
        except (psycopg.DataError, ValueError):
            return _FAR_DATE


class _TimestamptzLoader(TimestamptzLoader):
    def load(self, data: Buffer) -> Any:  # noqa: ANN401  # As above.
        try:
            moment: datetime = super().load(data)
            return moment.astimezone(UTC)
        except (psycopg.DataError, ValueError, OverflowError):
            return _FAR_DATE


class _JsonLoader(JsonLoader):
    def load(self, data: Buffer) -> Any:  # noqa: ANN401  # As above.
        try:
            return super().load(data)
        except (ValueError, RecursionError):
            return _DEEP_JSON


class _TextLoader(TextLoader):
    """Only a database without an encoding, SQL_ASCII, sends text that is not UTF-8."""

    def load(self, data: Buffer) -> Any:  # noqa: ANN401  # As above.
        try:
            return super().load(data)
        except UnicodeDecodeError:
            return NOT_UTF8


_LOADERS: Final[Mapping[str, type[Loader]]] = {
    "date": _DateLoader,
    "timestamp": _TimestampLoader,
    "timestamptz": _TimestamptzLoader,
    "json": _JsonLoader,
    "jsonb": _JsonLoader,
    "inet": TextLoader,
    "cidr": TextLoader,
    "record": TextLoader,
}
# And 0, for types that psycopg does not know.
_TEXT_TYPES: Final[Sequence[str | int]] = ("text", "varchar", "bpchar", "name", 0)


@contextlib.contextmanager
def run_query(url: str, sql: str, source: str) -> Generator[tuple[list[str], Iterator[Sequence[Any]]]]:
    """Run a query, and yield the names of its columns and its rows.

    Raises:
        SourceError: The database cannot be reached, or the query fails.
    """
    with contextlib.closing(_connect(url)) as connection:
        _attempt(lambda: _prepare(connection), url)
        with connection.cursor(name=_CURSOR) as cursor:
            yield _start(cursor, sql, source), _fetch(cursor, sql, source)


def _connect(url: str) -> Connection:
    return _attempt(
        lambda: psycopg.connect(url, client_encoding="UTF8", fallback_application_name="replay-identity"), url
    )


def _prepare(connection: Connection) -> None:
    """Begin a read-only transaction."""
    connection.read_only = True
    connection.execute(_SETTINGS)
    _register_loaders(connection)


def _attempt(call: Callable[[], T], url: str) -> T:
    try:
        return call()
    except psycopg.Error as error:
        problem = _connection_problem(error)
    hint = f"; {URL_HINT}" if shown_source(url).endswith("…") else ""
    raise SourceError(url, f"{problem}{hint}")  # Not inside the handler: the context would quote the URL.


def _register_loaders(connection: Connection) -> None:
    adapters = connection.adapters
    for name, loader in _LOADERS.items():
        adapters.register_loader(name, loader)
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        for text_type in _TEXT_TYPES:
            adapters.register_loader(text_type, _TextLoader)
    for name, oid, array_oid, base in connection.execute(_OWN_TYPES):
        TypeInfo(name, oid, array_oid).register(connection)
        base_loader = adapters.get_loader(base, Format.TEXT)
        if base_loader is not None:
            adapters.register_loader(oid, base_loader)


def _start(cursor: Cursor, sql: str, source: str) -> list[str]:
    """Run the query, and return the names of its columns."""
    try:
        cursor.execute(sql.encode(errors="replace"))
        return [column.name for column in cursor.description or ()]
    except psycopg.Error as error:
        problem = _query_problem(error, sql)
    raise SourceError(source, problem)


def _fetch(cursor: Cursor, sql: str, source: str) -> Iterator[Sequence[Any]]:
    try:
        while batch := cursor.fetchmany(BATCH):
            yield from batch
    except psycopg.Error as error:
        problem = _query_problem(error, sql)
    else:
        return
    raise SourceError(source, problem)


def _query_problem(error: psycopg.Error, sql: str) -> str:
    """Return the server's reason without a value, and the SQLSTATE, which says in any language what is wrong."""
    state, names = error.sqlstate, QueryNames.find(sql)
    if state is None:
        return f"cannot be read: {_known_connection_reason(error) or 'the connection was lost'}"
    text = error.diag.message_primary or ""
    if state.startswith(_QUERY_CLASS):
        shown = keep_words(text, names.words)
        return (
            f"the query is not valid: {shown}{similar_names(error.diag.message_hint or '', names)} (SQLSTATE {state})"
        )
    return f"cannot be read: {_MESSAGES.redact(text, names) or type(error).__name__} (SQLSTATE {state})"


def _connection_problem(error: psycopg.Error) -> str:
    default = "the URL is not valid" if isinstance(error, psycopg.ProgrammingError) else type(error).__name__
    return f"cannot be opened: {_known_connection_reason(error) or default}"


def _known_connection_reason(error: psycopg.Error) -> str | None:
    text = str(error)
    missing = _MISSING.search(text)
    if missing is not None:
        return f"the {missing[1]} does not exist"
    return next((reason for reason in _CONNECTION_REASONS if reason in text), None)
