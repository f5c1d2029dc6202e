"""Exact type conversions: a cast returns the same value in another type, or raises.

Every cast takes a value and the path that an error names.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, tzinfo
from decimal import Decimal
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias, TypeGuard
from uuid import UUID

from .._json import parse_json
from .._paths import MISSING
from .._values import is_nested, iso8601
from ..errors import InvalidTraitsError
from ..traits import TraitType, id_text
from .cleaning import text_hint
from .date_casts import DateFormat, to_date, to_date_by_format, to_datetime, to_excel_date, with_timezone
from .number_format import NumberFormat, number_hint

CastFunction: TypeAlias = Callable[[Any, str], Any]

# Numbers as JSON writes them: no plus sign, no leading zeros, no spaces.
_INTEGER: Final = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:\.0+)?")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,5})?")
_TRUE: Final = ("true", "t", "yes", "y", "on", "1")
_FALSE: Final = ("false", "f", "no", "n", "off", "0")
BOOLEANS: Final[Mapping[str, bool]] = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}
# An item of a PostgreSQL array, in quotes or without them, and what follows it.
_ARRAY_ITEM: Final = re.compile(
    r"""\s*
        (?: "(?P<quoted>(?:[^"\\]|\\.)*+)" | (?P<plain>(?:[^\s"{},\\]|\\.)(?:[^"{},\\]|\\.)*+) )
        \s* (?P<comma>,|$)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)

# Ids that say that they are a visitor's, and those that Mixpanel and PostHog made in browsers until 2023.
_VISITOR_ID: Final = re.compile(
    r"\$device:.*|(?:anon|anonymous|guest|visitor)(?:[-_:0-9].*)?|[0-9a-f]{11,}(?:-[0-9a-f]{3,}){4}",
    re.IGNORECASE | re.DOTALL,
)
# Tracking SDKs make these, but so do applications.
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)

_INT64: Final = 2**63
# A 64-bit float keeps any number of up to this many digits exactly.
_SAFE_DIGITS: Final = 15
# No 64-bit float needs more, and parsing more would be slow.
_MAX_DIGITS: Final = 400

CAST_TYPES: Final[Mapping[str, TraitType]] = {
    "str": "str",
    "int": "int",
    "real": "real",
    "bool": "bool",
    "date": "date",
    "epoch": "date",
    "epoch-s": "date",
    "epoch-ms": "date",
    "excel-date": "date",
    "strs": "strs",
    "ints": "ints",
    "reals": "reals",
    "bools": "bools",
    "dates": "dates",
}


def find_cast(
    name: str, zone: tzinfo | None, *, formats: tuple[DateFormat, ...] = (), numbers: NumberFormat | None = None
) -> CastFunction:
    """Return the cast called *name*.

    Args:
        name: The cast.
        zone: Applies to datetimes without a time zone.
        formats: Formats of dates, instead of ISO 8601.
        numbers: How numbers in strings are written, if not as in JSON.
    """
    if name in LIST_CASTS:
        return partial(_to_list, cast=find_cast(name.removesuffix("s"), zone, formats=formats, numbers=numbers))
    if name == "date":
        return partial(to_date_by_format, zone=zone, formats=formats) if formats else partial(to_date, zone=zone)
    if name == "excel-date":
        return partial(to_excel_date, zone=zone)
    cast = _CASTS[name]
    return cast if numbers is None else partial(_read_number, cast=cast, numbers=numbers)


def _reject(path: str, problem: str, hint: str = "") -> NoReturn:
    raise InvalidTraitsError(path, problem, hint)


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


def _read_number(value: object, path: str, cast: CastFunction, numbers: NumberFormat) -> int | float:
    """Return the number in *value*, which is written as *numbers* say if it is a string."""
    if isinstance(value, str):
        text, value = value, numbers.read(value)
        if value is None:
            _reject(path, "expected a number that is written as decimal, thousands and strip say", text_hint(text))
    number: int | float = cast(value, path)
    return number


def _to_int(value: object, path: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        number = int(value)
    elif isinstance(value, str):
        match = _INTEGER.fullmatch(value)
        if match is None:
            _reject(path, "expected a whole number", text_hint(value, number_hint(value)))
        number = int(match[1]) if len(match[1]) < _MAX_DIGITS else _INT64
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
            _reject(path, "expected a number", text_hint(value, number_hint(value)))
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
        boolean = BOOLEANS.get(value.lower())
        if boolean is not None:
            return boolean
    elif type(value) is int and value in {0, 1}:
        return value == 1
    _reject(path, "expected one of true, false, yes, no, on, off, t, f, y, n, 1, 0", text_hint(value))


def _to_json(value: object, path: str) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value.encode())
    except InvalidTraitsError:
        raise InvalidTraitsError(path, "has a duplicate name in one object") from None  # The name is part of the value.
    except (ValueError, RecursionError):
        raise InvalidTraitsError(path, "expected JSON", text_hint(value)) from None  # The cause quotes the value.


def _to_list(value: object, path: str, cast: CastFunction) -> list[Any]:
    items = array_items(value, path) if isinstance(value, str) and value[:1] == "{" else _to_json(value, path)
    if not _is_list(items):
        _reject(path, "expected a list")
    return [cast(item, f"{path}[{index}]") for index, item in enumerate(items)]


def array_items(text: str, path: str) -> list[str | None]:
    """Return the items of a PostgreSQL array, such as ``{a,"b c",NULL}``."""
    if not text.endswith("}"):
        _reject(path, "expected a list")
    inner = text[1:-1]
    items: list[str | None] = []
    position = 0
    while position < len(inner) and not (not items and inner.isspace()):
        match = _ARRAY_ITEM.match(inner, position)
        if match is None or (match["comma"] and match.end() == len(inner)):
            _reject(path, "expected a list, as JSON or as a PostgreSQL array without arrays inside")
        position = match.end()
        plain = match["plain"]
        is_null = plain is not None and plain.strip().upper() == "NULL"
        items.append(None if is_null else _ESCAPED.sub(r"\1", match["quoted"] if plain is None else plain.rstrip()))
    return items


def _to_user_id(value: Any, path: str) -> Any:  # noqa: ANN401  # A row's value.
    """Return an id that an application chose, or the only such id in a list, which a tracking SDK adds its own to."""
    if isinstance(value, str) and value[:1] in {"[", "{"}:
        value = _to_list(value, path, _keep)
    if is_nested(value):  # Columns such as distinct_ids.0.
        value = list(value.values())
    if not isinstance(value, list | tuple):
        if isinstance(value, str) and _VISITOR_ID.fullmatch(value):
            _reject(path, "is the id of an anonymous visitor")
        return value
    ids = {id_text(item, path) for item in value if item is not None}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    chosen = [each for each in ids if not (_VISITOR_ID.fullmatch(each) or _UUID.fullmatch(each))]
    if len(chosen) == 1:
        return chosen[0]
    problem = "has several ids that may be the user's" if chosen else "has only ids that anonymous visitors may have"
    _reject(path, f"{problem}; set user_id to another field that holds yours")


def _to_nothing(value: object, path: str) -> object:
    if value is not False:
        _reject(path, "has a value, which marks the row as deleted, or as something else than a user")
    return MISSING


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return type(value) is list


LIST_CASTS: Final = frozenset({"strs", "ints", "reals", "bools", "dates"})
_CASTS: Final[Mapping[str, CastFunction]] = {
    "any": _keep,
    "str": _to_str,
    "int": _to_int,
    "real": _to_real,
    "bool": _to_bool,
    "epoch": partial(to_datetime, cast="epoch"),
    "epoch-s": partial(to_datetime, cast="epoch-s"),
    "epoch-ms": partial(to_datetime, cast="epoch-ms"),
    "json": _to_json,
    "user-id": _to_user_id,
    "none": _to_nothing,
}
