"""Parse JSON without losing names or digits: with orjson where it loses nothing, else with the standard library."""

import json
import math
from collections.abc import Iterable
from typing import Any, Final

import orjson

from ._values import MAX_DEPTH, is_nested
from .errors import InvalidTraitsError, printable
from .traits import USER_ID_KEYS, own_field

# orjson silently turns an integer beyond 64 bits into a float, which is then at least as far from 0 as this.
_MAX_EXACT: Final = float(2**63)
_BACKSLASH: Final = ord("\\")
_SCALAR_TYPES: Final = frozenset({str, int, float, bool})


def parse_json(content: bytes) -> object:
    """Return the value of the JSON text *content*, without losing a name or a digit.

    Raises:
        UnicodeDecodeError: The content is not UTF-8.
        RecursionError: The content is nested too deeply.
        ValueError: The content is not JSON.
        InvalidTraitsError: An object has the same name twice.
    """
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        # The other parser accepts lone surrogates, NaN and numbers beyond any float; `UserTraits` reports their paths.
        return _parse_slowly(content)
    # Fewer strings than in the content: orjson keeps only the last of two equal names.
    return value if _count_strings((value,)) == _count_quoted(content) else _parse_slowly(content)


def parse_leniently(content: bytes) -> object:
    """Return the value of the JSON text *content*, of which a repeated name or a digit may be lost.

    Raises:
        RecursionError: The content is nested too deeply.
        ValueError: The content is not JSON in UTF-8.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return json.loads(content)


def parse_traits(content: bytes) -> dict[str, Any] | None:
    """Return the JSON object *content* in the form in which `UserTraits` stores traits, or None if it needs validation.

    Most lines of a file need none: orjson returns only valid Unicode, integers of 64 bits and finite numbers.
    """
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return value if is_nested(value) and _normalize(value, 1) == _count_quoted(content) else None


def _parse_slowly(content: bytes) -> object:
    return json.loads(content.decode(), object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for name, value in pairs:
        if name in mapping:
            raise InvalidTraitsError(printable(name), "the name occurs twice in one object")
        mapping[name] = value
    return mapping


def _count_quoted(content: bytes) -> float:
    """Return the number of strings in *content*, names included: each is between two quotes."""
    quotes = content.count(b'"')
    if _BACKSLASH in content:
        # A quote inside a string has a backslash before it, and so has a backslash.
        quotes -= content.replace(rb"\\", b"").count(rb"\"")
    return quotes / 2


def _count_strings(items: Iterable[Any]) -> float:
    """Return the number of strings in *items*, names included, or NaN if a number may have lost digits."""
    count: float = 0
    for item in items:
        kind = type(item)  # pyright: ignore[reportUnknownVariableType]
        if kind is str:
            count += 1
        elif kind is dict:
            count += len(item) + _count_strings(item.values())
        elif kind is list:
            count += _count_strings(item)
        elif kind is float and not -_MAX_EXACT < item < _MAX_EXACT:
            return math.nan
    return count


def _normalize(traits: dict[str, Any], level: int) -> float:
    """Turn *traits* in place into the form in which `UserTraits` stores them.

    Returns:
        The number of strings, as `_count_strings` does, or NaN if the traits need validation.
    """
    count: float = len(traits)
    nulls: list[str] = []
    for name, value in traits.items():
        kind = type(value)  # pyright: ignore[reportUnknownVariableType]
        if kind is str:
            count += 1
        elif kind is int or kind is bool:
            continue
        elif value is None:
            nulls.append(name)
        elif kind is dict and level < MAX_DEPTH:
            count += _normalize(value, level + 1)
        elif kind is list and level < MAX_DEPTH and _SCALAR_TYPES.issuperset(map(type, value)):
            count += _count_strings(value)
            traits[name] = tuple(value)
        elif kind is not float or not -_MAX_EXACT < value < _MAX_EXACT:
            return math.nan
    for name in nulls:
        if level == 1 and own_field(name) in USER_ID_KEYS:  # A null id must not make way for another id.
            return math.nan
        del traits[name]
    # An empty nested object is not a trait and would have to be removed from its parent.
    return count if traits or level == 1 else math.nan
