"""Texts of exact lengths in each unit, made of characters that are counted differently."""

from functools import lru_cache
from typing import Final

from hypothesis import strategies as st

from ..limits import Limit

# Characters as a reader sees them, many of several code points; none of them runs into the next.
CHARACTERS: Final = (
    "a",
    "Z",
    "ß",
    "é",
    "e\u0301",
    "日",
    "𐍈",
    "😀",
    "की",
    "👍🏻",
    "👍🏿",
    "👩\u200d👩\u200d👧",
    "🇩🇪",
    "🇦🇿",
    "❤\ufe0f",
    "1\ufe0f\u20e3",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "각",
    "\u1100\u1160\u11ff",
    "\r\n",
    " ",
)
# One code point of each length in UTF-8, alone or doubled in UTF-16.
WIDTHS: Final = ("a", "é", "日", "😀")
# One unit in every unit there is.
_FILLING: Final = "a"


def texts(*, min_size: int = 0, max_size: int = 20) -> st.SearchStrategy[str]:
    """Return any text that can be sent: without surrogates."""
    return st.text(_SENDABLE, min_size=min_size, max_size=max_size)


def modest_texts(*, min_size: int = 0, max_size: int = 20) -> st.SearchStrategy[str]:
    """Return texts without control characters, which some vendors' databases cannot hold."""
    return st.text(_VISIBLE, min_size=min_size, max_size=max_size)


_SENDABLE: Final = st.characters(codec="utf-8")
_VISIBLE: Final = st.characters(codec="utf-8", exclude_categories=["Cc"])


def around(maximum: int, width: str) -> st.SearchStrategy[str]:
    """Return texts of *width* alone, a little shorter and a little longer than *maximum* in every unit."""
    units = (1, len(width.encode("utf-16-le")) // 2, len(width.encode()))
    lengths = sorted({max(1, maximum // unit + step) for unit in units for step in (-1, 0, 1)})
    return st.sampled_from(lengths).map(lambda length: width * length)


def long_texts(*maxima: int) -> st.SearchStrategy[str]:
    """Return texts of one code point repeated, around each of *maxima*."""
    return st.one_of([around(maximum, width) for maximum in maxima for width in WIDTHS])


@lru_cache(maxsize=512)
def text_at(limit: Limit, character: str, ending: str = "") -> str:
    """Return a text of exactly the limit that ends in *ending*, with as many of *character* before it as fit."""
    room = limit.maximum - limit.measure(ending)
    width = limit.measure(character)
    return _FILLING * (room % width) + character * (room // width) + ending


def text_over(limit: Limit, character: str, ending: str = "") -> str:
    """Return a text that *character* takes over the limit, by as little as it can."""
    within = text_at(limit, _FILLING, ending)
    # Of several code points, the last one that fits may be within the character.
    return within[: len(within) - len(ending) - limit.measure(character) + 1] + character + ending
