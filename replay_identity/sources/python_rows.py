"""Read users from rows that Python has: mappings, rows of a database, and frames."""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import count
from typing import Any, Final, Protocol, TypeAlias, TypeGuard, runtime_checkable

import attrs

from .._paths import FieldPath
from .._values import describe_type
from ..errors import InvalidTraitsError, SourceError, printable
from ..mapping import RowMapping
from ..traits import UserTraits
from .conversion import RowConverter
from .frames import Chunk, Frame, FrameLike, is_frame, is_rereadable, open_frame
from .python_values import plain_column, plain_fields, plain_value
from .rows import BadRow, Row, Rows, SourceNotes

_SOURCE: Final = "the rows"
_HINT: Final = "pass an iterable of mappings, or a frame"
# How to make a mapping of other kinds of rows, which are known by what they have.
_ENTITY: Final = "_sa_instance_state"
_ROW_HINTS: Final[Mapping[str, str]] = {
    _ENTITY: "select its columns instead of the entity",
    "model_dump": "pass row.model_dump()",
    "__dataclass_fields__": "pass dataclasses.asdict(row)",
    "__attrs_attrs__": "pass attrs.asdict(row)",
    "dtype": "pass the frame, or a dict for each row",
}
# The name of the rows that pandas' itertuples yields, and of the label that each begins with.
_ITERTUPLES: Final = "Pandas"
_LABEL: Final = "Index"
_INDEX_HINT: Final = "the index is not read; call reset_index() if it holds the ids"


@runtime_checkable
class KeyedRow(Protocol):
    """A row with names, such as those of `sqlite3`."""

    def keys(self) -> Iterable[str]:
        """Return the names."""
        ...

    def __getitem__(self, name: str, /) -> object: ...


@runtime_checkable
class NamedRow(Protocol):
    """A named tuple."""

    def _asdict(self) -> Mapping[str, object]: ...


class SqlRow(Protocol):
    """A row of SQLAlchemy."""

    @property
    def _mapping(self) -> Mapping[Any, Any]: ...


RowLike: TypeAlias = Mapping[str, object] | KeyedRow | NamedRow | SqlRow


def read_rows(
    rows: Iterable[RowLike | FrameLike] | FrameLike, *, mapping: RowMapping | None = None, anonymous: bool = False
) -> Rows[Row | BadRow]:
    """Return the users in rows from Python, as `read_users` does for a file.

    A row that is not a valid user is yielded as a BadRow with its number, starting at 1. The rows are not changed. The
    values of NumPy, pandas and Arrow become those of Python; NaN, NaT and NA are absent.

    The ids in a frame or a collection are read beforehand, so that `sync` merges all rows about a user. Any other
    iterable is read only once.

    Args:
        rows: Mappings, or rows of a database: dicts, named tuples, rows of SQLAlchemy or `sqlite3`. Or a frame: of
            pandas, polars or PyArrow, or anything else with ``__arrow_c_stream__``, which needs the extra
            ``warehouse``. Or an iterable of frames. An index of pandas is not read.
        mapping: Rules for the fields of a row; by default fields become traits under their own names.
        anonymous: Whether to accept rows without an id as anonymous users.

    Raises:
        SourceError: The rows cannot be read, or a frame has no column for the user id.
        ConfigurationError: The extra is not installed.
    """
    return rows_of(rows, mapping=mapping, anonymous=anonymous)


def rows_of(
    rows: Iterable[RowLike | FrameLike | UserTraits | Row | BadRow] | FrameLike,
    *,
    mapping: RowMapping | None = None,
    anonymous: bool = False,
    id_of: Callable[[UserTraits], Hashable] = lambda user: user.user_id,
) -> Rows[Row | BadRow]:
    """Return what `read_rows` returns; users and rows that are already converted are kept.

    Args:
        rows: The rows.
        mapping: As for `read_rows`.
        anonymous: As for `read_rows`; users are accepted in any case.
        id_of: Returns what tells a user from all others, or None.
    """
    source = _PythonSource(rows, mapping, anonymous=anonymous, id_of=id_of)
    return Rows(source.notes.watch(source.read()), source.read_ids, source.notes)


@attrs.frozen
class _PythonSource:
    """Rows from Python, and how to read them."""

    rows: object = attrs.field(repr=False)
    mapping: RowMapping | None
    anonymous: bool = attrs.field(kw_only=True)
    id_of: Callable[[UserTraits], Hashable] = attrs.field(kw_only=True)
    notes: SourceNotes = attrs.field(factory=SourceNotes, init=False)

    def read(self) -> Iterator[Row | BadRow]:
        numbers = count(1)
        if is_frame(self.rows):
            yield from self._read_frame(self.rows, numbers)
            return
        converter = self._converter()
        for item in _iterate(self.rows):
            if isinstance(item, Row | BadRow):
                next(numbers)
                yield item
            elif isinstance(item, UserTraits):
                yield Row(next(numbers), item)
            elif is_frame(item):
                yield from self._read_frame(item, numbers)
            elif (row := _convert(item, next(numbers), converter)) is not None:
                yield row
        converter.finish()

    def read_ids(self) -> Iterator[Hashable]:
        if is_frame(self.rows):
            yield from self._frame_ids(self.rows)
        elif _is_collection(self.rows):
            # Only collections are read twice: the iterators of another iterable may share one cursor.
            yield from self._item_ids(self.rows)

    def _converter(self, notes: SourceNotes | None = None) -> RowConverter:
        # A source without ids is an error when its rows are read, not when its ids are.
        anonymous = self.anonymous or notes is not None
        has_datetimes = self.mapping is not None  # Without one, there is no time zone for those that have none.
        return RowConverter(
            _SOURCE, self.mapping, notes or self.notes, anonymous=anonymous, has_datetimes=has_datetimes
        )

    def _read_frame(self, rows: object, numbers: Iterator[int]) -> Iterator[Row | BadRow]:
        converter = self._converter()
        with closing(open_frame(rows, _SOURCE)) as frame:
            names = _column_names(frame)
            kept = converter.without_labels(names)
            paths = self._columns(frame, [names[index] for index in kept], converter)
            for chunk in frame.read(kept):
                for fields, number in zip(_chunk_fields(chunk, paths), numbers, strict=False):
                    if isinstance(fields, InvalidTraitsError):
                        yield BadRow(number, number, str(fields))
                    elif (row := converter.convert(fields, number)) is not None:
                        yield row
        converter.finish()

    def _columns(self, frame: Frame, names: Sequence[str], converter: RowConverter) -> Sequence[FieldPath]:
        try:
            return converter.columns(names)
        except SourceError as error:
            if not frame.has_labels:
                raise
            # If there is no error for anonymous users, it is that there is no id.
            self._converter(SourceNotes()).columns(names)
            raise SourceError(_SOURCE, f"{error.problem}; {_INDEX_HINT}") from None

    def _frame_ids(self, rows: object) -> Iterator[str]:
        if not is_rereadable(rows):
            return
        frame, converter = open_frame(rows, _SOURCE), self._converter(SourceNotes())
        paths = converter.columns(_column_names(frame))
        indexes = [index for index, path in enumerate(paths) if converter.decides_id(path)]
        for chunk in frame.read(indexes) if indexes else ():
            for fields in _chunk_fields(chunk, [paths[index] for index in indexes]):
                user_id = None if isinstance(fields, InvalidTraitsError) else converter.find_id(fields)
                if user_id is not None:
                    yield user_id

    def _item_ids(self, rows: Collection[object]) -> Iterator[Hashable]:
        converter = self._converter(SourceNotes())
        for item in rows:
            user = item.user if isinstance(item, Row) else item
            if isinstance(user, UserTraits):
                user_id = self.id_of(user)
            elif is_frame(item):
                yield from self._frame_ids(item)
                continue
            else:
                fields = _fields(item)
                user_id = None if isinstance(fields, InvalidTraitsError) else converter.find_id(fields)
            if user_id is not None:
                yield user_id


def _iterate(rows: object) -> Iterator[object]:
    problem = f"expected rows, got {describe_type(rows)}; "
    if _is_mapping(rows):
        raise SourceError(_SOURCE, f"{problem}put a single row into a list")
    if isinstance(rows, str | bytes | bytearray):
        raise SourceError(_SOURCE, f"{problem}{_HINT}; read_users reads a file")
    if not _is_iterable(rows):
        collect = "call collect()" if hasattr(rows, "collect") else _HINT
        raise SourceError(_SOURCE, f"{problem}{collect}")
    return iter(rows)


def _convert(item: object, number: int, converter: RowConverter) -> Row | BadRow | None:
    fields = _fields(item)
    if isinstance(fields, InvalidTraitsError):
        return BadRow(number, number, str(fields))
    return converter.convert(fields, number)


def _fields(item: object) -> dict[str, Any] | InvalidTraitsError:
    try:
        return plain_fields(_row_mapping(item))
    except InvalidTraitsError as error:
        return error
    except Exception as error:  # noqa: BLE001  # Of the row's own code; its text may quote values.
        return InvalidTraitsError("row", f"cannot be read: {type(error).__name__}")


def _row_mapping(item: object) -> Mapping[Any, Any]:
    """Return the mapping that a row is.

    Raises:
        InvalidTraitsError: The row has no names, or one of them twice.
    """
    if _is_mapping(item):
        if not _is_dict(item):
            _check_unique(list(item))  # A mapping of SQLAlchemy may have two columns of one name.
        return item
    mapping: object = getattr(item, "_mapping", None)
    if _is_mapping(mapping):
        _check_unique(getattr(item, "_fields", ()))
        if any(hasattr(value, _ENTITY) for value in mapping.values()):
            raise InvalidTraitsError("row", f"has an entity as a value; {_ROW_HINTS[_ENTITY]}")
        return mapping
    if isinstance(item, NamedRow):
        return _named_fields(item)
    if isinstance(item, KeyedRow):
        names = list(item.keys())
        _check_unique(names)
        return {name: item[name] for name in names}
    raise InvalidTraitsError("row", f"expected a mapping, got {describe_type(item)}{_row_hint(item)}")


def _named_fields(item: NamedRow) -> Mapping[str, object]:
    fields = item._asdict()  # pyright: ignore[reportPrivateUsage]  # It is public, in spite of its name.
    if type(item).__name__ != _ITERTUPLES:
        return fields
    if any(name == f"_{position}" for position, name in enumerate(fields)):
        raise InvalidTraitsError("row", "has columns whose names itertuples() changed; pass the frame itself")
    label, *names = fields
    return {name: fields[name] for name in (names if label == _LABEL else fields)}


def _row_hint(item: object) -> str:
    if isinstance(item, list | tuple):
        is_labelled = hasattr(item[-1] if item else None, "to_frame")  # pyright: ignore[reportUnknownArgumentType]
        return "; pass the frame itself" if is_labelled else "; pass dict(zip(names, row))"
    found = [hint for name, hint in _ROW_HINTS.items() if hasattr(item, name)]
    return f"; {found[0]}" if found else ""


def _is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _is_dict(value: object) -> bool:
    return type(value) is dict


def _is_collection(value: object) -> TypeGuard[Collection[object]]:
    return isinstance(value, Collection)


def _is_iterable(value: object) -> TypeGuard[Iterable[object]]:
    return isinstance(value, Iterable)


def _check_unique(names: Sequence[object]) -> None:
    """Raise if a name occurs twice: which value it then has cannot be known."""
    if len(set(names)) < len(names):
        twice = sorted({printable(str(name)) for name in names if names.count(name) > 1})
        raise InvalidTraitsError("row", f"has the column {', '.join(twice)} more than once")


def _column_names(frame: Frame) -> list[str]:
    for position, name in enumerate(frame.names, 1):
        if not isinstance(name, str):
            problem = f"the name of column {position} is {describe_type(name)}; rename the columns to strings"
            raise SourceError(_SOURCE, problem)
    return [str(name) for name in frame.names]


def _chunk_fields(chunk: Chunk, paths: Sequence[FieldPath]) -> Iterator[dict[str, Any] | InvalidTraitsError]:
    """Yield the fields of each row, or what is wrong with it."""
    try:
        columns = [plain_column(values, path.name) for values, path in zip(chunk, paths, strict=True)]
    except InvalidTraitsError:
        yield from (_checked_fields(values, paths) for values in zip(*chunk, strict=True))
        return
    names = [path.key for path in paths]
    is_flat = not any(path.parents for path in paths)
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True)) if is_flat else _nested(values, paths)


def _checked_fields(values: Sequence[Any], paths: Sequence[FieldPath]) -> dict[str, Any] | InvalidTraitsError:
    try:
        plain = [plain_value(value, path.name) for value, path in zip(values, paths, strict=True)]
    except InvalidTraitsError as error:
        return error
    return _nested(plain, paths)


def _nested(values: Sequence[Any], paths: Sequence[FieldPath]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for value, path in zip(values, paths, strict=True):
        path.set(fields, value)
    return fields
