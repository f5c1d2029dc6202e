"""Names of properties: what Fullstory allows, and what we make of the others.

"Property names must be a sequence of alphanumeric characters A-Z, a-z, or 0-9 and underscores and must start with an
alphabetic character" (https://developer.fullstory.com/server/users/create-user, read 2026-11-21).
"""

import re
from functools import lru_cache
from typing import Final

from .limits import LIMITS

_LEGAL: Final = re.compile(LIMITS.trait_name_pattern or "")
_ILLEGAL_CHARACTER: Final = re.compile("[^A-Za-z0-9_]")
_MEMORABLE: Final = 128


@lru_cache(maxsize=4096)
def _is_legal(name: str) -> bool:
    return _LEGAL.fullmatch(name) is not None


def is_legal(name: str) -> bool:
    """Tell whether Fullstory takes *name* as one part of a property's name."""
    # Rows repeat their names, but a name is the caller's input: long ones are not remembered.
    return _is_legal(name) if len(name) <= _MEMORABLE else _LEGAL.fullmatch(name) is not None


def legal_name(name: str) -> str:
    """Return *name* with every illegal character as an underscore, and ``p_`` before it unless it starts a letter.

    Two names that become one are the caller's to see: a violation, not ours to tell apart.
    """
    legal = _ILLEGAL_CHARACTER.sub("_", name)
    return legal if _LEGAL.match(legal) else f"p_{legal}"
