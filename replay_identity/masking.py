"""Vendors quote what they refuse; here whatever we sent is masked in their words."""

import re
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any, Final
from urllib.parse import quote

import orjson

from .model import REMOVE, UserTraits, is_list, is_nested, iso8601

MASK: Final = "•••"
MAX_MESSAGE: Final = 500
# A vendor that quotes a long value often cuts it; so many of its first characters give it away.
_TELLING: Final = 12
# Shorter texts are masked as whole words only: a trait "a" is not quoted by every a.
_SHORT: Final = 4


def mask(message: str, user: UserTraits | None, *secrets: str) -> str:
    """Return a vendor's *message* without anything that *user* or *secrets* hold, at most 500 characters long."""
    shown = message
    # The longest first, or a mask of a part would save the rest from being found.
    for text in sorted({*secrets, *_texts(user)}, key=len, reverse=True):
        for form in _forms(text):
            shown = _without(shown, form)
    shown = "".join(char if char.isprintable() else " " for char in shown).strip()
    return shown if len(shown) <= MAX_MESSAGE else f"{shown[: MAX_MESSAGE - 1]}…"


def _texts(user: UserTraits | None) -> Iterator[str]:
    """Yield all that *user* says about themselves, as text."""
    if user is None:
        return
    own = (user.user_id, user.name, user.email, user.observed_at, *user.vendor_ids.values())
    for value in _scalars((*own, user.traits)):
        yield str(value)
        if isinstance(value, bool):
            yield str(value).lower()
        elif isinstance(value, date):
            yield iso8601(value)
        elif isinstance(value, float) and value.is_integer():
            yield str(int(value))


def _scalars(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if is_nested(value):
            yield from _scalars(value.values())
        elif is_list(value):
            yield from _scalars(value)
        elif value is not None and value is not REMOVE:
            yield value


def _forms(text: str) -> set[str]:
    """Return *text* as it may stand in an answer: plain, as in JSON, as in a URL."""
    return {text, orjson.dumps(text).decode()[1:-1], quote(text, safe=""), quote(text)} - {""}


def _without(message: str, text: str) -> str:
    """Mask *text*, and the beginning of it if it is long, in *message*, in any case of letters."""
    if len(text) < _SHORT:
        return re.sub(rf"(?<![^\W_]){re.escape(text)}(?![^\W_])", MASK, message, flags=re.IGNORECASE)
    folded, wanted = message.lower(), text.lower()
    if len(folded) != len(message):  # A few letters change their length in lower case.
        folded, wanted = message, text
    telling = wanted[:_TELLING]
    end, parts = 0, list[str]()
    while (start := folded.find(telling, end)) >= 0:
        parts += [message[end:start], MASK]
        end = start + _common_length(folded[start:], wanted)
    return "".join([*parts, message[end:]])


def _common_length(first: str, second: str) -> int:
    """Return how many characters the two have in common at their beginning."""
    for index, (left, right) in enumerate(zip(first, second, strict=False)):
        if left != right:
            return index
    return min(len(first), len(second))
