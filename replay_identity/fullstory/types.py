"""Fullstory's types, and which values are of which.

The type names are ``str int real bool date`` and, for lists, their plurals
(https://developer.fullstory.com/server/custom-properties, read 2026-11-21).
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import attrs

from ..model import is_list, iso8601


@attrs.frozen
class Wording:
    """How a value that JSON has no type for is written, and the rule its adjustment names."""

    convert: Callable[[Any], str]
    rule: str


WORDING: Final[Mapping[type[object], Wording]] = {
    datetime: Wording(iso8601, "date-as-iso8601"),
    date: Wording(iso8601, "date-as-iso8601"),
    UUID: Wording(str, "uuid-as-text"),
}
# What Fullstory would take for another type: every number for a real, a date for a string.
_INFERRED_WRONGLY: Final = frozenset({"int", "ints", "date", "dates"})

_TYPE_OF: Final[Mapping[type[object], str]] = {
    str: "str",
    UUID: "str",
    int: "int",
    float: "real",
    Decimal: "real",
    bool: "bool",
    datetime: "date",
    date: "date",
}


def inferred_wrongly(value: object) -> str | None:
    """Return the type to declare for *value*, or None where Fullstory infers the right one."""
    found = _TYPE_OF.get(type(value)) if not is_list(value) else _type_of_list(value)
    return found if found in _INFERRED_WRONGLY else None


def one_type(values: tuple[Any, ...]) -> bool:
    """Tell whether *values* are all of one type, as a list must be: the list types are plurals of the others."""
    return _type_of_list(values) is not None


def fits(value: object, declared: str) -> bool:
    """Tell whether *value* is of the *declared* type; what does not fit breaks our policy ``declared-type``."""
    if is_list(value):
        return declared.endswith("s") and all(fits(item, declared[:-1]) for item in value)
    found = _TYPE_OF.get(type(value))
    if found == declared:
        return True
    if declared == "real":
        return found == "int"
    return declared == "date" and isinstance(value, str) and _is_iso8601(value)


def _type_of_list(values: tuple[Any, ...]) -> str | None:
    kinds: set[type[object]] = {type(value) for value in values}
    types = {_TYPE_OF.get(kind) for kind in kinds}
    if types == {"int", "real"}:
        return "reals"
    if len(types) > 1 or None in types:
        return None
    return f"{types.pop()}s" if types else "strs"


def _is_iso8601(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
