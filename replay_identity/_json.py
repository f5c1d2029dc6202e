"""JSON read by the fast parser wherever that one loses nothing, and by a slower one where it would."""

import json
import math
from collections.abc import Iterable
from typing import Any, Final

import orjson

from ._values import MAX_DEPTH, is_nested
from .errors import InvalidTraitsError, printable

# orjson makes an integer beyond 64 bits a float without a word; none of these is nearer to 0.
_WIDE: Final = float(2**63)
_BACKSLASH: Final = ord("\\")
_SCALARS: Final = frozenset({str, int, float, bool})


def parse_json(content: bytes) -> object:
    """Return what *content* says, without losing a name or a digit.

    Raises:
        UnicodeDecodeError: It is not UTF-8.
        RecursionError: It is nested too deeply.
        ValueError: It is not JSON.
        InvalidTraitsError: One object has a name twice.
    """
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        # The other parser takes lone surrogates, NaN and numbers beyond any float, which the model then names by path.
        return _parse_whole(content)
    # Fewer texts than were given: a name is there twice, and only the last was kept.
    return value if _count_kept((value,)) == _count_given(content) else _parse_whole(content)


def parse_traits(content: bytes) -> dict[str, Any] | None:
    """Return the object that *content* is, as `UserTraits` keeps traits, or None where it takes a closer look.

    What it returns needs no more checks: the fast parser gives nothing but valid Unicode, integers of 64 bits and
    finite numbers. Most lines of a file are like that.
    """
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return value if is_nested(value) and _shape(value, 1) == _count_given(content) else None


def _parse_whole(content: bytes) -> object:
    return json.loads(content.decode(), object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for name, value in pairs:
        if name in mapping:
            raise InvalidTraitsError(printable(name), "is there twice in one object")
        mapping[name] = value
    return mapping


def _count_given(content: bytes) -> float:
    """Return how many texts are in *content*, names among them: each stands between two quotes."""
    quotes = content.count(b'"')
    if _BACKSLASH in content:
        # Inside a text, a quote has a backslash before it, and so has a backslash.
        quotes -= content.replace(rb"\\", b"").count(rb"\"")
    return quotes / 2


def _count_kept(items: Iterable[Any]) -> float:
    """Return how many texts are in *items*, names among them, or NaN if a number may not be the one given."""
    count: float = 0
    for item in items:
        kind = type(item)  # pyright: ignore[reportUnknownVariableType]
        if kind is str:
            count += 1
        elif kind is dict:
            count += len(item) + _count_kept(item.values())
        elif kind is list:
            count += _count_kept(item)
        elif kind is float and not -_WIDE < item < _WIDE:
            return math.nan
    return count


def _shape(traits: dict[str, Any], level: int) -> float:
    """Make of *traits* what `UserTraits` keeps, and count as `_count_kept` does; NaN if they take a closer look."""
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
            count += _shape(value, level + 1)
        elif kind is list and level < MAX_DEPTH and _SCALARS.issuperset(map(type, value)):
            count += _count_kept(value)
            traits[name] = tuple(value)
        elif kind is not float or not -_WIDE < value < _WIDE:
            return math.nan
    for name in nulls:
        del traits[name]
    # An object that says nothing is no trait, and would have to go from the one it is in.
    return count if traits or level == 1 else math.nan
