"""One value in PostHog's words: any JSON, as JavaScript and PostgreSQL will keep it."""

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from replay_identity.adapters import Adaptation, Removal, iso8601

from .names import rule_against

# PostHog reads JSON with JavaScript, whose numbers are 64-bit floats, and keeps it in PostgreSQL, where it clamps what
# is larger than this (github.com/PostHog/posthog, personhog_common::properties, read 2026-11-21).
_LARGEST_INT: Final = 2**53 - 1
_LARGEST_FLOAT: Final = 1e307


def word_value(value: object, path: str, adaptation: Adaptation) -> Any:  # noqa: ANN401  # JSON.
    """Return *value* as JSON has it, or None if it cannot be sent."""
    return _WORDING[type(value)](value, path, adaptation)


def _text(value: str, path: str, adaptation: Adaptation) -> str | None:
    if "\0" in value:
        # As in a name.
        adaptation.drop(path, "nul-character")
        return None
    return value


def _bool(value: bool, _path: str, _fitting: Adaptation) -> bool:  # noqa: FBT001  # The value is the subject.
    return value


def _int(value: int, path: str, adaptation: Adaptation) -> int | str:
    if abs(value) <= _LARGEST_INT:
        return value
    adaptation.record(path, "coerced", "inexact-number-as-text")
    return str(value)


def _float(value: float, path: str, adaptation: Adaptation) -> float | str:
    if abs(value) <= _LARGEST_FLOAT:
        return value
    adaptation.record(path, "coerced", "inexact-number-as-text")
    return repr(value)


def _decimal(value: Decimal, path: str, adaptation: Adaptation) -> float | str:
    """Return *value* as a number if a 64-bit float says the same digits, else as text."""
    number = float(value)
    if math.isfinite(number) and abs(number) <= _LARGEST_FLOAT and Decimal(repr(number)) == value:
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
    """Return the list, or None if one of it cannot be sent: a list without it would be another list."""
    words = [word_value(value, path, adaptation) for value in values]
    return None if None in words else words


def _object(values: dict[str, Any], path: str, adaptation: Adaptation) -> dict[str, Any] | None:
    """Return what can be sent of a nested object; None if nothing can, unless it was empty in a list."""
    words: dict[str, Any] = {}
    for name, value in values.items():
        if (rule := rule_against(name)) is not None:
            adaptation.drop(f"{path}.{name}", rule)
        elif (word := word_value(value, f"{path}.{name}", adaptation)) is not None:
            words[name] = word
    return words if words or not values else None


def _removal(_value: Removal, path: str, adaptation: Adaptation) -> None:
    """Send nothing: ``$unset`` names whole properties, so nothing is removed from within one."""
    adaptation.drop(path, "cannot-remove-nested")


# Each takes a value, its path and the books.
_WORDING: Final[Mapping[type[object], Callable[[Any, str, Adaptation], Any]]] = {
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
