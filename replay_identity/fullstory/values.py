"""One value in Fullstory's words, by its type."""

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson

from ..fitting import Fitting, remembered
from ..values import Removal
from .limits import LARGEST_INT, PROPERTY_VALUE, SMALLEST_INT
from .types import type_of_list


def dumps(content: Any) -> bytes:  # noqa: ANN401  # What the functions below make of trait values.
    """Return *content* as the JSON that is sent: dates in UTC with a Z."""
    return orjson.dumps(content, option=orjson.OPT_UTC_Z)


def fits_as_json(words: object, path: str, fitting: Fitting) -> bool:
    """Tell whether a list or an object is as small, as JSON, as one property's value must be, or record that not."""
    encoded = dumps(words)
    if len(encoded) <= PROPERTY_VALUE.maximum:
        return True
    return fitting.keep(path, encoded.decode(), PROPERTY_VALUE) is not None


def _same(value: float, _path: str, _fitting: Fitting) -> float:
    return value


def _text(value: str, path: str, fitting: Fitting) -> str:
    return fitting.shorten(path, value, PROPERTY_VALUE)


def _int(value: int, path: str, fitting: Fitting) -> int | None:
    if SMALLEST_INT <= value <= LARGEST_INT:
        return value
    fitting.drop(path, "int-range")
    return None


def _real(value: Decimal, path: str, fitting: Fitting) -> float | None:
    """Return *value* as a 64-bit float, if that is the same number."""
    real = float(value)
    if not math.isfinite(real):
        fitting.drop(path, "real-range")
        return None
    if Decimal(repr(real)) == value:
        fitting.adjust(path, "coerced", "decimal-as-real")
    elif fitting.adapt:
        fitting.adjust(path, "truncated", "real-precision")
    else:
        fitting.refuse(path, "real-precision")
    return real


_as_iso8601: Final = remembered("coerced", "date-as-iso8601")


# orjson writes dates as ISO 8601 and UUIDs as text itself, several times faster than they do.


def _date(value: date, path: str, fitting: Fitting) -> date:
    fitting.adjustments.append(_as_iso8601(path))
    return value


def _uuid(value: UUID, path: str, fitting: Fitting) -> UUID:
    fitting.adjust(path, "coerced", "uuid-as-text")
    return value


def _list(values: tuple[Any, ...], path: str, fitting: Fitting) -> list[Any] | None:
    """Return a list of scalars of one type; "we don't currently support arrays of objects" (custom-properties)."""
    if type_of_list(values) is None:
        nested = any(type(value) in {dict, tuple} for value in values)
        fitting.drop(path, "list-of-scalars" if nested else "list-of-one-type")
        return None
    # A text is as long as its list at the most, so the list's own limit covers it.
    before = len(fitting.adjustments)
    words = [value if type(value) is str else WORDING[type(value)](value, path, fitting) for value in values]
    if len(fitting.adjustments) > before + 1:
        # What is said of one item need not be said of the next.
        fitting.adjustments[before:] = dict.fromkeys(fitting.adjustments[before:])
    return None if None in words else words


def _removal(_value: Removal, path: str, fitting: Fitting) -> None:
    """Send nothing: "properties cannot be deleted via the API" (github.com/fullstorydev/fs-skills, 2026-11-21)."""
    fitting.drop(path, "cannot-remove")


# Each takes a value, its path and the books; it returns the value as JSON has it, or None if it cannot be sent.
WORDING: Final[Mapping[type[object], Callable[[Any, str, Fitting], Any]]] = {
    str: _text,
    bool: _same,
    int: _int,
    float: _same,
    Decimal: _real,
    datetime: _date,
    date: _date,
    UUID: _uuid,
    tuple: _list,
    Removal: _removal,
}
