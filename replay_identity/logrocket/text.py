"""The one coercion of a value to text: what JavaScript's ``String(value)`` and ``JSON.stringify`` would write.

LogRocket keeps every trait as a string, and its own SDK writes them this way: ``true``, ``43``, ``9.99``, ``1``.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson

from ..values import is_list, is_nested

_TEXTS: Final = frozenset({str})


def number_text(number: float) -> str:
    """Return *number* as JavaScript writes it: ``9.99``, ``1``, ``0.00001``, ``1e+21``, ``1e-7``."""
    text = repr(number)
    if "e" not in text:
        return text.removesuffix(".0") if number else "0"  # JavaScript writes -0 as 0.
    if 1e-6 <= abs(number) < 1e21:  # noqa: PLR2004  # ECMAScript, Number::toString.
        return f"{Decimal(text):f}"
    return _LEADING_ZEROS.sub(r"\1", text)


def _decimal_text(number: Decimal) -> str:
    """Return the digits as they are, never with an exponent; 400 of them at the most, as the model sees to."""
    return f"{number:f}"


def _datetime_text(moment: datetime) -> str:
    """Return *moment*, which is in UTC, as ISO 8601, which orjson writes several times faster than datetime."""
    return orjson.dumps(moment, option=orjson.OPT_UTC_Z).decode()[1:-1]


def _list_text(values: tuple[Any, ...]) -> str:
    words = values if _TEXTS.issuperset(map(type, values)) else [_json(value) for value in values]
    return orjson.dumps(words).decode()


def _json(value: Any) -> Any:  # noqa: ANN401  # A trait value becomes JSON.
    """Return *value* as orjson can write it, numbers by the same coercion."""
    if isinstance(value, str | bool):
        return value
    if is_nested(value):
        return {name: _json(item) for name, item in value.items()}
    if is_list(value):
        return [_json(item) for item in value]
    text = TEXT_OF[type(value)](value)
    return orjson.Fragment(text) if isinstance(value, int | float | Decimal) else text


# The text LogRocket is sent for a value of each type.
TEXT_OF: Final[Mapping[type, Callable[[Any], str]]] = {
    str: str,
    bool: {True: "true", False: "false"}.__getitem__,
    int: str,
    float: number_text,
    Decimal: _decimal_text,
    datetime: _datetime_text,
    date: date.isoformat,
    UUID: str,
    tuple: _list_text,
}
_LEADING_ZEROS: Final = re.compile(r"(e[+-])0+")
