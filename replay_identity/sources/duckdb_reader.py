"""Read Parquet files and SQL queries with DuckDB: row by row, in bounded memory and without network access."""

import contextlib
import glob
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import attrs
import duckdb

from .._paths import FieldPath
from ..errors import InvalidTraitsError, SourceError, printable
from .conversion import RowConverter
from .duckdb_errors import database_problem, query_problem
from .frames import NESTED_NANOSECONDS, ArrowStream
from .python_values import UnreadableValue, from_epoch
from .rows import BadRow, Row

MEMORY: Final = "256MB"
BATCH: Final = 1000

# Keep DuckDB from fetching extensions, and from taking more memory and threads than a reader needs.
_Setting: TypeAlias = str | bool | int | float | list[str]
_SETTINGS: Final[Mapping[str, _Setting]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "memory_limit": MEMORY,
    "threads": "2",
    # Otherwise an unknown table name would resolve to a Python variable of the caller.
    "python_enable_replacements": "false",
}
# What the first bytes of a database contain.
_MAGIC: Final = b"DUCK"
_MAGIC_BYTES: Final = 12
_FINAL_SETTINGS: Final = "SET TimeZone = 'UTC'; SET lock_configuration = true"

_WITH_ZONE: Final = "TIMESTAMP WITH TIME ZONE"
_NANOSECONDS: Final = "ns"
_TIMESTAMPS: Final = ("timestamp", "timestamp_s", "timestamp_ms", "timestamp with time zone")
_INFINITE: Final = 2**63 - 1
_MAY_BE_INFINITE: Final = ("date", *_TIMESTAMPS, "timestamp_ns")
_BEFORE_CHRIST: Final = "0044-03-15 (BC)"
# What Python gets for infinite dates inside of lists and objects.
_INFINITE_DATES: Final = (date.min, date.max, datetime.min, datetime.max)  # noqa: DTZ901  # Without a zone.
_NESTED: Final = frozenset({"struct", "map", "list", "array"})
_Restore: TypeAlias = Callable[[Any, str], Any]


@attrs.frozen
class _Column:
    """A column of a result.

    Attributes:
        path: Path of the field in a row.
        restore: Undoes what DuckDB changes in values of this type, or None if it changes nothing.
    """

    path: FieldPath
    restore: _Restore | None

    def set(self, row: dict[str, Any], value: object) -> None:
        if value is not None and self.restore is not None:
            value = self.restore(value, printable(self.path.name))
        self.path.set(row, value)


@attrs.frozen
class _Query:
    """A query, and the columns of its result.

    Attributes:
        sql: The query.
        source: Its name in errors.
        names: Names of the columns of its result.
        types: DuckDB's types of the columns.
    """

    sql: str = attrs.field(repr=False)
    source: str
    names: Sequence[str]
    types: Sequence[Any]

    @classmethod
    def prepare(cls, connection: duckdb.DuckDBPyConnection, sql: str, source: str) -> "_Query":
        """Return the query with the columns of its result; reads no row.

        Raises:
            SourceError: The query is not valid, or a file that it names cannot be read.
        """
        try:
            relation = connection.sql(sql)
            return cls(sql, source, relation.columns, relation.types)
        except duckdb.Error as error:
            problem = query_problem(error, sql)
        raise SourceError(source, problem)  # Not inside the handler: the context of the error would quote values.

    def fetch(self, connection: duckdb.DuckDBPyConnection) -> Iterator[Sequence[Any]]:
        """Yield the values of each row.

        Raises:
            SourceError: The query fails.
        """
        try:
            connection.execute(_in_utc_query(self.sql, self.names, self.types))
            while batch := connection.fetchmany(BATCH):
                yield from batch
        except duckdb.Error as error:
            problem = query_problem(error, self.sql, self.names)
        else:
            return
        raise SourceError(self.source, problem)

    def select(self, connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> "_Query":
        """Return the query with only the columns *names* of its result."""
        chosen = ", ".join(map(_identifier, names))
        return _Query.prepare(connection, f"SELECT {chosen} FROM ({self.sql}\n)", self.source)  # noqa: S608

    def columns(self, paths: Sequence[FieldPath]) -> list[_Column]:
        """Return the columns, given where their values go."""
        return [_Column(path, _restore_function(type_)) for path, type_ in zip(paths, self.types, strict=True)]


def _fields(columns: Sequence[_Column], values: Sequence[Any]) -> dict[str, Any]:
    """Return the fields of a row."""
    row: dict[str, Any] = {}
    for column, value in zip(columns, values, strict=True):
        column.set(row, value)
    return row


def parquet_rows(path: Path, source: str, converter: RowConverter) -> Iterator[Row | BadRow]:
    """Yield the rows of the Parquet file at *path*, numbered from 1.

    Raises:
        SourceError: The file cannot be read.
    """
    with _connect(None) as connection:
        yield from _rows(connection, _parquet_query(connection, path, source, converter), converter)


def parquet_ids(path: Path, source: str, converter: RowConverter) -> Iterator[str]:
    """Yield the user id of each row that has one; reads only the columns that may hold it. Bad rows may have ids too.

    Raises:
        SourceError: The file cannot be read.
    """
    with _connect(None) as connection:
        query = _parquet_query(connection, path, source, converter)
        fields = dict(zip(query.names, converter.columns(query.names), strict=True))
        selected = [name for name, field in fields.items() if converter.decides_id(field)]
        if not selected:
            return
        ids_query = query.select(connection, selected)
        columns = ids_query.columns([fields[name] for name in selected])
        ids = (converter.find_id(_fields(columns, values)) for values in ids_query.fetch(connection))
        yield from (user_id for user_id in ids if user_id is not None)


def _parquet_query(connection: duckdb.DuckDBPyConnection, path: Path, source: str, converter: RowConverter) -> _Query:
    # A directory such as country=DE adds no column; a query in SQL can ask for that.
    files = f"FROM read_parquet({_literal(glob.escape(str(path)))}, hive_partitioning = false)"
    query = _Query.prepare(connection, files, source)
    _check_names(connection, path, query)
    kept = converter.without_labels(query.names)
    if not kept or len(kept) == len(query.names):
        return query
    return query.select(connection, [query.names[index] for index in kept])


def _check_names(connection: duckdb.DuckDBPyConnection, path: Path, query: _Query) -> None:
    """Raise SourceError if DuckDB calls a column of a file by another name, since it ignores case.

    It does so for an empty name, and for the second of two that are equal but for their case.
    """
    statement = f"SELECT name FROM parquet_schema({_literal(glob.escape(str(path)))})"  # noqa: S608
    in_file = {name for (name,) in connection.execute(statement).fetchall()}
    columns = zip(query.names, query.types, strict=True)
    renamed = [name for name, type_ in columns if not in_file.issuperset((name, *_names_inside(type_)))]
    if renamed:
        shown = ", ".join(map(printable, renamed))
        problem = "has names that are empty or equal but for their case, which DuckDB changes, in"
        raise SourceError(query.source, f"{problem} {shown}; rename them where the file is made")


def _names_inside(type_: Any) -> Iterator[str]:  # noqa: ANN401  # DuckDB's own class.
    """Yield the names of the fields of the objects in a type of DuckDB."""
    for name, child in _children(type_):
        yield from [name] if type_.id == "struct" else []
        yield from _names_inside(child)


def query_rows(sql: str, source: str, converter: RowConverter, database: Path | None = None) -> Iterator[Row | BadRow]:
    """Yield the rows of the query *sql*, run on *database* or on the files that the query names.

    Raises:
        SourceError: The database cannot be opened, or the query fails.
    """
    with _connect(database) as connection:
        query = _Query.prepare(connection, _single_query(connection, sql, source), source)
        yield from _rows(connection, query, converter)


def stream_chunks(stream: ArrowStream, source: str) -> Generator[Sequence[Any]]:
    """Yield the names of the columns of an Arrow stream; then, chunk by chunk, the values of each column.

    Raises:
        SourceError: The stream cannot be read.
    """
    try:
        yield from _stream_chunks(stream, source)
    except duckdb.Error as error:
        problem = f"cannot be read: {type(error).__name__}"
    else:
        return
    raise SourceError(source, problem)


def _stream_chunks(stream: ArrowStream, source: str) -> Generator[Sequence[Any]]:
    with _connect(None) as connection:
        connection.register("stream", _SingleStream(stream.__arrow_c_stream__()))
        relation = connection.sql("FROM stream")
        columns = [_StreamColumn.of(name, type_) for name, type_ in zip(relation.columns, relation.types, strict=True)]
        for column in columns:
            column.check(source)
        yield relation.columns
        connection.execute(f"SELECT {', '.join(column.sql for column in columns)} FROM stream")  # noqa: S608
        while batch := connection.fetchmany(BATCH):
            yield [column.restored(values) for column, values in zip(columns, zip(*batch, strict=True), strict=True)]


@attrs.frozen
class _SingleStream:
    """An Arrow stream that is exported already, so only once, however often DuckDB asks for its schema."""

    capsule: object = attrs.field(repr=False)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.capsule


@attrs.frozen
class _StreamColumn:
    """A column of an Arrow stream. Datetimes are read as numbers, since DuckDB would round nanoseconds."""

    name: str
    type: Any
    unit: str | None

    @classmethod
    def of(cls, name: str, type_: Any) -> Self:  # noqa: ANN401  # DuckDB's types exist at run time only.
        unit = _NANOSECONDS if type_.id == "timestamp_ns" else "us" if type_.id in _TIMESTAMPS else None
        return cls(name, type_, unit)

    def check(self, source: str) -> None:
        """Raise SourceError if values would be rounded."""
        if self.unit is None and "TIMESTAMP_NS" in str(self.type):
            raise SourceError(source, f"the column {printable(self.name)} {NESTED_NANOSECONDS}")

    @property
    def sql(self) -> str:
        """The expression that selects the column."""
        column, type_ = _identifier(self.name), str(self.type)
        if self.unit is not None:
            # An infinite moment has no number; the largest number is out of range, too.
            finite = f"WHEN isfinite({column}) THEN epoch_{self.unit}({column})"
            return f"CASE {finite} WHEN {column} IS NOT NULL THEN {_INFINITE} END"
        return f"CAST({column} AS {type_.replace(_WITH_ZONE, 'TIMESTAMP')})" if _WITH_ZONE in type_ else column

    def restored(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return *values* as they were in the stream."""
        if self.unit is not None:
            return from_epoch(values, self.unit, is_utc=self.type.id == _TIMESTAMPS[-1])
        restore = _restore_function(self.type)
        return values if restore is None else [_restored(value, restore) for value in values]


def _restored(value: object, restore: _Restore) -> object:
    try:
        return None if value is None else restore(value, "")
    except InvalidTraitsError as error:
        return UnreadableValue(error.problem)


@contextlib.contextmanager
def _connect(database: Path | None) -> Generator[duckdb.DuckDBPyConnection]:
    """Open a read-only connection that spills only to a temporary directory."""
    if database is not None:
        _check_database(database)
    with tempfile.TemporaryDirectory(prefix="replay-identity-") as spill, _open(database, spill) as connection:
        connection.execute(_FINAL_SETTINGS)
        yield connection


def _check_database(database: Path) -> None:
    if not database.exists():
        raise SourceError(str(database), "cannot be read: No such file")
    with contextlib.suppress(OSError):  # DuckDB says why it cannot be read.
        if not database.is_file() or _MAGIC not in _first_bytes(database):
            hint = "to query other files, name them in the query instead: FROM 'users.csv'"
            raise SourceError(str(database), f"not a database of DuckDB or SQLite; {hint}")


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAGIC_BYTES)


def _open(database: Path | None, spill: str) -> contextlib.closing[duckdb.DuckDBPyConnection]:
    config: dict[str, _Setting] = {**_SETTINGS, "temp_directory": spill}
    try:
        connection = duckdb.connect(database or ":memory:", read_only=database is not None, config=config)
        return contextlib.closing(connection)
    except duckdb.Error as error:
        problem = database_problem(error, str(database))
    raise SourceError(str(database), problem)


def _single_query(connection: duckdb.DuckDBPyConnection, sql: str, source: str) -> str:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        problem = query_problem(error, sql)
    else:
        if [statement.type for statement in statements] == [duckdb.StatementType.SELECT]:
            return statements[0].query.strip().removesuffix(";")
        problem = "expected exactly one SELECT statement"
    raise SourceError(source, problem)


def _rows(connection: duckdb.DuckDBPyConnection, query: _Query, converter: RowConverter) -> Iterator[Row | BadRow]:
    """Yield the rows that the query returns, numbered from 1."""
    columns = query.columns(converter.columns(query.names))
    for number, values in enumerate(query.fetch(connection), 1):
        try:
            fields = _fields(columns, values)
        except InvalidTraitsError as error:
            yield BadRow(number, number, str(error))
            continue
        row = converter.convert(fields, number)
        if row is not None:
            yield row


def _in_utc_query(sql: str, names: Sequence[str], types: Sequence[Any]) -> str:
    """Return the query with the columns changed whose values DuckDB would return wrongly, or only with pytz."""
    replaced = [
        f"{changed} AS {_identifier(name)}"
        for name, type_ in zip(names, types, strict=True)
        if (changed := _changed_column(_identifier(name), type_))
    ]
    # The line break ends a comment at the end of the query.
    return f"SELECT * REPLACE ({', '.join(replaced)}) FROM ({sql}\n)" if replaced else sql  # noqa: S608


def _changed_column(column: str, type_: Any) -> str | None:  # noqa: ANN401  # DuckDB's types exist at run time only.
    """Return the expression to select instead of a column, or None to select the column itself.

    Timestamps are cast to UTC. An infinite date, which Python would get as one in 9999, becomes one that Python cannot
    have.
    """
    text = str(type_)
    cast = f"CAST({column} AS {text.replace(_WITH_ZONE, 'TIMESTAMP')})" if _WITH_ZONE in text else None
    if type_.id not in _MAY_BE_INFINITE:
        return cast
    is_date = type_.id == "date"
    # A moment in nanoseconds cannot be that early; Python would get it in microseconds, too.
    finite, type_name = (column, "DATE") if is_date else (cast or f"CAST({column} AS TIMESTAMP)", "TIMESTAMP")
    return f"CASE WHEN NOT isfinite({column}) THEN {_literal(_BEFORE_CHRIST)}::{type_name} ELSE {finite} END"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _restore_function(type_: Any, *, is_nested: bool = False) -> _Restore | None:  # noqa: ANN401  # As above.
    """Return what restores values of a type, or None if DuckDB returns them unchanged.

    Timestamps get back their time zone, UTC. Dates that Python cannot have, which DuckDB returns as strings, fail.
    """
    if "TIMESTAMP" not in str(type_) and "DATE" not in str(type_):
        return None
    inner = {name: _restore_function(child, is_nested=True) or _keep for name, child in _children(type_)}
    match type_.id:
        case "struct":
            return lambda value, path: {name: inner[name](item, path) for name, item in value.items()}
        case "map":
            return lambda value, path: {name: inner["value"](item, path) for name, item in value.items()}
        case "list" | "array":
            return lambda value, path: [inner["child"](item, path) for item in value]
        case "union":  # DuckDB does not say which of its types a value has.
            return _checked_finite
        case _:
            check = _checked_nested_date if is_nested else _checked_date
            return (lambda value, path: _in_utc(check(value, path))) if _WITH_ZONE in str(type_) else check


def _children(type_: Any) -> list[tuple[str, Any]]:  # noqa: ANN401  # As above.
    """Return the names and types inside a type, without the length that an array has there too."""
    if type_.id not in _NESTED:
        return []
    return [(name, child) for name, child in type_.children if not isinstance(child, int)]


def _keep(value: object, _path: str) -> object:
    return value


def _checked_date(value: object, path: str) -> object:
    if isinstance(value, str):
        raise InvalidTraitsError(path, "is not a date between the years 1 and 9999")
    return value


def _checked_nested_date(value: object, path: str) -> object:
    return _checked_date(_checked_finite(value, path), path)


def _checked_finite(value: object, path: str) -> object:
    if value in _INFINITE_DATES:
        raise InvalidTraitsError(path, "may be an infinite date; select it as text")
    return value


def _in_utc(value: object) -> object:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
