"""Turn the values of rows from Python, of NumPy, pandas, Arrow and others, into the types that traits have.

None of these libraries is imported: a value is known by what it can do.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeGuard
from uuid import UUID

import attrs

from .._values import MAX_DEPTH, checked_key
from ..errors import InvalidTraitsError, printable

# Values of these types are kept.
_PLAIN: Final[frozenset[type[object]]] = frozenset({str, int, bool, type(None), datetime, date, Decimal, UUID})
_FLOATS: Final[frozenset[type[object]]] = frozenset({float, type(None)})
_FINER: Final = "is finer than a microsecond; round it"
_OUT_OF_RANGE: Final = "expected a year from 1 to 9999"
_NO_DATETIME: Final = "expected a datetime in the years 1 to 9999, no finer than a microsecond"
_NOT_PYTHON: Final = "has no value in Python: a datetime out of range or too fine, or a key that a map has twice"

# The kinds of NumPy's types (`dtype.kind`) that this module must know.
_DATETIME64: Final = "M"
# Their `item()` returns a number, bytes or a tuple, so they are kept and then rejected.
_REJECTED_KINDS: Final = frozenset({"m", "V"})

# Microseconds in a unit.
_MICROSECONDS: Final[Mapping[str, int]] = {"s": 1_000_000, "ms": 1000, "us": 1}
_NANOSECONDS: Final = 1000
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  # The time zone is added where there is one.


@attrs.frozen
class UnreadableValue:
    """A value of a frame that Python has no value for.

    Attributes:
        problem: What is wrong with it.
    """

    problem: str


def plain_fields(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a copy of *row* with plain names and values.

    Raises:
        InvalidTraitsError: A name is not a string, or a value cannot be read.
    """
    fields: dict[str, Any] = {}
    for key, value in row.items():
        name = key if type(key) is str else checked_key(key, "row")
        fields[name] = value if type(value) in _PLAIN else plain_value(value, name)
    return fields


def plain_column(values: Sequence[Any], name: str) -> Sequence[Any]:
    """Return the values of a column as plain values; faster than `plain_value` for each.

    Raises:
        InvalidTraitsError: A value cannot be read.
    """
    kinds = set(map(type, values))
    if kinds <= _PLAIN:
        return values
    if kinds <= _FLOATS:
        return [None if value != value else value for value in values]  # noqa: PLR0124  # NaN.
    return [value if type(value) in _PLAIN else plain_value(value, name) for value in values]


def plain_value(value: Any, name: str, depth: int = 0) -> Any:  # noqa: ANN401  # Any value.
    """Return *value* as a trait has it, or None for a missing one (NaN, NaT, NA); unknown types are kept.

    Args:
        value: The value.
        name: Name of its field.
        depth: Number of values that it is nested in.

    Raises:
        InvalidTraitsError: The value cannot be read.
    """
    if type(value) in _PLAIN:
        return value
    if type(value) is float:
        return None if value != value else value  # noqa: PLR0124  # NaN.
    if depth > MAX_DEPTH:  # Then, or if a value contains itself, the traits are invalid.
        return value
    if hasattr(value, "as_py"):  # A scalar of Arrow may be a mapping, too.
        return plain_value(_python_value(value, name), name, depth)
    if _is_mapping(value):
        return _plain_mapping(value, name, depth)
    if _is_sequence(value):
        return _plain_list(value, name, depth)
    if isinstance(value, datetime):
        return _plain_datetime(value, name)
    return _plain_object(value, name, depth)


def from_epoch(values: Sequence[int | None], unit: str, *, is_utc: bool) -> list[Any]:
    """Return datetimes, given as numbers since 1970, exactly; a value that is none is an `UnreadableValue`.

    Args:
        values: The numbers.
        unit: ``"s"``, ``"ms"``, ``"us"`` or ``"ns"``.
        is_utc: Whether the datetimes have a time zone. Then they are in UTC.
    """
    epoch = _EPOCH.replace(tzinfo=UTC) if is_utc else _EPOCH
    factor = _MICROSECONDS.get(unit, 0)
    if factor:
        with suppress(OverflowError):  # Then the values are tried one by one.
            return [None if value is None else epoch + timedelta(0, 0, value * factor) for value in values]
    return [None if value is None else _moment(value, factor, epoch) for value in values]


def _moment(value: int, factor: int, epoch: datetime) -> datetime | UnreadableValue:
    """Return a moment; a *factor* of zero means nanoseconds."""
    if not factor and value % _NANOSECONDS:
        return UnreadableValue(_FINER)
    try:
        return epoch + timedelta(0, 0, value * factor if factor else value // _NANOSECONDS)
    except OverflowError:
        return UnreadableValue(_OUT_OF_RANGE)


def _plain_mapping(mapping: Mapping[Any, Any], name: str, depth: int) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in mapping.items():
        inner = key if type(key) is str else checked_key(key, printable(name))
        plain[inner] = value if type(value) in _PLAIN else plain_value(value, f"{name}.{inner}", depth + 1)
    return plain


def _plain_list(values: Sequence[Any], name: str, depth: int) -> Sequence[Any]:
    if _PLAIN.issuperset(map(type, values)):
        return values
    return [plain_value(value, f"{name}[{index}]", depth + 1) for index, value in enumerate(values)]


def _plain_datetime(value: datetime, name: str) -> datetime | None:
    """Return a `datetime` for one of a subclass, such as pandas' Timestamp; None for NaT."""
    if value != value:  # noqa: PLR0124  # NaT is a datetime.
        return None
    if getattr(value, "nanosecond", 0):
        raise _invalid(name, _FINER)
    convert = getattr(value, "to_pydatetime", None)
    if convert is None:
        return datetime.combine(value, value.timetz())
    try:
        moment: datetime = convert()
    except (ValueError, OverflowError):  # pandas has years that `datetime` lacks.
        raise _invalid(name, _OUT_OF_RANGE) from None
    return moment


def _plain_object(value: Any, name: str, depth: int) -> Any:  # noqa: ANN401  # Any value.
    if isinstance(value, UnreadableValue):
        raise _invalid(name, value.problem)
    if _is_na(value):
        return None
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return _plain_scalar(value, name, depth)
    if _is_array(value):
        return _plain_list(list(value), name, depth)
    return value


def _python_value(scalar: Any, name: str) -> Any:  # noqa: ANN401  # A scalar of Arrow.
    try:
        return scalar.as_py(maps_as_pydicts="strict")
    except Exception:  # noqa: BLE001  # Its errors differ with the type, and quote the value.
        raise _invalid(name, _NOT_PYTHON) from None


def _plain_scalar(scalar: Any, name: str, depth: int) -> Any:  # noqa: ANN401  # Of NumPy, or an array of no dimension.
    kind = getattr(getattr(scalar, "dtype", None), "kind", None)
    if kind == _DATETIME64:
        return _plain_datetime64(scalar, name)
    if kind in _REJECTED_KINDS:
        return scalar
    item = scalar.item()
    # A longdouble has no Python type, and is rejected later.
    return scalar if type(item) is type(scalar) else plain_value(item, name, depth + 1)


def _plain_datetime64(moment: Any, name: str) -> date | None:  # noqa: ANN401  # Of NumPy.
    item = moment.item()
    if item is None or isinstance(item, date):
        return item
    # It returns a number for nanoseconds, and for years that a datetime does not have.
    with suppress(OverflowError):
        rounded = moment.astype("datetime64[us]")
        exact = rounded.item()
        if isinstance(exact, date) and bool(rounded.astype(moment.dtype) == moment):
            return exact
    raise _invalid(name, _NO_DATETIME)


def _is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _is_sequence(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, list | tuple)


def _is_array(value: object) -> bool:
    """Return True for an array or a series; a memoryview is bytes."""
    has_list = any(hasattr(value, name) for name in ("tolist", "to_list", "to_pylist"))
    return has_list and hasattr(value, "__iter__") and not isinstance(value, memoryview)


def _is_na(value: Any) -> bool:  # noqa: ANN401  # Any value.
    """Return True for pandas' NA and NumPy's masked, whose comparisons with themselves are themselves."""
    try:
        return (value != value) is value and (value == value) is value  # noqa: PLR0124
    except Exception:  # noqa: BLE001  # Some values cannot be compared, and are rejected later.
        return False


def _invalid(name: str, problem: str) -> InvalidTraitsError:
    return InvalidTraitsError(printable(name), problem)
