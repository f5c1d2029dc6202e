"""A user in LogRocket's words: flat traits, every one a string, name and e-mail beside them."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import attrs
import orjson

from .._values import REMOVE, is_list, is_nested
from ..adapters.adaptation import Adaptation
from ..errors import printable
from ..outcomes import Adjustment
from ..traits import UserTraits
from .limits import ADVISED_NAME, EMAIL, NAME, TRAIT_NAME, TRAIT_VALUE

_TEXTS: Final = frozenset({str})


def number_text(number: float) -> str:
    """Return *number* as JavaScript writes it: ``9.99``, ``1``, ``0.00001``, ``1e+21``, ``1e-7``."""
    text = repr(number)
    if "e" not in text:
        return text.removesuffix(".0") if number else "0"  # JavaScript writes -0 as 0.
    if 1e-6 <= abs(number) < 1e21:  # noqa: PLR2004  # ECMAScript, Number::toString.
        return f"{Decimal(text):f}"
    return _LEADING_ZEROS.sub(r"\1", text)


def _decimal_text(number: Decimal) -> str:
    """Return the digits as they are, never with an exponent; 400 of them at the most, as the model sees to."""
    return f"{number:f}"


def _datetime_text(moment: datetime) -> str:
    """Return *moment*, which is in UTC, as ISO 8601, which orjson writes several times faster than datetime."""
    return orjson.dumps(moment, option=orjson.OPT_UTC_Z).decode()[1:-1]


def _list_text(values: tuple[Any, ...]) -> str:
    words = values if _TEXTS.issuperset(map(type, values)) else [_json(value) for value in values]
    return orjson.dumps(words).decode()


def _json(value: Any) -> Any:  # noqa: ANN401  # A trait value becomes JSON.
    """Return *value* as orjson can write it, numbers by the same coercion."""
    if isinstance(value, str | bool):
        return value
    if is_nested(value):
        return {name: _json(item) for name, item in value.items()}
    if is_list(value):
        return [_json(item) for item in value]
    text = TEXT_OF[type(value)](value)
    return orjson.Fragment(text) if isinstance(value, int | float | Decimal) else text


# The text LogRocket is sent for a value of each type.
TEXT_OF: Final[Mapping[type, Callable[[Any], str]]] = {
    str: str,
    bool: {True: "true", False: "false"}.__getitem__,
    int: str,
    float: number_text,
    Decimal: _decimal_text,
    datetime: _datetime_text,
    date: date.isoformat,
    UUID: str,
    tuple: _list_text,
}
_LEADING_ZEROS: Final = re.compile(r"(e[+-])0+")


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# LogRocket's own field for the id; its SDK lets a trait of this name through, to stand beside the real one.
_RESERVED: Final = "userID"
# LogRocket has a place of its own for name and e-mail; its SDK, too, lifts these out of the traits.
_SPECIAL: Final = frozenset({"name", "email", _RESERVED, ""})
# Looked up once, since they are asked for each trait of each user.
_SHORT: Final = ADVISED_NAME.safe_length
_SAFE_LENGTH: Final = TRAIT_VALUE.safe_length


def word_user(user: UserTraits, adaptation: Adaptation) -> dict[str, Any]:
    """Return the JSON object that merges *user*, and record in *adaptation* what had to give."""
    body: dict[str, Any] = {}
    for name, value in (("name", user.name), ("email", user.email)):
        if value is not None and (text := _own_field(name, value, name, adaptation)) is not None:
            body[name] = text
    if user.observed_at is not None:
        # Whole milliseconds, computed without floats.
        body["timestamp"] = (user.observed_at - _EPOCH) // timedelta(milliseconds=1)
    if user.traits:
        traits = Traits(adaptation, body, {})
        traits.word(user.traits, "")
        if traits.worded:
            body["traits"] = traits.worded
    return body


@lru_cache(maxsize=1024)
def _coerced(name: str) -> Adjustment:
    """Return the adjustment of nearly every trait, made once per name: a row repeats those of the row before."""
    return Adjustment(printable(f"traits.{name}"), "coerced", "strings-only")


@lru_cache(maxsize=1024)
def _flattened(name: str) -> Adjustment:
    return Adjustment(printable(f"traits.{name}"), "flattened", "flat-traits", printable(name))


def _own_field(name: str, value: str, path: str, adaptation: Adaptation) -> str | None:
    """Return *value* as LogRocket's own field ``name`` or ``email``, or None if it cannot be sent."""
    if not value:
        # Sent as it is, since what LogRocket makes of it is not documented: only traits are removed by a blank.
        adaptation.record(path, "warned", "blank-name-or-email")
    if name == "name":
        return adaptation.truncate(path, value, NAME)
    return adaptation.fit_or_drop(path, value, EMAIL)  # Half an address is another address.


@attrs.define
class Traits:
    """The traits of one user while they are being worded.

    Attributes:
        adaptation: Where adjustments and violations go.
        body: The JSON object of the user, into which ``name`` and ``email`` are lifted.
        worded: Texts by dotted name.
    """

    adaptation: Adaptation
    body: dict[str, Any] = attrs.field(repr=False)
    worded: dict[str, str] = attrs.field(repr=False)

    def word(self, traits: Mapping[str, Any], parents: str) -> None:
        """Word *traits*, whose dotted names begin with *parents*."""
        worded, adjust = self.worded, self.adaptation.adjustments.append
        for own_name, value in traits.items():
            name = parents + own_name
            # Spelled out, since a call for each value of each user shows.
            kind = type(value)  # pyright: ignore[reportUnknownVariableType]  # As `is_nested` says.
            if kind is dict:
                self.word(value, f"{name}.")
                continue
            if name in _SPECIAL:
                self._special(name, value)
                continue
            if (len(name) > _SHORT or name in worded) and not self._takes(name):
                continue
            if parents:
                adjust(_flattened(name))
            if kind is str:
                worded[name] = value if 0 < len(value) <= _SAFE_LENGTH else self._text(name, value)
            elif value is REMOVE:
                worded[name] = ""
            else:
                text = TEXT_OF[kind](value)
                if len(text) <= _SAFE_LENGTH or self._fits(name, text):
                    adjust(_coerced(name))
                    worded[name] = text

    def _takes(self, name: str) -> bool:
        """Tell whether *name*, long or met before, can be a trait's name, and warn where LogRocket may drop it."""
        if name in self.worded:
            self.adaptation.reject(f"traits.{name}", "name-collision")
            return False
        if self.adaptation.fit_or_drop(f"traits.{name}", name, TRAIT_NAME) is None:
            return False
        if not ADVISED_NAME.allows(name):
            self.adaptation.record(f"traits.{name}", "warned", ADVISED_NAME.rule)
        return True

    def _text(self, name: str, value: str) -> str:
        if not value:
            # "To remove a trait, the trait should be … set to a blank value" (user-identification-api).
            self.adaptation.record(f"traits.{name}", "removed", "blank-removes")
        return self.adaptation.truncate(f"traits.{name}", value, TRAIT_VALUE)

    def _fits(self, name: str, text: str) -> bool:
        """Tell whether *text* can be sent; half a number, date or list is another value, so it is whole or not sent."""
        return self.adaptation.fit_or_drop(f"traits.{name}", text, TRAIT_VALUE) is not None

    def _special(self, name: str, value: Any) -> None:  # noqa: ANN401  # As above.
        """Lift ``name`` and ``email`` out of the traits, and drop what must not stand among them."""
        path = f"traits.{name}"
        if name == _RESERVED:
            self.adaptation.drop(path, "reserved-name")
        elif not name:
            self.adaptation.drop(path, "empty-name")  # What LogRocket makes of it is not documented.
        elif not isinstance(value, str):
            # How to clear these is not documented, and LogRocket's SDK drops them when they are no strings.
            self.adaptation.drop(path, "name-and-email-are-strings")
        else:
            self._lift(name, value, path)

    def _lift(self, name: str, value: str, path: str) -> None:
        """Send a trait as LogRocket's own field of that *name*, unless that one says something else."""
        text = _own_field(name, value, path, self.adaptation)
        if self.body.get(name, text) != text:
            self.adaptation.reject(path, "name-collision")
        elif text is not None:
            self.adaptation.record(path, "lifted", "name-and-email", name)
            self.body[name] = text
