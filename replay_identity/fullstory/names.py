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
# Rows repeat their names, but a name is the caller's input: long ones are not remembered.
_MEMORABLE: Final = 128


def is_legal(name: str) -> bool:
    """Tell whether Fullstory takes *name* as one part of a property's name."""
    return _matches_remembered(name) if len(name) <= _MEMORABLE else _matches(name)


def legal_name(name: str) -> str:
    """Return *name* with every illegal character as an underscore, and ``p_`` before it unless it starts a letter.

    Two names that become one are the caller's to see: a violation, not ours to tell apart.
    """
    legal = _ILLEGAL_CHARACTER.sub("_", name)
    return legal if _LEGAL.match(legal) else f"p_{legal}"


def _matches(name: str) -> bool:
    return _LEGAL.fullmatch(name) is not None


_matches_remembered = lru_cache(maxsize=4096)(_matches)
