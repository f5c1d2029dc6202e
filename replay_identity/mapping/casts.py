"""Values made what a mapping says they are: exactly, or not at all.

Every cast takes a value and the path by which a problem names it.
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

# Numbers as JSON writes them: no plus, no zeros in front, no space around.
_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,5})?")
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_MOMENT: Final = re.compile(
    r"""[0-9]{4}-[0-9]{2}-[0-9]{2}
        (?: [T ] [0-9]{2}:[0-9]{2} (?: :[0-9]{2} (?: \.[0-9]{1,6} (?P<finer>[0-9]*) )? )?
            (?: Z | [+-][0-9]{2}(?: :?[0-9]{2} )? )?
        )?""",
    re.VERBOSE,
)
_DATE_LENGTH: Final = len("2026-11-21")
_TRUTH: Final[Mapping[str, bool]] = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

_INT64: Final = 2**63
# A 64-bit float has at least so many digits, so that none of a number with as many is lost.
_SAFE_DIGITS: Final = 15
# No 64-bit float and no moment has more, and reading more of them would be slow.
_MOST_DIGITS: Final = 400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

TYPE_OF: Final[Mapping[str, TraitType]] = {
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


def cast_to(name: str, zone: tzinfo | None) -> CastFunction:
    """Return the cast called *name*; *zone* is that of moments that name none."""
    if name in _CASTS:
        return _CASTS[name]
    to_date = partial(_to_date, zone=zone)
    if name == "date":
        return to_date
    return partial(_to_list, cast=to_date if name == "dates" else _CASTS[name.removesuffix("s")])


def in_zone(moment: datetime, zone: tzinfo | None, path: str) -> datetime:
    """Return *moment* with a time zone: its own, or else *zone*.

    Raises:
        InvalidTraitsError: There is no zone, or the clocks there skip the hour or have it twice.
    """
    if moment.tzinfo is not None:
        return moment
    if zone is None:
        _refuse(path, "has a time but no time zone; timezone in the mapping says which")
    placed = moment.replace(tzinfo=zone)
    if zone is not UTC and placed.utcoffset() != placed.replace(fold=1).utcoffset():
        _refuse(path, "is in an hour that the clocks of the time zone skip or have twice")
    return placed


def _refuse(path: str, problem: str) -> NoReturn:
    raise InvalidTraitsError(path, problem)


def _as_it_is(value: object, _path: str) -> object:
    return value


def _to_str(value: object, path: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | Decimal) and not _is_finite(value):
        _refuse(path, "is not a finite number")
    if isinstance(value, int | float | Decimal | UUID):
        return str(value)
    if isinstance(value, datetime):
        return iso8601(in_zone(value, None, path))
    if isinstance(value, date):
        return iso8601(value)
    _refuse(path, "is neither a text nor one value that can be written as one")


def _to_int(value: object, path: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        number = int(value)
    elif isinstance(value, str):
        if _WHOLE.fullmatch(value) is None:
            _refuse(path, "is not a whole number")
        number = int(value) if len(value) < _MOST_DIGITS else _INT64
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        number = int(value) if abs(value) <= _INT64 else _INT64
    else:
        _refuse(path, "is not a whole number")
    if -_INT64 <= number < _INT64:
        return number
    _refuse(path, "does not fit into 64 bits")


def _is_finite(value: float | Decimal) -> bool:
    # Of a signalling NaN, `math` says nothing but raises.
    return value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)


def _to_real(value: object, path: str) -> float:
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        _refuse(path, "is not a finite number")
    if isinstance(value, str):
        if _NUMBER.fullmatch(value) is None:
            _refuse(path, "is not a number")
        if len(value) <= _SAFE_DIGITS and "e" not in value and "E" not in value:
            return float(value)
        if len(value) > _MOST_DIGITS:
            _refuse(path, "has more digits than a 64-bit real")
    elif isinstance(value, bool) or not isinstance(value, int | Decimal):
        _refuse(path, "is not a number")
    return _nearest(Decimal(value), path)


def _nearest(number: Decimal, path: str) -> float:
    """Return the real that is written as *number*, or refuse if none is."""
    if not number.is_finite():
        _refuse(path, "is not a finite number")
    real = float(number)
    if math.isinf(real):
        _refuse(path, "is beyond any 64-bit real")
    if Decimal(repr(real)) != number and Decimal(real) != number:
        _refuse(path, "has more digits than a 64-bit real")
    return real


def _to_bool(value: Any, path: str) -> bool:  # noqa: ANN401  # Of a row.
    if type(value) is bool:
        return value
    if type(value) is str:
        truth = _TRUTH.get(value.lower())
        if truth is not None:
            return truth
    elif type(value) is int and value in {0, 1}:
        return value == 1
    _refuse(path, "is none of true, false, yes, no, 1, 0")


def _to_date(value: Any, path: str, zone: tzinfo | None) -> date:  # noqa: ANN401  # Of a row.
    if isinstance(value, datetime):
        return in_zone(value, zone, path)
    if isinstance(value, date):
        return value
    found = _MOMENT.fullmatch(value) if type(value) is str else None
    if found is None:
        _refuse(path, "is not a date as ISO 8601 writes it")
    if (found["finer"] or "").strip("0"):
        _refuse(path, "is finer than a microsecond")
    try:
        if len(value) == _DATE_LENGTH:
            return date.fromisoformat(value)
        return in_zone(datetime.fromisoformat(value), zone, path)
    except ValueError:
        raise InvalidTraitsError(path, "is a date that no calendar has") from None  # The cause may quote it.


def _to_moment(value: object, path: str, microseconds: int) -> datetime:
    """Return the moment so many units of so many *microseconds* after the beginning of 1970 in UTC."""
    number = _number(value)
    if number is None:
        _refuse(path, "is not a number of seconds" if microseconds == _SECOND else "is not a number of milliseconds")
    exact = number * microseconds
    if exact.denominator != 1:
        _refuse(path, "is finer than a microsecond")
    try:
        return _EPOCH + timedelta(microseconds=exact.numerator)
    except OverflowError:
        raise InvalidTraitsError(path, "is outside the years 1 to 9999") from None


def _number(value: object) -> int | Fraction | None:
    """Return *value* as the number that it is written as, or None if it is none that a moment could have."""
    if type(value) is int:
        return value
    if isinstance(value, str) and len(value) < _MOST_DIGITS and _DECIMAL.fullmatch(value):
        return Fraction(value)
    if isinstance(value, float) and math.isfinite(value):
        return Fraction(repr(value))
    if isinstance(value, Decimal) and value.is_finite() and abs(int(value.as_tuple().exponent)) < _MOST_DIGITS:
        return Fraction(value)
    return None


def _to_json(value: object, path: str) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value.encode())
    except InvalidTraitsError as error:
        raise InvalidTraitsError(path, f"has a name twice in one object: {error.path}") from None
    except (ValueError, RecursionError):
        raise InvalidTraitsError(path, "is not JSON") from None  # The cause quotes it.


def _to_list(value: object, path: str, cast: CastFunction) -> list[Any]:
    items = _to_json(value, path)
    if not _is_list(items):
        _refuse(path, "is not a list")
    return [cast(item, f"{path}[{index}]") for index, item in enumerate(items)]


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return type(value) is list


_SECOND: Final = 1_000_000
_CASTS: Final[Mapping[str, CastFunction]] = {
    "any": _as_it_is,
    "str": _to_str,
    "int": _to_int,
    "real": _to_real,
    "bool": _to_bool,
    "epoch": partial(_to_moment, microseconds=_SECOND),
    "epoch-ms": partial(_to_moment, microseconds=_SECOND // 1000),
    "json": _to_json,
}
