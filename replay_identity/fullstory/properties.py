"""Fullstory's types, and which values are of which.

The type names are ``str int real bool date`` and, for lists, their plurals
(https://developer.fullstory.com/server/custom-properties, read 2026-11-21).
"""

import re
from collections.abc import Collection, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from .._values import is_list
from .limits import PROPERTY_NAME_PATTERN

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


_LEGAL: Final = re.compile(PROPERTY_NAME_PATTERN)
_ILLEGAL_CHARACTER: Final = re.compile("[^A-Za-z0-9_]")


# So long may a name be to be remembered, being the caller's input; it is far below Fullstory's limit.
MEMORABLE: Final = 128
_MOST_REMEMBERED: Final = 4096
_remembered: Final[set[str]] = set()  # Legal names, of rows before.


def is_legal(name: str) -> bool:
    """Tell whether Fullstory takes *name* as one part of a property's name."""
    return name in _remembered or _LEGAL.fullmatch(name) is not None


def are_legal(names: Collection[str]) -> bool:
    """Tell whether all *names* are legal and none is longer than `MEMORABLE`; of very many names, say no."""
    # Rows repeat their names, and asking for all of a row at once takes a fraction of asking for one after another.
    if _remembered.issuperset(names):
        return True
    if len(names) > _MOST_REMEMBERED:
        return False
    if len(_remembered) > _MOST_REMEMBERED:
        _remembered.clear()
    _remembered.update(
        [name for name in names if name not in _remembered and len(name) <= MEMORABLE and is_legal(name)]
    )
    return _remembered.issuperset(names)


def legal_name(name: str) -> str:
    """Return *name* with every illegal character as an underscore, and ``p_`` before it unless it starts a letter.

    Two names that become one are the caller's to see: a violation, not ours to tell apart.
    """
    legal = _ILLEGAL_CHARACTER.sub("_", name)
    return legal if _LEGAL.match(legal) else f"p_{legal}"
