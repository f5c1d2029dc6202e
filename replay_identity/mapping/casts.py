"""Exact type conversions: a cast returns the same value in another type, or raises.

Every cast takes a value and the path that an error names.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias, TypeGuard
from uuid import UUID

from .._json import parse_json
from .._values import iso8601
from ..errors import InvalidTraitsError
from ..traits import TraitType

CastFunction: TypeAlias = Callable[[Any, str], Any]

# Numbers as JSON writes them: no plus sign, no leading zeros, no spaces.
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,5})?")
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_DATETIME: Final = re.compile(
    r"""[0-9]{4}-[0-9]{2}-[0-9]{2}
        (?: [T ] [0-9]{2}:[0-9]{2} (?: :[0-9]{2} (?: \.[0-9]{1,6} (?P<finer>[0-9]*) )? )?
            (?: Z | [+-][0-9]{2}(?: :?[0-9]{2} )? )?
        )?""",
    re.VERBOSE,
)
_DATE_LENGTH: Final = len("2026-11-21")
_BOOLEANS: Final[Mapping[str, bool]] = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

_INT64: Final = 2**63
# A 64-bit float keeps any number of up to this many digits exactly.
_SAFE_DIGITS: Final = 15
# No 64-bit float and no datetime needs more, and parsing more would be slow.
_MAX_DIGITS: Final = 400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

CAST_TYPES: Final[Mapping[str, TraitType]] = {
    "str": "str",
    "int": "int",
    "real": "real",
    "bool": "bool",
    "date": "date",
    "epoch": "date",
    "epoch-ms": "date",
    "strs": "strs",
    "ints": "ints",
    "reals": "reals",
    "bools": "bools",
    "dates": "dates",
}


def find_cast(name: str, zone: tzinfo | None) -> CastFunction:
    """Return the cast called *name*; *zone* applies to datetimes without a time zone."""
    if name in _CASTS:
        return _CASTS[name]
    to_date = partial(_to_date, zone=zone)
    if name == "date":
        return to_date
    return partial(_to_list, cast=to_date if name == "dates" else _CASTS[name.removesuffix("s")])


def with_timezone(moment: datetime, zone: tzinfo | None, path: str) -> datetime:
    """Return *moment* with its own time zone, or else with *zone*.

    Raises:
        InvalidTraitsError: There is no zone, or its clocks skip or repeat that hour.
    """
    if moment.tzinfo is not None:
        return moment
    if zone is None:
        _reject(path, "the datetime has no time zone; set timezone in the mapping")
    placed = moment.replace(tzinfo=zone)
    if zone is not UTC and placed.utcoffset() != placed.replace(fold=1).utcoffset():
        _reject(path, "is in an hour that the clocks of the time zone skip or repeat")
    return placed


def _reject(path: str, problem: str) -> NoReturn:
    raise InvalidTraitsError(path, problem)


def _keep(value: object, _path: str) -> object:
    return value


def _to_str(value: object, path: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | Decimal) and not _is_finite(value):
        _reject(path, "expected a finite number")
    if isinstance(value, int | float | Decimal | UUID):
        return str(value)
    if isinstance(value, datetime):
        return iso8601(with_timezone(value, None, path))
    if isinstance(value, date):
        return iso8601(value)
    _reject(path, "expected a string, or a number, boolean, date or UUID to write as one")


def _to_int(value: object, path: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        number = int(value)
    elif isinstance(value, str):
        if _INTEGER.fullmatch(value) is None:
            _reject(path, "expected a whole number")
        number = int(value) if len(value) < _MAX_DIGITS else _INT64
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        number = int(value) if abs(value) <= _INT64 else _INT64
    else:
        _reject(path, "expected a whole number")
    if -_INT64 <= number < _INT64:
        return number
    _reject(path, "expected an integer of at most 64 bits")


def _is_finite(value: float | Decimal) -> bool:
    # `math.isfinite` raises for a signalling NaN.
    return value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)


def _to_real(value: object, path: str) -> float:
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        _reject(path, "expected a finite number")
    if isinstance(value, str):
        if _NUMBER.fullmatch(value) is None:
            _reject(path, "expected a number")
        if len(value) <= _SAFE_DIGITS and "e" not in value and "E" not in value:
            return float(value)
        if len(value) > _MAX_DIGITS:
            _reject(path, "has more digits than a 64-bit float can hold")
    elif isinstance(value, bool) or not isinstance(value, int | Decimal):
        _reject(path, "expected a number")
    return _exact_float(Decimal(value), path)


def _exact_float(number: Decimal, path: str) -> float:
    """Return the float that equals *number*, or raise if there is none."""
    if not number.is_finite():
        _reject(path, "expected a finite number")
    result = float(number)
    if math.isinf(result):
        _reject(path, "is too large for a 64-bit float")
    if Decimal(repr(result)) != number and Decimal(result) != number:
        _reject(path, "has more digits than a 64-bit float can hold")
    return result


def _to_bool(value: Any, path: str) -> bool:  # noqa: ANN401  # A row's value.
    if type(value) is bool:
        return value
    if type(value) is str:
        boolean = _BOOLEANS.get(value.lower())
        if boolean is not None:
            return boolean
    elif type(value) is int and value in {0, 1}:
        return value == 1
    _reject(path, "expected one of true, false, yes, no, 1, 0")


def _to_date(value: Any, path: str, zone: tzinfo | None) -> date:  # noqa: ANN401  # A row's value.
    if isinstance(value, datetime):
        return with_timezone(value, zone, path)
    if isinstance(value, date):
        return value
    match = _DATETIME.fullmatch(value) if type(value) is str else None
    if match is None:
        _reject(path, "expected an ISO 8601 date, such as 2026-11-21 or 2026-11-21T08:30:00Z")
    if (match["finer"] or "").strip("0"):
        _reject(path, "is more precise than a microsecond")
    try:
        if len(value) == _DATE_LENGTH:
            return date.fromisoformat(value)
        return with_timezone(datetime.fromisoformat(value), zone, path)
    except ValueError:
        raise InvalidTraitsError(
            path, "expected a date that exists in the calendar"
        ) from None  # The cause may quote the value.


def _to_datetime(value: object, path: str, microseconds: int) -> datetime:
    """Return *value* as a datetime in UTC: a count of units of *microseconds* since 1970."""
    number = _number(value)
    if number is None:
        _reject(path, f"expected a number of {'seconds' if microseconds == _SECOND else 'milliseconds'} since 1970")
    exact = number * microseconds
    if exact.denominator != 1:
        _reject(path, "is more precise than a microsecond")
    try:
        return _EPOCH + timedelta(microseconds=exact.numerator)
    except OverflowError:
        raise InvalidTraitsError(path, "is outside the years 1 to 9999") from None


def _number(value: object) -> int | Fraction | None:
    """Return *value* as an exact number, or None if it is none or too long for a datetime."""
    if type(value) is int:
        return value
    if isinstance(value, str) and len(value) < _MAX_DIGITS and _DECIMAL.fullmatch(value):
        return Fraction(value)
    if isinstance(value, float) and math.isfinite(value):
        return Fraction(repr(value))
    if isinstance(value, Decimal) and value.is_finite() and abs(int(value.as_tuple().exponent)) < _MAX_DIGITS:
        return Fraction(value)
    return None


def _to_json(value: object, path: str) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value.encode())
    except InvalidTraitsError as error:
        raise InvalidTraitsError(path, f"has a duplicate name in one object: {error.path}") from None
    except (ValueError, RecursionError):
        raise InvalidTraitsError(path, "expected JSON") from None  # The cause quotes the value.


def _to_list(value: object, path: str, cast: CastFunction) -> list[Any]:
    items = _to_json(value, path)
    if not _is_list(items):
        _reject(path, "expected a list")
    return [cast(item, f"{path}[{index}]") for index, item in enumerate(items)]


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return type(value) is list


_SECOND: Final = 1_000_000
_CASTS: Final[Mapping[str, CastFunction]] = {
    "any": _keep,
    "str": _to_str,
    "int": _to_int,
    "real": _to_real,
    "bool": _to_bool,
    "epoch": partial(_to_datetime, microseconds=_SECOND),
    "epoch-ms": partial(_to_datetime, microseconds=_SECOND // 1000),
    "json": _to_json,
}
