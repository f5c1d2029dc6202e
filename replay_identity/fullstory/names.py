"""Names of properties: what Fullstory allows, and what we make of the others.

"Property names must be a sequence of alphanumeric characters A-Z, a-z, or 0-9 and underscores and must start with an
alphabetic character" (https://developer.fullstory.com/server/users/create-user, read 2026-11-21).
"""

import re
from collections.abc import Collection
from typing import Final

from .limits import PROPERTY_NAME_PATTERN

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
