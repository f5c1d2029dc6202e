"""JSON read by the fast parser wherever that one loses nothing, and by a slower one where it would."""

import json
import math
from collections.abc import Iterable
from typing import Any, Final

import orjson

from ..errors import InvalidTraitsError, printable

# orjson makes an integer beyond 64 bits a float without a word; none of these is nearer to 0.
_WIDE: Final = float(2**63)
# Every name of an object is a text followed by a colon; so is the like of it inside a text.
_NAME_END: Final = b'":'
_SPACE: Final = b" \t\r\n"


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
    # Fewer names than there are ends of names: perhaps one is there twice, and only the last was kept.
    name_ends = content.translate(None, _SPACE).count(_NAME_END)
    return value if _count_names((value,)) == name_ends else _parse_whole(content)


def _parse_whole(content: bytes) -> object:
    return json.loads(content.decode(), object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for name, value in pairs:
        if name in mapping:
            raise InvalidTraitsError(printable(name), "is there twice in one object")
        mapping[name] = value
    return mapping


def _count_names(items: Iterable[Any]) -> float:
    """Return how many names the objects in *items* have together, or NaN if a number may not be the one given."""
    count: float = 0
    for item in items:
        kind = type(item)  # pyright: ignore[reportUnknownVariableType]
        if kind is str or kind is int:
            continue
        if kind is dict:
            count += len(item) + _count_names(item.values())
        elif kind is list:
            count += _count_names(item)
        elif kind is float and not -_WIDE < item < _WIDE:
            return math.nan
    return count
