"""Convert values to text where Umami has no such type or would change them."""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import orjson

from replay_identity.adapters import is_list, is_nested, iso8601

# Includes formats that only later releases store as dates: a fraction or a zone alone (2026-11-29, DATETIME_REGEX in
# https://github.com/umami-software/umami/blob/master/src/lib/constants.ts).
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?(Z|\+[0-9]{2}:[0-9]{2})?")
# The column is a Decimal(19, 4).
_MAX_DECIMALS: Final = 4
# JavaScript parses numbers as 64-bit floats, which represent any 15 digits exactly, and not more.
_MAX_DIGITS: Final = 15
_MICROSECONDS_PER_MS: Final = 1000


def looks_like_date(text: str) -> bool:
    """Return True if Umami, or a later release, stores *text* as a date."""
    return _DATE.fullmatch(text) is not None


def is_date(text: str) -> bool:
    """Return True if *text*, which looks like a date, is a valid one; storing an invalid one fails with a 500."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def is_stored_exactly(number: float | Decimal) -> bool:
    """Return True if Umami stores every digit of *number* when it is sent as a JSON number."""
    whole, _, fraction = number_text(number).lstrip("-").partition(".")
    decimals = fraction.rstrip("0")
    return len(decimals) <= _MAX_DECIMALS and len((whole + decimals).lstrip("0")) <= _MAX_DIGITS


def number_text(number: float | Decimal) -> str:
    """Return *number* with all its digits, without an exponent."""
    if isinstance(number, float):
        # repr() has the fewest digits that parse to the same float.
        return f"{Decimal(repr(number)):f}".removesuffix(".0")
    return f"{Decimal(number):f}"


def date_text(value: date) -> str:
    """Return a date as ``2026-11-21``, which Umami stores as text, and a datetime as ``2026-11-21T08:30:00.000Z``.

    Umami stores the latter as a date. A datetime with microseconds keeps them, and is stored as text.
    """
    if isinstance(value, datetime) and value.microsecond % _MICROSECONDS_PER_MS == 0:
        return f"{value.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
    return iso8601(value)


def list_text(values: tuple[Any, ...]) -> str:
    """Return *values* as JSON."""
    return orjson.dumps(_json(values)).decode()


def _json(value: Any) -> Any:  # noqa: ANN401  # A trait's value becomes JSON.
    if isinstance(value, str | bool):
        return value
    if is_nested(value):
        return {name: _json(item) for name, item in value.items()}
    if is_list(value):
        return [_json(item) for item in value]
    if isinstance(value, int | float | Decimal):
        return orjson.Fragment(number_text(value))  # With all its digits.
    return date_text(value) if isinstance(value, date) else str(value)
