"""Users as the world has them: every type of value, nasty names, and texts around each limit in each unit."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from replay_identity import REMOVE, UserTraits
from replay_identity.exchange import Lost, Reply
from replay_identity.model import TRAIT_TYPES

# Characters as a reader sees them, many of several code points; none of them runs into the next.
CHARACTERS = (
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
WIDTHS = ("a", "é", "日", "😀")
ZONES = (UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-11)))


def around(limit: int, width: str) -> st.SearchStrategy[str]:
    """Return texts of *width* alone, a little shorter and a little longer than *limit* in every unit."""
    units = (1, len(width.encode("utf-16-le")) // 2, len(width.encode()))
    lengths = sorted({max(1, limit // unit + step) for unit in units for step in (-1, 0, 1)})
    return st.sampled_from(lengths).map(lambda length: width * length)


def long_texts(*limits: int) -> st.SearchStrategy[str]:
    """Return texts of one code point repeated, around each of *limits*."""
    return st.one_of([around(limit, width) for limit in limits for width in WIDTHS])


def short_texts() -> st.SearchStrategy[str]:
    """Return any text without surrogates."""
    return st.text(st.characters(codec="utf-8"), max_size=20)


def numbers() -> st.SearchStrategy[Any]:
    """Return every number a trait can be."""
    return st.one_of(
        st.integers(-(10**399), 10**399),
        st.sampled_from([0, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1]),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from([0.0, -0.0, 1.0, 1e16, 1e21, 1e-7, 5e-324, 1.7976931348623157e308]),
        st.decimals(allow_nan=False, allow_infinity=False),
        st.sampled_from([Decimal("9.99"), Decimal("1.00"), Decimal("1E+3"), Decimal("1e400"), Decimal("0.1") ** 30]),
    )


def moments() -> st.SearchStrategy[datetime]:
    """Return aware moments that have a UTC."""
    earliest, latest = datetime(1, 1, 3), datetime(9999, 12, 29)  # noqa: DTZ001  # Hypothesis adds the zone.
    return st.datetimes(earliest, latest, timezones=st.sampled_from(ZONES))


def scalars() -> st.SearchStrategy[Any]:
    """Return every scalar a trait can be."""
    return st.one_of(
        short_texts(),
        st.booleans(),
        numbers(),
        moments(),
        st.dates(),
        st.uuids(),
        long_texts(1024, 8192),
    )


def lists() -> st.SearchStrategy[list[Any]]:
    """Return lists of one kind of scalar, of several, and of more than scalars."""
    same = st.one_of(
        st.lists(short_texts(), max_size=4),
        st.lists(st.booleans(), max_size=4),
        st.lists(st.integers(-(2**64), 2**64), max_size=4),
        st.lists(st.dates(), max_size=4),
        st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4),
    )
    inner = st.one_of(scalars(), st.lists(scalars(), max_size=2), st.dictionaries(names(), scalars(), max_size=2))
    return st.one_of(same, st.lists(inner, max_size=4))


def names() -> st.SearchStrategy[str]:
    """Return names of traits, legal and not, some that meet each other once mended or flattened."""
    return st.one_of(
        st.sampled_from(
            ["plan", "seats", "company", "a b", "a-b", "a_b", "a", "a.b", "b", "1st", "p_1st", "é", "", "_"]
        ),
        st.sampled_from(["name", "email", "userID", "user_id", "display_name", "uid", "properties"]),
        st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True),
        short_texts(),
        long_texts(128, 512, 1024),
    )


def trait_maps() -> st.SearchStrategy[dict[str, Any]]:
    """Return traits, nested ones among them."""
    value = st.one_of(scalars(), lists(), st.just(REMOVE), st.none(), st.just(""))
    nested = st.dictionaries(names(), st.one_of(value, st.dictionaries(names(), value, max_size=3)), max_size=3)
    return st.dictionaries(names(), st.one_of(value, nested), max_size=5)


def ids() -> st.SearchStrategy[str]:
    """Return the application's ids."""
    return st.one_of(
        st.sampled_from(["u1", "a/b", "..", ".", "google-oauth2|abc", "%2F", "é", "a b?c#d"]),
        short_texts().filter(bool),
        long_texts(256, 1024),
    )


def users(**fixed: Any) -> st.SearchStrategy[UserTraits]:
    """Return users of every kind; *fixed* replaces the strategy of a field."""
    fields: dict[str, st.SearchStrategy[Any]] = {
        "user_id": st.one_of(st.none(), ids()),
        "name": st.one_of(st.none(), short_texts(), long_texts(256, 1024)),
        "email": st.one_of(st.none(), st.just("a@example.com"), short_texts(), long_texts(128, 1024)),
        "traits": trait_maps(),
        "types": st.dictionaries(names(), st.sampled_from(sorted(TRAIT_TYPES)), max_size=2),
        "observed_at": st.one_of(st.none(), moments()),
        "vendor_ids": st.dictionaries(
            st.sampled_from(["fullstory", "other"]), st.sampled_from(["7449164135934483470", "..", "a/b"]), max_size=2
        ),
    }
    return st.builds(UserTraits, **(fields | fixed))


def safe_names() -> st.SearchStrategy[str]:
    """Return names that every vendor takes."""
    return st.from_regex(r"t[a-z0-9_]{0,20}", fullmatch=True)


def modest_users() -> st.SearchStrategy[UserTraits]:
    """Return users who are within every limit of every vendor."""
    text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=100)
    scalar = st.one_of(
        text,
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(-(10**9), 10**9).map(lambda cents: Decimal(cents) / 100),
        moments(),
        st.dates(),
        st.uuids(),
    )
    values = st.one_of(scalar, st.lists(text, max_size=3), st.dictionaries(safe_names(), scalar, max_size=2))
    return users(
        user_id=text.filter(lambda text: text not in {".", ".."}),
        name=text,
        email=text,
        traits=st.dictionaries(safe_names(), values, max_size=8),
        types=st.just(dict[str, str]()),
        vendor_ids=st.just(dict[str, str]()),
    )


def bodies() -> st.SearchStrategy[bytes]:
    """Return the bodies of answers: documented, nearly so, and garbage."""
    json_objects = st.dictionaries(
        st.sampled_from(["id", "uid", "code", "message", "error", "detail", "results", "total_records", "traits"])
        | st.sampled_from(["userID", "name", "properties", "schema", "next_page_token", "role", "orgId"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("9" * 5000),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("id"), inner, max_size=1),
            max_leaves=3,
        ),
        max_size=4,
    )
    return st.one_of(st.binary(max_size=40), json_objects.map(_json), st.just(b"<html>Log in</html>"), st.just(b""))


def _json(content: object) -> bytes:
    return json.dumps(content).encode()


def headers() -> st.SearchStrategy[dict[str, str]]:
    """Return the headers of answers that we read."""
    dates = st.sampled_from(
        [
            "Sat, 21 Nov 2026 08:00:00 GMT",
            "Sat, 21 Nov 2026 08:00:30 GMT",
            "",
            "soon",
            "Mon, 01 Jan 2024 00:00:00 +" + "9" * 20,
        ]
    )
    waits = st.one_of(dates, st.integers(-5, 10**30).map(str), st.text(max_size=8))
    return st.fixed_dictionaries({}, optional={"retry-after": waits, "date": dates})


def replies() -> st.SearchStrategy[Reply]:
    """Return every answer, and every way in which there is none."""
    answered = st.builds(
        Reply,
        st.one_of(
            st.sampled_from([200, 202, 204, 301, 302, 400, 401, 403, 404, 408, 409, 413, 425, 429, 500, 502, 503, 504]),
            st.integers(100, 999),
        ),
        headers(),
        bodies(),
        uncertain=st.booleans(),
    )
    lost = st.builds(Reply, st.just(0), lost=st.sampled_from(Lost), uncertain=st.booleans())
    return st.one_of(answered, lost)
