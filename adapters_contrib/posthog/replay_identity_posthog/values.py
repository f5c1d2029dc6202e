"""Encode one trait value as JSON that JavaScript and PostgreSQL store unchanged."""

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from replay_identity.adapters import Adaptation, Removal, iso8601

# PostHog parses JSON with JavaScript, whose numbers are 64-bit floats, and stores it in PostgreSQL, where it clamps
# larger numbers (github.com/PostHog/posthog, personhog_common::properties, read 2026-11-21).
_MAX_INT: Final = 2**53 - 1
_MAX_FLOAT: Final = 1e307


def broken_name_rule(name: str) -> str | None:
    """Return the rule that *name* breaks at any depth, or None."""
    if name == "__proto__":
        # A JavaScript object loses the value with this name (nodejs/src/ingestion/common/persons/person-update.ts in
        # github.com/PostHog/posthog, read 2026-11-21).
        return "reserved-name"
    # PostgreSQL cannot store NUL, so PostHog would silently replace it with U+FFFD.
    return "nul-character" if "\0" in name else None


def encode_value(value: object, path: str, adaptation: Adaptation) -> Any:  # noqa: ANN401  # JSON.
    """Return *value* as JSON, or None if it cannot be sent."""
    return _ENCODERS[type(value)](value, path, adaptation)


def _text(value: str, path: str, adaptation: Adaptation) -> str | None:
    if "\0" in value:
        adaptation.drop(path, "nul-character")
        return None
    return value


def _bool(value: bool, _path: str, _adaptation: Adaptation) -> bool:  # noqa: FBT001  # The value is the subject.
    return value


def _int(value: int, path: str, adaptation: Adaptation) -> int | str:
    if abs(value) <= _MAX_INT:
        return value
    adaptation.record(path, "coerced", "inexact-number-as-text")
    return str(value)


def _float(value: float, path: str, adaptation: Adaptation) -> float | str:
    if abs(value) <= _MAX_FLOAT:
        return value
    adaptation.record(path, "coerced", "inexact-number-as-text")
    return repr(value)


def _decimal(value: Decimal, path: str, adaptation: Adaptation) -> float | str:
    """Return *value* as a number if a 64-bit float has the same digits, else as text."""
    number = float(value)
    if math.isfinite(number) and abs(number) <= _MAX_FLOAT and Decimal(repr(number)) == value:
        adaptation.record(path, "coerced", "decimal-as-number")
        return number
    adaptation.record(path, "coerced", "inexact-number-as-text")
    return f"{value:f}"


def _date(value: date, path: str, adaptation: Adaptation) -> str:
    adaptation.record(path, "coerced", "date-as-iso8601")
    return iso8601(value)


def _uuid(value: UUID, path: str, adaptation: Adaptation) -> str:
    adaptation.record(path, "coerced", "uuid-as-text")
    return str(value)


def _list(values: tuple[Any, ...], path: str, adaptation: Adaptation) -> list[Any] | None:
    items = [encode_value(value, path, adaptation) for value in values]
    # A list without the item that cannot be sent would be another list.
    return None if None in items else items


def _object(values: dict[str, Any], path: str, adaptation: Adaptation) -> dict[str, Any] | None:
    """Return the part of an object that can be sent; None if nothing can, unless it was empty in a list."""
    encoded: dict[str, Any] = {}
    for name, value in values.items():
        if (rule := broken_name_rule(name)) is not None:
            adaptation.drop(f"{path}.{name}", rule)
        elif (item := encode_value(value, f"{path}.{name}", adaptation)) is not None:
            encoded[name] = item
    return encoded if encoded or not values else None


def _removal(_value: Removal, path: str, adaptation: Adaptation) -> None:
    # $unset takes names of whole properties.
    adaptation.drop(path, "cannot-remove-nested")


_ENCODERS: Final[Mapping[type[object], Callable[[Any, str, Adaptation], Any]]] = {
    str: _text,
    bool: _bool,
    int: _int,
    float: _float,
    Decimal: _decimal,
    datetime: _date,
    date: _date,
    UUID: _uuid,
    tuple: _list,
    dict: _object,
    Removal: _removal,
}
