"""Redact vendors' messages: vendors quote what they reject, in any encoding, so only plain words are shown."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any, Final, cast

import attrs

from .._values import REMOVE, is_list, is_nested, iso8601
from ..traits import UserTraits
from .vocabulary import VOCABULARY

REDACTED: Final = "•••"
MAX_MESSAGE: Final = 500
# The rest of a longer message is ignored.
_MAX_READ: Final = 10_000
# Shorter words are compared with whole words of values only, or a text would hide every "to".
_MIN_SUBSTRING_LENGTH: Final = 4
# Larger numbers are longer than any number of the vocabulary.
_MAX_POWER: Final = 20
_WORD: Final = r"[A-Za-z0-9]++(?:['\u2019][A-Za-z]{1,2}(?![A-Za-z0-9]))?+"
# Words, and the punctuation around and between them.
_CHUNK: Final = re.compile(
    rf"""["'`\u201c\u2018$(\[{{<]{{0,4}}{_WORD}(?:[-_./:=,$()\[\]{{}}"]{{1,3}}{_WORD})*+["'`\u201d\u2019)\]}}>.,:;!?…]{{0,4}}"""
)
_WORDS: Final = re.compile(_WORD)
_THOUSANDS: Final = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_CODE: Final = re.compile("[A-Za-z0-9]+([-_.][A-Za-z0-9]+)*")
_NOT_DIGITS: Final = bytes(byte for byte in range(256) if byte not in b"0123456789\n")
_TO_WORDS: Final = bytes(ord(chr(byte).lower()) if chr(byte).isalnum() and byte < 128 else 32 for byte in range(256))  # noqa: PLR2004


def redact(message: str, user: UserTraits | None, *secrets: str, terms: Iterable[str] = ()) -> str:
    """Return a vendor's *message* with only its plain words, at most 500 characters long.

    A piece between white space is kept if it consists of words of vendors' errors, names of the user's traits or
    *terms*, and if no value of *user* and none of *secrets* has such a word. All others become ``•••``.

    Args:
        message: The vendor's message.
        user: The user who was sent, or None if the message can quote no user.
        secrets: Further texts that were sent, for example the key.
        terms: Further words and numbers that the vendor's errors use.
    """
    words = _Words.of(user, secrets, terms)
    shown: list[str] = []
    length = 0
    for chunk in message[:_MAX_READ].split():
        text = chunk if words.can_show(chunk) else REDACTED
        if text == REDACTED and shown[-1:] == [REDACTED]:
            continue
        shown.append(text)
        length += len(text) + 1
        if length > MAX_MESSAGE + 1:
            return f"{' '.join(shown)[: MAX_MESSAGE - 1]}…"
    return " ".join(shown)


def readable_code(code: str, user: UserTraits | None, *secrets: str, terms: Iterable[str] = ()) -> str | None:
    """Return a vendor's *code* if `redact` would keep all of it, else None."""
    is_code = len(code) <= MAX_MESSAGE and _CODE.fullmatch(code)
    return code if is_code and _Words.of(user, secrets, terms).can_show(code) else None


@attrs.frozen
class _Words:
    """The words that may be shown, and what was sent.

    Attributes:
        known: Words that may be shown unless they were sent.
        sent: All that was sent, folded, as words between spaces.
        digits: The digits of each value.
        verdicts: Whether words may be shown.
    """

    known: frozenset[str]
    sent: bytes = attrs.field(repr=False)
    digits: bytes = attrs.field(repr=False)
    verdicts: dict[str, bool] = attrs.field(factory=dict[str, bool], repr=False)

    @classmethod
    def of(cls, user: UserTraits | None, secrets: Iterable[str], terms: Iterable[str]) -> "_Words":
        names = () if user is None else _names(user.traits)
        known = VOCABULARY.union(word for name in (*terms, *names) for word in _fold(name).decode().split())
        values = b"\n".join(_ascii(text.replace("\n", " ")) for text in (*secrets, *_texts(user)))
        return cls(known, b" %b " % values.translate(_TO_WORDS), values.translate(None, _NOT_DIGITS))

    def can_show(self, chunk: str) -> bool:
        joined = _THOUSANDS.sub("", chunk)
        return _CHUNK.fullmatch(joined) is not None and all(map(self._can_show_word, _WORDS.findall(joined)))

    def _can_show_word(self, word: str) -> bool:
        folded = word.lower().replace("\u2019", "'")
        if folded not in self.verdicts:
            self.verdicts[folded] = folded in self.known and not any(map(self._was_sent, folded.split("'")))
        return self.verdicts[folded]

    def _was_sent(self, word: str) -> bool:
        if word.isdecimal():
            return word.encode() in self.digits
        return (word if len(word) >= _MIN_SUBSTRING_LENGTH else f" {word} ").encode() in self.sent


def _fold(text: str) -> bytes:
    return _ascii(text).translate(_TO_WORDS)


def _ascii(text: str) -> bytes:
    """Return *text* without accents; with other characters left out, and again with a mark for each of them."""
    if text.isascii():
        return text.encode()
    plain = unicodedata.normalize("NFKD", text)
    return b"%b %b" % (plain.encode("ascii", "ignore"), plain.encode("ascii", "replace"))


def _names(value: object) -> Iterator[str]:
    """Yield the names in nested traits."""
    if is_nested(value):
        for name, inner in cast("dict[str, object]", value).items():
            yield name
            yield from _names(inner)
    elif is_list(value):
        for item in cast("list[object]", value):
            yield from _names(item)


def _texts(user: UserTraits | None) -> Iterator[str]:
    """Yield every value of *user* as text."""
    if user is None:
        return
    own = (user.user_id, user.name, user.email, user.observed_at, *user.vendor_ids.values())
    for value in _scalars((*own, user.traits)):
        yield str(value)
        if isinstance(value, bool):
            yield str(int(value))
        elif isinstance(value, date):
            yield iso8601(value)
        elif isinstance(value, float | Decimal) and abs(number := Decimal(str(value))) < 10**_MAX_POWER:
            yield f"{number:f}"


def _scalars(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if is_nested(value):
            yield from _scalars(value.values())
        elif is_list(value):
            yield from _scalars(value)
        elif value is not None and value is not REMOVE:
            yield value
