"""One value as OpenPanel's JSON has it, by its type."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from replay_identity.adapters import Adaptation, iso8601

from .limits import LARGEST_INT, RESERVED_EVERYWHERE


def json_of(value: Any, path: str, adaptation: Adaptation) -> Any:  # noqa: ANN401  # A trait value becomes JSON.
    """Return *value*, at *path*, as it is sent, and record in *adaptation* what changes its type."""
    return _WORDING[type(value)](value, path, adaptation)


def _same(value: object, _path: str, _fitting: Adaptation) -> object:
    return value


def _int(value: int, path: str, adaptation: Adaptation) -> int | str:
    if -LARGEST_INT <= value <= LARGEST_INT:
        return value
    adaptation.record(path, "coerced", "large-int-as-text")
    return str(value)


def _decimal(value: Decimal, path: str, adaptation: Adaptation) -> str:
    # Always, so that a trait does not change its type from one value to the next.
    adaptation.record(path, "coerced", "decimal-as-text")
    return f"{value:f}"


def _date(value: date, path: str, adaptation: Adaptation) -> str:
    adaptation.record(path, "coerced", "date-as-iso8601")
    return iso8601(value)


def _uuid(value: UUID, path: str, adaptation: Adaptation) -> str:
    adaptation.record(path, "coerced", "uuid-as-text")
    return str(value)


def _list(values: tuple[Any, ...], path: str, adaptation: Adaptation) -> list[Any]:
    """Return a list, which takes the place of the one before, so that all that is in it arrives, blanks too."""
    before = len(adaptation.adjustments)
    words = [json_of(value, path, adaptation) for value in values]
    # What is said of one item need not be said of the next.
    adaptation.adjustments[before:] = dict.fromkeys(adaptation.adjustments[before:])
    return words


def _object_in_list(values: Mapping[str, Any], path: str, adaptation: Adaptation) -> dict[str, Any]:
    words: dict[str, Any] = {}
    for name, value in values.items():
        if name == RESERVED_EVERYWHERE:
            adaptation.drop(path, "reserved-name")
        else:
            words[name] = json_of(value, path, adaptation)
    return words


_WORDING: Final[Mapping[type[object], Callable[[Any, str, Adaptation], Any]]] = {
    str: _same,
    bool: _same,
    int: _int,
    float: _same,
    Decimal: _decimal,
    datetime: _date,
    date: _date,
    UUID: _uuid,
    tuple: _list,
    dict: _object_in_list,
}
