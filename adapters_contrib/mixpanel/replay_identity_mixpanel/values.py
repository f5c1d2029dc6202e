"""Encode one trait value as JSON, by its type."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from replay_identity.adapters import Adaptation, Removal

from .limits import MAX_EXACT_INT


def encode_value(value: Any, path: str, adaptation: Adaptation) -> Any:  # noqa: ANN401  # A trait's value becomes JSON.
    """Return *value* as JSON, or None if nothing of it can be sent."""
    return _ENCODERS[type(value)](value, path, adaptation)


def _unchanged(value: object, _path: str, _adaptation: Adaptation) -> object:
    return value


def _int(number: int, path: str, adaptation: Adaptation) -> int | str:
    if abs(number) <= MAX_EXACT_INT:
        return number
    adaptation.record(path, "coerced", "int-beyond-53-bits")
    return str(number)


def _decimal(number: Decimal, path: str, adaptation: Adaptation) -> float | str:
    """Return *number* as a float if that keeps every digit, else as text."""
    real = float(number)
    if Decimal(repr(real)) == number:
        adaptation.record(path, "coerced", "decimal-as-number")
        return real
    adaptation.record(path, "coerced", "decimal-as-text")
    return f"{number:f}"


def _datetime(moment: datetime, path: str, adaptation: Adaptation) -> str:
    # Mixpanel's type Date is "an ISO formatted date YYYY-MM-DDTHH:MM:SS in UTC", without a zone
    # (https://docs.mixpanel.com/docs/data-structure/property-reference/data-type, read 2026-11-29).
    adaptation.record(path, "coerced", "date-as-iso8601")
    return moment.replace(tzinfo=None).isoformat()


def _date(day: date, path: str, adaptation: Adaptation) -> str:
    adaptation.record(path, "coerced", "date-as-iso8601")
    return day.isoformat()


def _uuid(value: UUID, path: str, adaptation: Adaptation) -> str:
    adaptation.record(path, "coerced", "uuid-as-text")
    return str(value)


def _list(values: tuple[Any, ...], path: str, adaptation: Adaptation) -> list[Any]:
    before = len(adaptation.adjustments)
    items = [encode_value(value, path, adaptation) for value in values]
    # The items share one path, so each adjustment is recorded once.
    adaptation.adjustments[before:] = dict.fromkeys(adaptation.adjustments[before:])
    return items


def _object(traits: dict[str, Any], path: str, adaptation: Adaptation) -> dict[str, Any] | None:
    encoded = {name: encode_value(value, f"{path}.{name}", adaptation) for name, value in traits.items()}
    return {name: value for name, value in encoded.items() if value is not None} or None


def _nested_removal(_value: Removal, path: str, adaptation: Adaptation) -> None:
    # $unset takes names of properties, and $set replaces an object as a whole.
    adaptation.drop(path, "nested-removal")


_ENCODERS: Final[Mapping[type[object], Callable[[Any, str, Adaptation], Any]]] = {
    str: _unchanged,
    bool: _unchanged,
    float: _unchanged,
    int: _int,
    Decimal: _decimal,
    datetime: _datetime,
    date: _date,
    UUID: _uuid,
    tuple: _list,
    dict: _object,
    Removal: _nested_removal,
}
