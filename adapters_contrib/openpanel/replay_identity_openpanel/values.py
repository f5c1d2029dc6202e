"""Encode one trait value as JSON, by its type."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from replay_identity.adapters import Adaptation, iso8601

from .limits import MAX_INT, RESERVED_EVERYWHERE


def encode_value(value: Any, path: str, adaptation: Adaptation) -> Any:  # noqa: ANN401  # A trait's value becomes JSON.
    """Return *value* as JSON, and record in *adaptation* if its type changed."""
    return _ENCODERS[type(value)](value, path, adaptation)


def _unchanged(value: object, _path: str, _adaptation: Adaptation) -> object:
    return value


def _int(value: int, path: str, adaptation: Adaptation) -> int | str:
    if -MAX_INT <= value <= MAX_INT:
        return value
    adaptation.record(path, "coerced", "large-int-as-text")
    return str(value)


def _decimal(value: Decimal, path: str, adaptation: Adaptation) -> str:
    # Always as text, so that a trait does not change its type from one value to the next.
    adaptation.record(path, "coerced", "decimal-as-text")
    return f"{value:f}"


def _date(value: date, path: str, adaptation: Adaptation) -> str:
    adaptation.record(path, "coerced", "date-as-iso8601")
    return iso8601(value)


def _uuid(value: UUID, path: str, adaptation: Adaptation) -> str:
    adaptation.record(path, "coerced", "uuid-as-text")
    return str(value)


def _list(values: tuple[Any, ...], path: str, adaptation: Adaptation) -> list[Any]:
    # A list replaces the stored one, so everything in it arrives, blanks included.
    before = len(adaptation.adjustments)
    items = [encode_value(value, path, adaptation) for value in values]
    # The items share one path, so each adjustment is recorded once.
    adaptation.adjustments[before:] = dict.fromkeys(adaptation.adjustments[before:])
    return items


def _object_in_list(values: Mapping[str, Any], path: str, adaptation: Adaptation) -> dict[str, Any]:
    encoded: dict[str, Any] = {}
    for name, value in values.items():
        if name == RESERVED_EVERYWHERE:
            adaptation.drop(path, "reserved-name")
        else:
            encoded[name] = encode_value(value, path, adaptation)
    return encoded


_ENCODERS: Final[Mapping[type[object], Callable[[Any, str, Adaptation], Any]]] = {
    str: _unchanged,
    bool: _unchanged,
    int: _int,
    float: _unchanged,
    Decimal: _decimal,
    datetime: _date,
    date: _date,
    UUID: _uuid,
    tuple: _list,
    dict: _object_in_list,
}
