"""Fullstory's types, and which values are of which.

The type names are ``str int real bool date`` and, for lists, their plurals
(https://developer.fullstory.com/server/custom-properties, read 2026-11-21).
"""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from ..values import is_list

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
_PLURAL_OF: Final[Mapping[type[object], str]] = {kind: f"{name}s" for kind, name in _TYPE_OF.items()}
# Beyond it, not every integer has an equal among the reals.
_LARGEST_EXACT: Final = 2**53
# What Fullstory would take for another type: every number for a real, a date for a string.
_WRONGLY_INFERRED: Final[Mapping[type[object], str]] = {int: "int", datetime: "date", date: "date"}


def type_to_declare(value: object) -> str | None:
    """Return the type to declare for *value*, or None where Fullstory infers the right one."""
    if not is_list(value):
        return _WRONGLY_INFERRED.get(type(value))
    if not value or type(value[0]) not in _WRONGLY_INFERRED:
        return None
    found = type_of_list(value)
    return None if found == "reals" else found


def type_of_list(values: tuple[Any, ...]) -> str | None:
    """Return the plural type of a list of scalars, or None if they are of several types or no scalars."""
    if not values:
        return "strs"
    kinds = set(map(type, values))
    if len(kinds) == 1:
        return _PLURAL_OF.get(kinds.pop())
    plurals = set(map(_PLURAL_OF.get, kinds))
    if plurals == {"ints", "reals"}:
        return "reals"
    plural = plurals.pop()
    return None if plurals else plural


def fits(value: object, declared: str) -> bool:
    """Tell whether *value* is of the *declared* type; what does not fit breaks our policy ``declared-type``."""
    if is_list(value):
        return declared.endswith("s") and all(fits(item, declared[:-1]) for item in value)
    found = _TYPE_OF.get(type(value))
    if found == declared:
        return True
    if declared == "real":
        return type(value) is int and abs(value) <= _LARGEST_EXACT
    return declared == "date" and isinstance(value, str) and _is_iso8601(value)


def _is_iso8601(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
