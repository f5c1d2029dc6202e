"""Strategies for all values and names of traits.

Each value is drawn in few choices, so that a thousand users take about a second.
"""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from hypothesis import strategies as st

from .._values import REMOVE
from ..adapters.limits import Limit

# Grapheme clusters, many of several code points; no two of them join into one.
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
# One code point of each length in UTF-8; the last one takes two units in UTF-16.
WIDTHS: Final = ("a", "é", "日", "😀")
# Its length is 1 in every unit.
_FILLER: Final = "a"


def texts(*, min_size: int = 0, max_size: int = 20) -> st.SearchStrategy[str]:
    """Return a strategy for texts that can be encoded: without surrogates."""
    return st.text(_ENCODABLE, min_size=min_size, max_size=max_size)


def small_texts(*, min_size: int = 0, max_size: int = 20) -> st.SearchStrategy[str]:
    """Return a strategy for texts without control characters, which some vendors' databases cannot store."""
    return st.text(_NO_CONTROL, min_size=min_size, max_size=max_size)


_ENCODABLE: Final = st.characters(codec="utf-8")
_NO_CONTROL: Final = st.characters(codec="utf-8", exclude_categories=["Cc"])


def around(maximum: int, character: str) -> st.SearchStrategy[str]:
    """Return a strategy for repetitions of *character* slightly below, at and above *maximum* in every unit."""
    units = (1, len(character.encode("utf-16-le")) // 2, len(character.encode()))
    lengths = sorted({max(1, maximum // unit + step) for unit in units for step in (-1, 0, 1)})
    return st.sampled_from(lengths).map(lambda length: character * length)


def long_texts(*maxima: int) -> st.SearchStrategy[str]:
    """Return a strategy for texts of one repeated code point, around each of *maxima*."""
    return st.one_of([around(maximum, character) for maximum in maxima for character in WIDTHS])


@lru_cache(maxsize=512)
def text_at(limit: Limit, character: str, ending: str = "") -> str:
    """Return a text exactly at *limit* that ends in *ending*, with as many of *character* before it as fit."""
    room = limit.maximum - limit.measure(ending)
    width = limit.measure(character)
    return _FILLER * (room % width) + character * (room // width) + ending


def text_over(limit: Limit, character: str, ending: str = "") -> str:
    """Return a text that one *character* takes over *limit* by as little as possible."""
    within = text_at(limit, _FILLER, ending)
    # The limit may fall inside a character of several code points.
    return within[: len(within) - len(ending) - limit.measure(character) + 1] + character + ending


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ZONES: Final = (UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-11)))
# Microseconds from the epoch to the years 1 and 9999, less two days, so that they are valid in every time zone.
_MIN_MICROSECONDS: Final = -62_135_424_000_000_000
_MAX_MICROSECONDS: Final = 253_402_041_600_000_000
# Names that collide once they are adapted or flattened, and names that vendors reserve.
_TRICKY_NAMES: Final = (
    *("plan", "seats", "company", "a", "b", "a b", "a-b", "a_b", "a.b", "1st", "p_1st", "é", "", "_", "A"),
    *("name", "email", "userID", "user_id", "display_name", "uid", "properties", "$name", "$email", "country"),
)


def datetimes() -> st.SearchStrategy[datetime]:
    """Return a strategy for aware datetimes, to the microsecond, in several time zones."""
    return st.builds(_datetime_in_zone, st.integers(_MIN_MICROSECONDS, _MAX_MICROSECONDS), st.sampled_from(_ZONES))


def recent_datetimes() -> st.SearchStrategy[datetime]:
    """Return a strategy for datetimes from 1970 to 2033, in UTC, to the millisecond."""
    return st.integers(0, 2_000_000_000_000).map(_datetime_from_ms)


def _datetime_from_ms(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _datetime_in_zone(microseconds: int, zone: timezone) -> datetime:
    return (_EPOCH + timedelta(microseconds=microseconds)).astimezone(zone)


def dates() -> st.SearchStrategy[date]:
    """Return a strategy for dates."""
    return st.integers(1, date.max.toordinal()).map(date.fromordinal)


def decimals() -> st.SearchStrategy[Decimal]:
    """Return a strategy for decimals: with trailing zeros, exponents, and more digits than a float has."""
    return st.builds(_decimal, st.integers(-(10**30), 10**30), st.sampled_from((-2, 0, -20, -1, 3, 300)))


def _decimal(digits: int, exponent: int) -> Decimal:
    return Decimal(digits).scaleb(exponent)


def numbers() -> st.SearchStrategy[int | float | Decimal]:
    """Return a strategy for all numbers that a trait can have."""
    return st.one_of(
        st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(_TRICKY_NUMBERS), decimals()
    )


_TRICKY_NUMBERS: Final = (
    *(0, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**15, 10**399),
    *(-0.0, 1.0, 1e16, 1e21, 1e-7, 9.99999, 5e-324, 1.7976931348623157e308),
    *(Decimal("9.99"), Decimal("1.00"), Decimal("1E+3"), Decimal("1e400"), Decimal("0.1") ** 30),
)


def scalars() -> st.SearchStrategy[Any]:
    """Return a strategy for all scalars that a trait can have, including texts around common limits."""
    return st.one_of(
        texts(),
        numbers(),
        st.booleans(),
        st.sampled_from((*CHARACTERS, *_LONG_TEXTS)),
        datetimes(),
        dates(),
        st.uuids(),
    )


_LONG_TEXTS: Final = tuple(
    width * (maximum // len(width.encode(encoding)) + step)
    for width in WIDTHS
    for maximum in (500, 1024, 8192)
    for encoding in ("utf-8", "utf-16-le")
    for step in (0, 1)
)


def lists() -> st.SearchStrategy[list[Any]]:
    """Return a strategy for lists of one type of scalar, of several types, and of nested values."""
    return st.one_of(
        st.sampled_from(_SHORT_LISTS), *(st.lists(kind, max_size=2) for kind in (texts(), numbers(), scalars()))
    )


_SHORT_LISTS: Final[tuple[list[Any], ...]] = (
    *([], [True, False], [date(2026, 11, 21)], ["", ""]),
    *([[]], [["a"], {"a": 1}], [{"a": [1]}]),
)


def trait_maps(*, max_size: int = 4) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for traits, some of them nested."""
    names, values = trait_names(), trait_values()
    return st.dictionaries(names, st.one_of(values, single_trait(names, values)), max_size=max_size)


def single_trait(names: st.SearchStrategy[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for mappings with one item, in fewer choices than `dictionaries` needs."""
    return st.tuples(names, values).map(_as_mapping)


def _as_mapping(trait: tuple[str, Any]) -> dict[str, Any]:
    return dict([trait])


def trait_names() -> st.SearchStrategy[str]:
    """Return a strategy for names of traits: valid, invalid, tricky, and around common limits."""
    return st.one_of(colliding_names(), texts())


def colliding_names() -> st.SearchStrategy[str]:
    """Return a strategy for names from a small set, so that they collide."""
    return st.sampled_from((*_SAFE_NAMES, *_TRICKY_NAMES, *_LONG_NAMES))


_LONG_NAMES: Final = tuple(
    width * length for width in WIDTHS for length in (127, 128, 129, 255, 256, 500, 501, 512, 513, 1024, 1025)
)


def safe_names() -> st.SearchStrategy[str]:
    """Return a strategy for names that every vendor accepts."""
    return st.sampled_from(_SAFE_NAMES)


_SAFE_NAMES: Final = (
    "t",
    "plan",
    "seats",
    "t1",
    "t_2",
    "Camel",
    "UPPER",
    "sign_up_date",
    "a_name_of_28_characters_long",
)


def trait_values() -> st.SearchStrategy[Any]:
    """Return a strategy for all values except mappings: scalars, lists, empty strings, None and `REMOVE`."""
    return st.one_of(scalars(), lists(), st.sampled_from([REMOVE, None, ""]))


def small_values() -> st.SearchStrategy[Any]:
    """Return a strategy for values well within the limits of all vendors, of every type except `REMOVE`."""
    text = small_texts(min_size=1, max_size=40)
    return st.one_of(
        text,
        st.booleans(),
        st.integers(-(10**14), 10**14),
        st.integers(-(10**9), 10**9).map(_quarters),
        st.builds(_decimal, st.integers(-(10**9), 10**9), st.just(-2)),
        recent_datetimes(),
        dates(),
        st.uuids(),
        st.tuples(text, text).map(list),
    )


def _quarters(count: int) -> float:
    return count / 4  # Exact as a float.
