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


def is_legal(name: str) -> bool:
    """Tell whether Fullstory takes *name* as one part of a property's name."""
    return _LEGAL.fullmatch(name) is not None


# Rows repeat their names. A name is the caller's input, though, so ask it for short ones only.
is_legal_remembered: Final = lru_cache(maxsize=4096)(is_legal)
# So long may a dotted name be to be remembered; it is far below Fullstory's limit.
MEMORABLE: Final = 128


def legal_name(name: str) -> str:
    """Return *name* with every illegal character as an underscore, and ``p_`` before it unless it starts a letter.

    Two names that become one are the caller's to see: a violation, not ours to tell apart.
    """
    legal = _ILLEGAL_CHARACTER.sub("_", name)
    return legal if _LEGAL.match(legal) else f"p_{legal}"
