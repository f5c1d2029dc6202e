"""Encode one trait value as JSON, by its type and its place, within the limits of each text and each object."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from typing import Any, Final
from uuid import UUID

import attrs

from replay_identity.adapters import Adaptation, Removal

from .limits import MAX_EXACT_INT, MAX_OBJECT_DEPTH, OBJECT_KEYS, TEXT


@attrs.frozen
class _Place:
    """Where a value is within a property.

    Attributes:
        depth: How many objects it is in.
        is_item: True if it is an item of a list, or of a list within one.
        in_item: True if it is in an object that is such an item.
    """

    depth: int = 0
    is_item: bool = False
    in_item: bool = False


_PROPERTY: Final = _Place()
# The rule: a list of objects has "1 level JSON objects" and "no nesting"
# (https://github.com/mixpanel/docs/blob/ba22906, data-type.mdx, read 2026-11-30).
_NESTED: Final = "nested-in-list"


def encode_value(value: Any, path: str, adaptation: Adaptation, place: _Place = _PROPERTY) -> Any:  # noqa: ANN401  # JSON.
    """Return *value* as JSON, or None if nothing of it can be sent."""
    return _ENCODERS[type(value)](value, path, adaptation, place)


def _unchanged(value: object, _path: str, _adaptation: Adaptation, _place: _Place) -> object:
    return value


def _text(text: str, path: str, adaptation: Adaptation, _place: _Place) -> str:
    return adaptation.truncate(path, text, TEXT)


def _int(number: int, path: str, adaptation: Adaptation, _place: _Place) -> int | str | None:
    if abs(number) <= MAX_EXACT_INT:
        return number
    return _number_as_text(str(number), path, adaptation, "int-beyond-53-bits")


def _decimal(number: Decimal, path: str, adaptation: Adaptation, _place: _Place) -> float | str | None:
    """Return *number* as a float if that keeps every digit, else as text."""
    real = float(number)
    if Decimal(repr(real)) == number:
        adaptation.record(path, "coerced", "decimal-as-number")
        return real
    return _number_as_text(f"{number:f}", path, adaptation, "decimal-as-text")


def _number_as_text(digits: str, path: str, adaptation: Adaptation, rule: str) -> str | None:
    # Without its last digits it would be another number.
    if adaptation.fit_or_drop(path, digits, TEXT) is None:
        return None
    adaptation.record(path, "coerced", rule)
    return digits


def _datetime(moment: datetime, path: str, adaptation: Adaptation, _place: _Place) -> str:
    # Mixpanel's type Date is "an ISO formatted date YYYY-MM-DDTHH:MM:SS in UTC", without a zone
    # (https://docs.mixpanel.com/docs/data-structure/property-reference/data-type, read 2026-11-29).
    adaptation.record(path, "coerced", "date-as-iso8601")
    return moment.replace(tzinfo=None).isoformat()


def _date(day: date, path: str, adaptation: Adaptation, _place: _Place) -> str:
    adaptation.record(path, "coerced", "date-as-iso8601")
    return day.isoformat()


def _uuid(value: UUID, path: str, adaptation: Adaptation, _place: _Place) -> str:
    adaptation.record(path, "coerced", "uuid-as-text")
    return str(value)


def _list(values: tuple[Any, ...], path: str, adaptation: Adaptation, place: _Place) -> list[Any] | None:
    if place.in_item:
        adaptation.drop(path, _NESTED)
        return None
    adjustments, violations = len(adaptation.adjustments), len(adaptation.violations)
    item = _Place(place.depth, is_item=True)
    encoded = [encode_value(value, path, adaptation, item) for value in values]
    # The items share one path, so each adjustment and each broken rule is recorded once.
    adaptation.adjustments[adjustments:] = dict.fromkeys(adaptation.adjustments[adjustments:])
    broken = {(each.path, each.rule): each for each in reversed(adaptation.violations[violations:])}
    adaptation.violations[violations:] = reversed(broken.values())
    kept = [value for value in encoded if value is not None]
    return kept if kept or not values else None


def _object(traits: dict[str, Any], path: str, adaptation: Adaptation, place: _Place) -> dict[str, Any] | None:
    if place.in_item:
        adaptation.drop(path, _NESTED)
        return None
    if place.depth == MAX_OBJECT_DEPTH:
        adaptation.drop(path, "object-depth")
        return None
    inner = _Place(place.depth + 1, in_item=place.is_item)
    encoded = {name: encode_value(value, f"{path}.{name}", adaptation, inner) for name, value in traits.items()}
    kept = {name: value for name, value in encoded.items() if value is not None}
    return _within_keys(kept, path, adaptation) if kept or not traits else None


def _within_keys(encoded: dict[str, Any], path: str, adaptation: Adaptation) -> dict[str, Any]:
    """Return *encoded* without the last keys that exceed the limit of an object."""
    if len(encoded) <= OBJECT_KEYS.maximum:
        return encoded
    if not adaptation.adapt:
        adaptation.reject_over(path, OBJECT_KEYS, len(encoded))
        return encoded
    for name in islice(encoded, OBJECT_KEYS.maximum, None):
        adaptation.drop(f"{path}.{name}", OBJECT_KEYS.rule)
    return dict(islice(encoded.items(), OBJECT_KEYS.maximum))


def _removal(_value: Removal, path: str, adaptation: Adaptation, _place: _Place) -> None:
    # $unset takes names of properties, and $set replaces an object as a whole.
    adaptation.drop(path, "nested-removal")


_ENCODERS: Final[Mapping[type[object], Callable[[Any, str, Adaptation, _Place], Any]]] = {
    str: _text,
    bool: _unchanged,
    float: _unchanged,
    int: _int,
    Decimal: _decimal,
    datetime: _datetime,
    date: _date,
    UUID: _uuid,
    tuple: _list,
    dict: _object,
    Removal: _removal,
}
