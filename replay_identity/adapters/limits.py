"""A vendor's published limits, as data to print, to check and to test at the boundary."""

import unicodedata
from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from typing import Final, assert_never

import attrs


class Unit(StrEnum):
    """Unit of a limit."""

    CHARACTERS = "characters"
    UTF16_UNITS = "UTF-16 units"
    UTF8_BYTES = "UTF-8 bytes"
    TRAITS = "traits"
    USERS = "users"
    JOBS = "jobs"
    HOURS = "hours"


# The most units that one code point takes.
_MAX_UNITS_PER_CHARACTER: Final = {Unit.UTF16_UNITS: 2, Unit.UTF8_BYTES: 4}
_ZERO_WIDTH_JOINER: Final = "\u200d"


def _safe_length(limit: "Limit") -> int:
    return limit.maximum // _MAX_UNITS_PER_CHARACTER.get(limit.unit, 1)


@attrs.frozen(kw_only=True)
class Limit:
    """One published limit of a vendor, and where we read it.

    Attributes:
        maximum: The largest measure that is allowed.
        unit: What is counted.
        source: Where the vendor publishes it.
        read_on: When we read it there.
        rule: Its name in violations and adjustments.
        note: A caveat, for example that sources contradict each other or that the number is our policy.
        safe_length: Length in code points up to which any text is within the limit.
    """

    maximum: int
    unit: Unit
    source: str
    read_on: date
    rule: str
    note: str = ""
    safe_length: int = attrs.field(init=False, repr=False, default=attrs.Factory(_safe_length, takes_self=True))

    def measure(self, text: str) -> int:
        """Return the length of *text* in this limit's unit."""
        match self.unit:
            case Unit.UTF16_UNITS:
                return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
            case Unit.UTF8_BYTES:
                return len(text) if text.isascii() else len(text.encode())
            case Unit.CHARACTERS | Unit.TRAITS | Unit.USERS | Unit.JOBS | Unit.HOURS:
                return len(text)
            case _:
                assert_never(self.unit)

    def allows(self, text: str) -> bool:
        """Return True if *text* is within the limit."""
        return len(text) <= self.safe_length or self.measure(text) <= self.maximum

    def truncate(self, text: str) -> str:
        """Return the longest prefix of *text* that is allowed and splits no grapheme."""
        match self.unit:
            case Unit.UTF16_UNITS:
                kept = text.encode("utf-16-le")[: self.maximum * 2].decode("utf-16-le", "ignore")
            case Unit.UTF8_BYTES:
                kept = text.encode()[: self.maximum].decode("utf-8", "ignore")
            case Unit.CHARACTERS | Unit.TRAITS | Unit.USERS | Unit.JOBS | Unit.HOURS:
                kept = text[: self.maximum]
            case _:
                assert_never(self.unit)
        return _whole_characters(text, len(kept))


@attrs.frozen
class _LimitFields:
    """Base of classes whose fields are limits; iterates over those that are set."""

    def __iter__(self) -> Iterator[tuple[str, Limit]]:
        """Yield the field name and the limit for each limit that the vendor has."""
        for field in attrs.fields(type(self)):
            limit = getattr(self, field.name)
            if isinstance(limit, Limit):
                yield field.name, limit


@attrs.frozen(kw_only=True)
class Limits(_LimitFields):
    """A vendor's published limits on one user; None where it publishes nothing.

    Attributes:
        user: Size of one user's payload, as JSON.
        user_id: Length of your own id of the user.
        name: Length of the name.
        email: Length of the e-mail address.
        trait_name: Length of a trait's dotted name.
        trait_value: Length of a trait's value as sent.
        trait_count: Number of traits of one user.
        trait_name_advised: Length of a trait's name above which the vendor may mishandle it.
        unique_traits: Number of different traits that all users of one account may have together.
        trait_name_pattern: Regular expression that each part of a trait's dotted name must match in full.
    """

    user: Limit | None = None
    user_id: Limit | None = None
    name: Limit | None = None
    email: Limit | None = None
    trait_name: Limit | None = None
    trait_value: Limit | None = None
    trait_count: Limit | None = None
    trait_name_advised: Limit | None = None
    unique_traits: Limit | None = None
    trait_name_pattern: str | None = None


@attrs.frozen(kw_only=True)
class BatchLimits(_LimitFields):
    """A vendor's published limits on batches.

    Attributes:
        users: Users in one batch.
        running_jobs: Jobs that run at the same time; further ones are queued.
        open_jobs: Jobs that run or are queued; further ones are rejected.
        open_users: Users in all jobs that run or are queued; more are rejected.
        key_lifetime: How long the vendor remembers an idempotency key; later, the same batch creates another job.
    """

    users: Limit
    running_jobs: Limit
    open_jobs: Limit
    open_users: Limit
    key_lifetime: Limit


def _whole_characters(text: str, length: int) -> str:
    """Return text[:length], shortened so that it splits no character made of several code points."""
    end = length
    while 0 < end < len(text) and _splits(text, end):
        end -= 1
    # A text that is one long character has no boundary to cut at.
    return text[: end or length]


def _splits(text: str, end: int) -> bool:
    """Return True if a cut before text[end] splits a character."""
    before, after = text[end - 1], text[end]
    if _is_flag_letter(before) and _is_flag_letter(after):
        # A flag is two letters, so an odd number of them before the cut splits one.
        start = end
        while start and _is_flag_letter(text[start - 1]):
            start -= 1
        return (end - start) % 2 == 1
    return _continues(after) or before == _ZERO_WIDTH_JOINER or before + after == "\r\n"


def _is_flag_letter(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _continues(char: str) -> bool:
    """Return True if *char* extends the character before it: a mark, joiner, variation, skin tone or tag."""
    return (
        unicodedata.category(char) in {"Mn", "Me", "Mc"}
        or char == _ZERO_WIDTH_JOINER
        or "\U0001f3fb" <= char <= "\U0001f3ff"
        or "\U000e0020" <= char <= "\U000e007f"
        or "\u1160" <= char <= "\u11ff"  # The later letters of a Hangul syllable.
    )
