"""Parquet, and SQL, through DuckDB: without the network, in bounded memory, and one row after another."""

import contextlib
import glob
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import duckdb

from ..errors import InvalidTraitsError, SourceError, printable
from ..mapping import CompiledMapping, RowMapping
from ..traits import UserTraits
from .rows import BadRow, Place, Row, places, to_row

MEMORY: Final = "256MB"
BATCH: Final = 1000

# What DuckDB must not do unasked: fetch extensions, and take more of the machine than a reader needs.
_Setting: TypeAlias = str | bool | int | float | list[str]
_SETTINGS: Final[Mapping[str, _Setting]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "memory_limit": MEMORY,
    "threads": "2",
    # Else a table that there is not would be a variable of the caller's.
    "python_enable_replacements": "false",
}
_FINAL_SETTINGS: Final = "SET TimeZone = 'UTC'; SET lock_configuration = true"

# These errors are about the query and come before any row. Every other one may quote what is in the rows.
_ABOUT_THE_QUERY: Final = (duckdb.ParserException, duckdb.CatalogException, duckdb.BinderException)
_QUOTED: Final = re.compile(r"\"[^\"]*\"|'[^']*'")

_WITH_ZONE: Final = "TIMESTAMP WITH TIME ZONE"
_NESTED: Final = frozenset({"struct", "map", "list", "array"})
_Restore: TypeAlias = Callable[[Any, str], Any]


@attrs.frozen
class Column:
    """Where the values of a column go, and what makes them what they were, where DuckDB changes them."""

    place: Place
    restore: _Restore | None

    def put(self, row: dict[str, Any], value: object) -> None:
        """Put *value* into *row*."""
        if value is not None and self.restore is not None:
            value = self.restore(value, printable(self.place.name))
        self.place.put(row, value)


def parquet_rows(paths: Iterable[str], source: str, mapping: RowMapping | None) -> Iterator[Row | BadRow]:
    """Yield the rows of the Parquet files at *paths* one after another, numbered from 1 through all of them.

    Raises:
        SourceError: A file cannot be read.
    """
    plan = _plan(mapping)
    number = 0
    with _connected(None, source) as connection:
        for path in paths:
            # Directories named like country=DE make no columns: whoever wants them asks in SQL.
            sql = f"FROM read_parquet({_literal(glob.escape(path))}, hive_partitioning = false)"
            for row in _rows(connection, sql, source, plan, number):
                number += 1
                yield row


def query_rows(
    sql: str, source: str, mapping: RowMapping | None, database: Path | None = None
) -> Iterator[Row | BadRow]:
    """Yield the rows that the one query in *sql* asks *database* for, or the files that it names itself.

    Raises:
        SourceError: The query, or the database, cannot be used.
    """
    with _connected(database, source) as connection:
        yield from _rows(connection, _only_query(connection, sql, source), source, _plan(mapping), 0)


def _plan(mapping: RowMapping | None) -> CompiledMapping:
    """Return the plan of *mapping*; there is one without it, too, since a moment may come without a time zone."""
    return CompiledMapping.of(RowMapping() if mapping is None else mapping, typed=True)


@contextlib.contextmanager
def _connected(database: Path | None, source: str) -> Generator[duckdb.DuckDBPyConnection]:
    """Give a connection that reads, and writes nothing but what does not fit into memory, which goes again."""
    if database is not None and not database.is_file():
        raise SourceError(str(database), "is no file; a database of DuckDB is one")
    with tempfile.TemporaryDirectory(prefix="replay-identity-") as spill:
        config: dict[str, _Setting] = {**_SETTINGS, "temp_directory": spill}
        try:
            connection = duckdb.connect(database or ":memory:", read_only=database is not None, config=config)
        except duckdb.Error as error:
            problem = f"cannot be opened as a database of DuckDB: {type(error).__name__}"
            raise SourceError(str(database), problem) from None
        with contextlib.closing(connection), _told(source):
            connection.execute(_FINAL_SETTINGS)
            yield connection


@contextlib.contextmanager
def _told(source: str) -> Generator[None]:
    """Turn DuckDB's errors into ours, which quote no value."""
    try:
        yield
    except _ABOUT_THE_QUERY as error:
        first = str(error).partition("\n")[0]
        raise SourceError(source, f"cannot be asked for: {_QUOTED.sub(_name_only, first)}") from None
    except duckdb.Error as error:
        raise SourceError(source, f"cannot be read: {type(error).__name__}") from None


def _name_only(quoted: re.Match[str]) -> str:
    """Return a name as it is, and "…" for what may be a value."""
    return quoted[0] if quoted[0][1:-1].isidentifier() else "…"


def _only_query(connection: duckdb.DuckDBPyConnection, sql: str, source: str) -> str:
    statements = connection.extract_statements(sql)
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        raise SourceError(source, "is not one query: one SELECT, and nothing else")
    return statements[0].query.strip().removesuffix(";")


def _rows(
    connection: duckdb.DuckDBPyConnection, sql: str, source: str, plan: CompiledMapping, before: int
) -> Iterator[Row | BadRow]:
    """Yield one row for each that the query gives; *before* is the number of rows before the first."""
    relation = connection.sql(sql)
    names, kinds = relation.columns, relation.types
    columns = _columns(names, kinds, source)

    def user_of(values: Any) -> UserTraits:  # noqa: ANN401  # What the columns hold.
        row: dict[str, Any] = {}
        for column, value in zip(columns, values, strict=True):
            column.put(row, value)
        return plan.user(row)

    asked = _without_zones(sql, names, kinds)
    for number, values in enumerate(_fetched(connection.execute(asked)), before + 1):
        yield to_row(values, number, number, user_of)


def _fetched(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while batch := connection.fetchmany(BATCH):
        yield from batch


def _without_zones(sql: str, names: Sequence[str], kinds: Sequence[Any]) -> str:
    """Return the query with all moments in UTC: only with a library of time zones would DuckDB hand over others."""
    replaced = [
        f"CAST({_identifier(name)} AS {str(kind).replace(_WITH_ZONE, 'TIMESTAMP')}) AS {_identifier(name)}"
        for name, kind in zip(names, kinds, strict=True)
        if _WITH_ZONE in str(kind)
    ]
    # The line break ends a comment.
    return f"SELECT * REPLACE ({', '.join(replaced)}) FROM ({sql}\n)" if replaced else sql  # noqa: S608


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _columns(names: Sequence[str], kinds: Sequence[Any], source: str) -> tuple[Column, ...]:
    twice = [printable(name) for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SourceError(source, f"has the column {', '.join(twice)} more than once")
    try:
        found = places(names)
    except InvalidTraitsError as error:
        raise SourceError(source, f"column {error}") from error
    return tuple(Column(place, _restore(kind)) for place, kind in zip(found, kinds, strict=True))


def _restore(kind: Any) -> _Restore | None:  # noqa: ANN401  # DuckDB describes its types at run time.
    """Return what makes values of a type what they were, or None where DuckDB hands them over as they are.

    Moments in UTC say so again; dates before the year 1, which come as texts, are refused.
    """
    if "TIMESTAMP" not in str(kind) and "DATE" not in str(kind):
        return None
    inner = {name: _restore(child) or _as_it_is for name, child in _children(kind)}
    match kind.id:
        case "struct":
            return lambda value, path: {name: inner[name](item, path) for name, item in value.items()}
        case "map":
            return lambda value, path: {name: inner["value"](item, path) for name, item in value.items()}
        case "list" | "array":
            return lambda value, path: [inner["child"](item, path) for item in value]
        case "union":  # Which of its types a value has, DuckDB does not say.
            return _as_it_is
        case _:
            return _in_utc if _WITH_ZONE in str(kind) else _dated


def _children(kind: Any) -> list[tuple[str, Any]]:  # noqa: ANN401  # As above.
    """Return the names and types inside a type; an array has its length there, too."""
    return [(name, child) for name, child in kind.children if not isinstance(child, int)] if kind.id in _NESTED else []


def _as_it_is(value: object, _path: str) -> object:
    return value


def _dated(value: object, path: str) -> object:
    if isinstance(value, str):
        raise InvalidTraitsError(path, "is before the year 1")
    return value


def _in_utc(value: object, path: str) -> object:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else _dated(value, path)
