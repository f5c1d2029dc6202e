"""Numbers, moments and lists as Umami keeps them, or as texts where it would change them."""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import orjson

from replay_identity.adapters import is_list, is_nested, iso8601

# What later releases take for a date as well is among these: a fraction or a zone alone (2026-11-29, DATETIME_REGEX in
# https://github.com/umami-software/umami/blob/master/src/lib/constants.ts).
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?(Z|\+[0-9]{2}:[0-9]{2})?")
# The column is a Decimal(19, 4).
_MOST_DECIMALS: Final = 4
# JavaScript reads JSON's numbers as 64-bit floats, which keep any 15 digits, and not more.
_MOST_DIGITS: Final = 15
_MILLISECOND: Final = 1000


def looks_like_date(text: str) -> bool:
    """Tell whether Umami stores *text* as a date, or a later release may."""
    return _DATE.fullmatch(text) is not None


def is_date(text: str) -> bool:
    """Tell whether *text*, which looks like a date, is one; storing any other fails with a 500."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def is_kept_exactly(number: float | Decimal) -> bool:
    """Tell whether Umami keeps *number* to the last digit when it is sent as a number of JSON."""
    whole, _, fraction = number_text(number).lstrip("-").partition(".")
    decimals = fraction.rstrip("0")
    return len(decimals) <= _MOST_DECIMALS and len((whole + decimals).lstrip("0")) <= _MOST_DIGITS


def number_text(number: float | Decimal) -> str:
    """Return the digits of *number* as they are, without an exponent."""
    if isinstance(number, float):
        # The digits that a float is written with are the fewest that read back as the same float.
        return f"{Decimal(repr(number)):f}".removesuffix(".0")
    return f"{Decimal(number):f}"


def moment_text(moment: date) -> str:
    """Return a date as ``2026-11-21``, which stays a text, and a datetime in UTC as ``2026-11-21T08:30:00.000Z``.

    With milliseconds Umami stores it as a date. One that is finer stays a text, so that none of it is lost.
    """
    if isinstance(moment, datetime) and moment.microsecond % _MILLISECOND == 0:
        return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
    return iso8601(moment)


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
        return orjson.Fragment(number_text(value))  # To the last digit, however many there are.
    return moment_text(value) if isinstance(value, date) else str(value)
