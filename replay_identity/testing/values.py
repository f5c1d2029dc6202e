"""Everything that a trait can be, each drawn in few choices, so that a thousand users take a second."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from hypothesis import strategies as st

from .._values import REMOVE
from ..adapters.limits import Limit

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


def small_texts(*, min_size: int = 0, max_size: int = 20) -> st.SearchStrategy[str]:
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


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ZONES: Final = (UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-11)))
# Microseconds from the epoch to the years 1 and 9999, less two days, so that every zone has them.
_EARLIEST: Final = -62_135_424_000_000_000
_LATEST: Final = 253_402_041_600_000_000
# Names that meet each other once they are mended or flattened, and names that vendors keep for themselves.
_TRICKY_NAMES: Final = (
    *("plan", "seats", "company", "a", "b", "a b", "a-b", "a_b", "a.b", "1st", "p_1st", "é", "", "_", "A"),
    *("name", "email", "userID", "user_id", "display_name", "uid", "properties", "$name", "$email", "country"),
)


def moments() -> st.SearchStrategy[datetime]:
    """Return aware moments, to the microsecond, in several zones."""
    return st.builds(_moment, st.integers(_EARLIEST, _LATEST), st.sampled_from(_ZONES))


def recent_datetimes() -> st.SearchStrategy[datetime]:
    """Return moments from 1970 to 2033, in UTC, to the millisecond."""
    return st.integers(0, 2_000_000_000_000).map(_moment_of_milliseconds)


def _moment_of_milliseconds(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _moment(microseconds: int, zone: timezone) -> datetime:
    return (_EPOCH + timedelta(microseconds=microseconds)).astimezone(zone)


def days() -> st.SearchStrategy[date]:
    """Return dates."""
    return st.integers(1, date.max.toordinal()).map(date.fromordinal)


def decimals() -> st.SearchStrategy[Decimal]:
    """Return decimal numbers with zeros at their end, with exponents, and with more digits than a float has."""
    return st.builds(_decimal, st.integers(-(10**30), 10**30), st.sampled_from((-2, 0, -20, -1, 3, 300)))


def _decimal(digits: int, exponent: int) -> Decimal:
    return Decimal(digits).scaleb(exponent)


def numbers() -> st.SearchStrategy[int | float | Decimal]:
    """Return every number a trait can be."""
    return st.one_of(
        st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(_TRICKY_NUMBERS), decimals()
    )


_TRICKY_NUMBERS: Final = (
    *(0, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**15, 10**399),
    *(-0.0, 1.0, 1e16, 1e21, 1e-7, 9.99999, 5e-324, 1.7976931348623157e308),
    *(Decimal("9.99"), Decimal("1.00"), Decimal("1E+3"), Decimal("1e400"), Decimal("0.1") ** 30),
)


def scalars() -> st.SearchStrategy[Any]:
    """Return every scalar that a trait can be, texts around the common limits among them."""
    return st.one_of(
        texts(),
        numbers(),
        st.booleans(),
        st.sampled_from((*CHARACTERS, *_LONG_TEXTS)),
        moments(),
        days(),
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
    """Return lists of one kind of scalar, of several, and of more than scalars."""
    return st.one_of(
        st.sampled_from(_SHORT_LISTS), *(st.lists(kind, max_size=2) for kind in (texts(), numbers(), scalars()))
    )


_SHORT_LISTS: Final[tuple[list[Any], ...]] = (
    *([], [True, False], [date(2026, 11, 21)], ["", ""]),
    *([[]], [["a"], {"a": 1}], [{"a": [1]}]),
)


def trait_maps(*, max_size: int = 4) -> st.SearchStrategy[dict[str, Any]]:
    """Return traits, some of which hold others."""
    names, values = trait_names(), trait_values()
    return st.dictionaries(names, st.one_of(values, one_trait(names, values)), max_size=max_size)


def one_trait(names: st.SearchStrategy[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return mappings of one name to one value, in fewer choices than `dictionaries` takes."""
    return st.tuples(names, values).map(_as_mapping)


def _as_mapping(trait: tuple[str, Any]) -> dict[str, Any]:
    return dict([trait])


def trait_names() -> st.SearchStrategy[str]:
    """Return names of traits: legal and not, tricky ones, and some around the common limits."""
    return st.one_of(names_in_use(), texts())


def names_in_use() -> st.SearchStrategy[str]:
    """Return names out of a few, so that they meet."""
    return st.sampled_from((*_SAFE_NAMES, *_TRICKY_NAMES, *_LONG_NAMES))


_LONG_NAMES: Final = tuple(
    width * length for width in WIDTHS for length in (127, 128, 129, 255, 256, 500, 501, 512, 513, 1024, 1025)
)


def safe_names() -> st.SearchStrategy[str]:
    """Return names that every vendor takes."""
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
    """Return everything a trait can be but for nested mappings: scalars, lists, blanks, None and `REMOVE`."""
    return st.one_of(scalars(), lists(), st.sampled_from([REMOVE, None, ""]))


def small_values() -> st.SearchStrategy[Any]:
    """Return values that are well within the limits that vendors have, of every type but `REMOVE`."""
    text = small_texts(min_size=1, max_size=40)
    return st.one_of(
        text,
        st.booleans(),
        st.integers(-(10**14), 10**14),
        st.integers(-(10**9), 10**9).map(_quarters),
        st.builds(_decimal, st.integers(-(10**9), 10**9), st.just(-2)),
        recent_datetimes(),
        days(),
        st.uuids(),
        st.tuples(text, text).map(list),
    )


def _quarters(count: int) -> float:
    return count / 4  # As a float, exactly that.
