"""Read frames, such as those of pandas, polars and Arrow, a few thousand rows at a time.

None of these libraries is imported: a frame is known by what it can do.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import ModuleType
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import attrs

from ..errors import ConfigurationError, SourceError, printable
from .python_values import from_epoch

_CHUNK_ROWS: Final = 2000
# NumPy's kind of datetimes, and its value for a missing one.
_DATETIME: Final = "M"
_NAT: Final = -(2**63)
_NANOSECONDS: Final = "ns"
NESTED_NANOSECONDS: Final = "has datetimes in nanoseconds inside lists or objects; cast them to microseconds"

# The values of some rows, one sequence for each column.
Chunk: TypeAlias = Sequence[Sequence[Any]]
# Returns the values of the columns at these positions, chunk by chunk.
_ReadColumns: TypeAlias = Callable[[Sequence[int]], Iterator[Chunk]]


@runtime_checkable
class ArrowStream(Protocol):
    """What exports its rows as an Arrow stream: frames of pandas, polars, Arrow, DuckDB and others."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return a capsule with the stream."""
        ...


@runtime_checkable
class Interchangeable(Protocol):
    """What has the dataframe interchange protocol, which comes before Arrow's streams."""

    def __dataframe__(self, nan_as_null: bool = ..., allow_copy: bool = ...) -> object:  # noqa: FBT001
        """Return the columns."""
        ...


FrameLike: TypeAlias = ArrowStream | Interchangeable


def _do_nothing() -> None:
    """Close nothing."""


@attrs.frozen
class Frame:
    """The columns of a frame.

    Attributes:
        names: Their names, as they are.
        read: Returns the values of the columns at some positions, chunk by chunk. They may hold `UnreadableValue`.
        has_labels: Whether the rows have labels, which are not a column, and so may be the ids.
        close: Ends the reading.
    """

    names: Sequence[object]
    read: _ReadColumns = attrs.field(repr=False)
    has_labels: bool = False
    close: Callable[[], None] = attrs.field(default=_do_nothing, repr=False)


def is_frame(rows: object) -> bool:
    """Return True if *rows* is a frame; a single column is not, but an iterable of its values."""
    if type(rows) is dict:  # Most rows are, and the checks below take longer.
        return False
    return _is_pandas(rows) or (isinstance(rows, ArrowStream | Interchangeable) and not _is_single_column(rows))


def is_rereadable(frame: object) -> bool:
    """Return True if *frame* can be read twice. Any other Arrow stream may end for good."""
    return _is_pandas(frame) or _is_polars(frame) or _is_arrow_table(frame)


def open_frame(frame: Any, source: str) -> Frame:  # noqa: ANN401  # Of any library.
    """Return the columns of *frame*.

    Raises:
        SourceError: It has a named index.
        ConfigurationError: A library is missing that is needed to read it.
    """
    if _is_pandas(frame):
        return _pandas_frame(frame, source)
    if _is_polars(frame):
        return _polars_frame(frame, source)
    if _is_arrow_table(frame):
        return Frame(frame.column_names, lambda indexes: _arrow_chunks(frame, indexes))
    if hasattr(frame, "read_next_batch"):
        return Frame(frame.schema.names, lambda indexes: _arrow_batches(frame, indexes))
    if isinstance(frame, ArrowStream):
        chunks = _duckdb_reader().stream_chunks(frame, source)
        return Frame(next(chunks), partial(_chosen_columns, chunks), close=chunks.close)
    return open_frame(_interchange().from_dataframe(frame), source)


def _is_pandas(frame: object) -> bool:
    return hasattr(frame, "iloc") and hasattr(frame, "itertuples")


def _is_polars(frame: object) -> bool:
    return hasattr(frame, "get_columns") and hasattr(frame, "iter_rows")


def _is_arrow_table(frame: object) -> bool:
    return hasattr(frame, "column_names") and hasattr(frame, "to_pylist")


def _is_single_column(values: object) -> bool:
    return hasattr(values, "to_frame") or (hasattr(values, "to_pylist") and not _is_arrow_table(values))


def _pandas_frame(frame: Any, source: str) -> Frame:  # noqa: ANN401
    index = [printable(str(name)) for name in frame.index.names if name is not None]
    if index:
        hint = "call reset_index() to make it a column, or reset_index(drop=True) to leave it out"
        raise SourceError(source, f"the index {', '.join(index)} is not read; {hint}")
    return Frame(
        list(frame.columns),
        lambda indexes: _pandas_chunks(frame, indexes),
        has_labels=not hasattr(frame.index, "step"),  # Only a range has one.
    )


def _pandas_chunks(frame: Any, indexes: Sequence[int]) -> Iterator[Chunk]:  # noqa: ANN401
    columns = [frame.iloc[:, index] for index in indexes]
    for start in range(0, len(frame), _CHUNK_ROWS):
        yield [_pandas_values(column.iloc[start : start + _CHUNK_ROWS]) for column in columns]


def _pandas_values(column: Any) -> Sequence[Any]:  # noqa: ANN401
    array = column.array
    numbers = getattr(array, "asi8", None)
    if numbers is None or array.dtype.kind != _DATETIME:
        values: list[Any] = column.tolist()
        return values
    moments = [None if number == _NAT else number for number in numbers.tolist()]
    return from_epoch(moments, array.unit, is_utc=array.tz is not None)


def _polars_frame(frame: Any, source: str) -> Frame:  # noqa: ANN401
    columns = frame.get_columns()
    for column in columns:
        if not hasattr(column.dtype, "time_unit") and _has_nanoseconds(column.dtype):
            raise SourceError(source, f"the column {printable(column.name)} {NESTED_NANOSECONDS}")
    return Frame(frame.columns, lambda indexes: _polars_chunks([columns[index] for index in indexes], len(frame)))


def _has_nanoseconds(dtype: Any) -> bool:  # noqa: ANN401
    inner = [dtype.inner] if hasattr(dtype, "inner") else [field.dtype for field in getattr(dtype, "fields", ())]
    return getattr(dtype, "time_unit", None) == _NANOSECONDS or any(map(_has_nanoseconds, inner))


def _polars_chunks(columns: Sequence[Any], count: int) -> Iterator[Chunk]:
    for start in range(0, count, _CHUNK_ROWS):
        yield [_polars_values(column.slice(start, _CHUNK_ROWS)) for column in columns]


def _polars_values(column: Any) -> Sequence[Any]:  # noqa: ANN401
    if not hasattr(column.dtype, "time_zone"):
        values: list[Any] = column.to_list()
        return values
    numbers = column.to_physical().to_list()
    return from_epoch(numbers, column.dtype.time_unit, is_utc=column.dtype.time_zone is not None)


def _chosen_columns(chunks: Iterator[Chunk], indexes: Sequence[int]) -> Iterator[Chunk]:
    for chunk in chunks:
        yield [chunk[index] for index in indexes]


def _arrow_batches(batches: Any, indexes: Sequence[int]) -> Iterator[Chunk]:  # noqa: ANN401
    for batch in batches:
        yield from _arrow_chunks(batch, indexes)


def _arrow_chunks(table: Any, indexes: Sequence[int]) -> Iterator[Chunk]:  # noqa: ANN401
    columns = [table.column(index) for index in indexes]
    for start in range(0, table.num_rows, _CHUNK_ROWS):
        yield [_arrow_values(column.slice(start, _CHUNK_ROWS)) for column in columns]


def _arrow_values(column: Any) -> Sequence[Any]:  # noqa: ANN401
    if hasattr(column.type, "tz"):
        return from_epoch(column.cast("int64").to_pylist(), column.type.unit, is_utc=column.type.tz is not None)
    try:
        values: list[Any] = column.to_pylist(maps_as_pydicts="strict")
    except Exception:  # noqa: BLE001  # One value that cannot be read; then they are read one by one.
        return list(column)
    return values


def _interchange() -> Any:  # noqa: ANN401  # PyArrow has no types.
    try:
        return importlib.import_module("pyarrow.interchange")
    except ImportError:
        problem = "a frame that has only __dataframe__ is read with PyArrow, which is not installed"
        raise ConfigurationError("rows", problem, "install it with: pip install pyarrow") from None


def _duckdb_reader() -> ModuleType:
    try:
        from . import duckdb_reader  # noqa: PLC0415  # Rows from Python must work without the extra.
    except ImportError as error:
        if error.name != "duckdb":
            raise
        hint = "install it with: pip install 'replay-identity[warehouse]'"
        raise ConfigurationError("rows", "an Arrow stream is read with DuckDB, which is not installed", hint) from None
    return duckdb_reader
