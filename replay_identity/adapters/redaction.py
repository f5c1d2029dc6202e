"""Redact vendors' messages: vendors quote what they reject, so everything we sent is removed."""

import html
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import Any, Final
from urllib.parse import quote, quote_plus

import orjson

from .._values import REMOVE, is_list, is_nested, iso8601
from ..traits import UserTraits

REDACTED: Final = "•••"
MAX_MESSAGE: Final = 500
# The rest of a longer message is ignored.
_MAX_READ: Final = 10_000
# A vendor that quotes a long value often truncates it, so its first characters are enough for a match.
_PREFIX_LENGTH: Final = 12
# Shorter values are redacted as whole words only: a trait "a" does not match every letter a.
_MIN_SUBSTRING_LENGTH: Final = 4
_MAX_FLOAT_INT: Final = 10**300
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Some vendors' servers are written in Go, which also escapes these in JSON.
_GO_ESCAPES: Final = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&"})


def redact(message: str, user: UserTraits | None, *secrets: str) -> str:
    """Return a vendor's *message* without any value of *user* and without *secrets*, at most 500 characters long."""
    shown = _on_one_line(message[:_MAX_READ])
    folded = _fold_case(shown)
    hidden = bytearray(len(shown))
    for text in {*secrets, *_texts(user)}:
        for form in _forms(text[:_MAX_READ]):
            for start, end in _find_all(folded, _fold_case(form)):
                hidden[start:end] = b"\1" * (end - start)
    runs = groupby(zip(shown, hidden, strict=True), key=itemgetter(1))
    redacted = "".join(REDACTED if is_hidden else "".join(char for char, _ in run) for is_hidden, run in runs).strip()
    return redacted if len(redacted) <= MAX_MESSAGE else f"{redacted[: MAX_MESSAGE - 1]}…"


def _texts(user: UserTraits | None) -> Iterator[str]:
    """Yield every value of *user* as text."""
    if user is None:
        return
    own = (user.user_id, user.name, user.email, user.observed_at, *user.vendor_ids.values())
    for value in _scalars((*own, user.traits)):
        yield str(value)
        if isinstance(value, bool):
            yield str(value).lower()
        elif isinstance(value, date):
            yield iso8601(value)
        elif isinstance(value, float | Decimal):
            yield from _number_texts(value)
        elif isinstance(value, int) and abs(value) < _MAX_FLOAT_INT:
            yield from _number_texts(float(value))  # A vendor may read every number as a float.
    if user.observed_at is not None:
        yield str((user.observed_at - _EPOCH) // timedelta(milliseconds=1))


def _number_texts(number: float | Decimal) -> Iterator[str]:
    """Yield the ways to write *number*: in full, with an exponent as in JavaScript and in Go, as a 64-bit float."""
    for text in (str(number), str(float(number))):
        if text.endswith("inf"):  # Too large for a float.
            continue
        yield text
        full = f"{Decimal(text):f}"
        yield full
        yield full.removesuffix(".0")
        exponent = re.sub("e([+-])0*", r"e\1", text)
        yield exponent
        yield exponent.replace("e+", "e")
        mantissa, _, power = f"{Decimal(text).normalize():e}".partition("e")
        yield f"{mantissa}e{int(power):+d}"
        yield f"{mantissa}e{int(power):+03d}"  # In Go.


def _scalars(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if is_nested(value):
            yield from _scalars(value.values())
        elif is_list(value):
            yield from _scalars(value)
        elif value is not None and value is not REMOVE:
            yield value


def _forms(text: str) -> set[str]:
    """Return *text* as a response may quote it: plain, in JSON, in a URL, in HTML."""
    in_json = orjson.dumps(text).decode()[1:-1]
    forms = {text, in_json, in_json.translate(_GO_ESCAPES), json.dumps(text)[1:-1], html.escape(text)}
    in_url = {quote(text, safe=""), quote(text), quote_plus(text)}
    return {line for form in forms | in_url if (line := _on_one_line(form)).strip()}


def _on_one_line(text: str) -> str:
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def _fold_case(text: str) -> str:
    """Return *text* without differences in case, and with every character at its index."""
    if text.isascii():
        return text.lower()
    return "".join(low if len(low := char.casefold()) == 1 else char for char in text)


def _find_all(message: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of every occurrence in *message* of *text*, or of a prefix of a long one."""
    if len(text) < _MIN_SUBSTRING_LENGTH:
        yield from (match.span() for match in re.finditer(rf"(?<![^\W_]){re.escape(text)}(?![^\W_])", message))
        return
    prefix, end = text[:_PREFIX_LENGTH], 0
    while (start := message.find(prefix, end)) >= 0:
        end = start + _common_length(message[start:], text)
        yield start, end


def _common_length(first: str, second: str) -> int:
    """Return the length of the common prefix."""
    for index, (left, right) in enumerate(zip(first, second, strict=False)):
        if left != right:
            return index
    return min(len(first), len(second))
