"""One value as Mixpanel's JSON has it, by its type."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson

from replay_identity.adapters import Adaptation, Removal

from .limits import LARGEST_EXACT_INT


def dumps(content: object) -> bytes:
    """Return *content* as the JSON that is sent."""
    return orjson.dumps(content)


def word(value: Any, path: str, adaptation: Adaptation) -> Any:  # noqa: ANN401  # A trait's value becomes JSON.
    """Return *value* as JSON has it, or None if nothing of it can be sent."""
    return _WORDING[type(value)](value, path, adaptation)


def _same(value: object, _path: str, _fitting: Adaptation) -> object:
    return value


def _int(number: int, path: str, adaptation: Adaptation) -> int | str:
    if abs(number) <= LARGEST_EXACT_INT:
        return number
    adaptation.record(path, "coerced", "int-beyond-53-bits")
    return str(number)


def _decimal(number: Decimal, path: str, adaptation: Adaptation) -> float | str:
    """Return *number* as JSON's number if its digits stay the same, else as text."""
    real = float(number)
    if Decimal(repr(real)) == number:
        adaptation.record(path, "coerced", "decimal-as-number")
        return real
    adaptation.record(path, "coerced", "decimal-as-text")
    return f"{number:f}"


def _moment(moment: datetime, path: str, adaptation: Adaptation) -> str:
    """Return *moment*, which is in UTC, without a zone.

    "An ISO formatted date YYYY-MM-DDTHH:MM:SS in UTC" is what Mixpanel takes for a date
    (https://docs.mixpanel.com/docs/data-structure/property-reference/data-type, read 2026-11-29).
    """
    adaptation.record(path, "coerced", "date-as-iso8601")
    return moment.replace(tzinfo=None).isoformat()


def _day(day: date, path: str, adaptation: Adaptation) -> str:
    adaptation.record(path, "coerced", "date-as-iso8601")
    return day.isoformat()


def _uuid(value: UUID, path: str, adaptation: Adaptation) -> str:
    adaptation.record(path, "coerced", "uuid-as-text")
    return str(value)


def _list(values: tuple[Any, ...], path: str, adaptation: Adaptation) -> list[Any]:
    before = len(adaptation.adjustments)
    words = [word(value, path, adaptation) for value in values]
    # What is said of one item need not be said of the next.
    adaptation.adjustments[before:] = dict.fromkeys(adaptation.adjustments[before:])
    return words


def _object(traits: dict[str, Any], path: str, adaptation: Adaptation) -> dict[str, Any] | None:
    worded = {name: word(value, f"{path}.{name}", adaptation) for name, value in traits.items()}
    return {name: value for name, value in worded.items() if value is not None} or None


def _nested_removal(_value: Removal, path: str, adaptation: Adaptation) -> None:
    """Send nothing: `$unset` takes names of properties, and `$set` replaces an object as a whole."""
    adaptation.drop(path, "nested-removal")


_WORDING: Final[Mapping[type[object], Callable[[Any, str, Adaptation], Any]]] = {
    str: _same,
    bool: _same,
    float: _same,
    int: _int,
    Decimal: _decimal,
    datetime: _moment,
    date: _day,
    UUID: _uuid,
    tuple: _list,
    dict: _object,
    Removal: _nested_removal,
}
