"""The names and the types of Fullstory's properties.

The types are ``str int real bool date`` and, for lists, their plurals
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

_VALID_NAME: Final = re.compile(PROPERTY_NAME_PATTERN)
_INVALID_CHARACTER: Final = re.compile("[^A-Za-z0-9_]")
# Names come from the caller, so longer ones are not cached. This is far below Fullstory's limit.
MAX_CACHED_LEN: Final = 128
_MAX_CACHED_NAMES: Final = 4096
_valid_names: Final[set[str]] = set()

_TYPE_NAMES: Final[Mapping[type[object], str]] = {
    str: "str",
    UUID: "str",
    int: "int",
    float: "real",
    Decimal: "real",
    bool: "bool",
    datetime: "date",
    date: "date",
}
_PLURALS: Final[Mapping[type[object], str]] = {kind: f"{name}s" for kind, name in _TYPE_NAMES.items()}
# Fullstory infers every number to be a real and every date to be a string, so these are declared.
_DECLARED_TYPES: Final[Mapping[type[object], str]] = {int: "int", datetime: "date", date: "date"}
# Beyond this, not every integer equals a 64-bit float.
_MAX_EXACT_INT: Final = 2**53


def is_valid_name(name: str) -> bool:
    """Return True if Fullstory accepts *name* as one part of a property's name."""
    return name in _valid_names or _VALID_NAME.fullmatch(name) is not None


def are_valid_names(names: Collection[str]) -> bool:
    """Return True if all *names* are valid and short enough to be cached; False for very many names."""
    # Rows repeat their names, and one set operation for a whole row takes a fraction of the time of a lookup per name.
    if _valid_names.issuperset(names):
        return True
    if len(names) > _MAX_CACHED_NAMES:
        return False
    if len(_valid_names) > _MAX_CACHED_NAMES:
        _valid_names.clear()
    _valid_names.update(
        [name for name in names if name not in _valid_names and len(name) <= MAX_CACHED_LEN and is_valid_name(name)]
    )
    return _valid_names.issuperset(names)


def valid_name(name: str) -> str:
    """Return *name* with ``_`` for every invalid character, and ``p_`` in front unless it starts with a letter.

    Two names may become the same one; the caller records that as a violation.
    """
    replaced = _INVALID_CHARACTER.sub("_", name)
    return replaced if _VALID_NAME.match(replaced) else f"p_{replaced}"


def type_to_declare(value: object) -> str | None:
    """Return the type to declare for *value*, or None where Fullstory infers the right one."""
    if not is_list(value):
        return _DECLARED_TYPES.get(type(value))
    if not value or type(value[0]) not in _DECLARED_TYPES:
        return None
    list_type = type_of_list(value)
    return None if list_type == "reals" else list_type


def type_of_list(values: tuple[Any, ...]) -> str | None:
    """Return the type of a list of scalars, or None if it holds several types or anything but scalars."""
    if not values:
        return "strs"
    kinds = set(map(type, values))
    if len(kinds) == 1:
        return _PLURALS.get(kinds.pop())
    plurals = set(map(_PLURALS.get, kinds))
    if plurals == {"ints", "reals"}:
        return "reals"
    plural = plurals.pop()
    return None if plurals else plural


def has_type(value: object, declared: str) -> bool:
    """Return True if *value* has the *declared* type; otherwise it violates our policy ``declared-type``."""
    if is_list(value):
        return declared.endswith("s") and all(has_type(item, declared[:-1]) for item in value)
    if _TYPE_NAMES.get(type(value)) == declared:
        return True
    if declared == "real":
        return type(value) is int and abs(value) <= _MAX_EXACT_INT
    return declared == "date" and isinstance(value, str) and _is_iso8601(value)


def _is_iso8601(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
