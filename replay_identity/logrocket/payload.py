"""Encode a user as LogRocket JSON: a name, an e-mail address, and flat traits that are all strings."""

import re
from collections.abc import Callable, Container, Mapping
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

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STRINGS_ONLY: Final = frozenset({str})
# LogRocket's own field for the id. Its SDK does not drop a trait of this name, so it would appear next to the real id.
_RESERVED: Final = "userID"
# LogRocket has fields of its own for name and e-mail. Its SDK, too, lifts these out of the traits.
_OWN_FIELDS: Final = ("name", "email")
_SPECIAL: Final = frozenset({*_OWN_FIELDS, _RESERVED, ""})
# Module constants, since they are read for each trait of each user.
_SAFE_NAME_LENGTH: Final = ADVISED_NAME.safe_length
_SAFE_LENGTH: Final = TRAIT_VALUE.safe_length


def encode_user(user: UserTraits, adaptation: Adaptation) -> dict[str, Any]:
    """Return the JSON object that merges *user*, and record adjustments and violations in *adaptation*."""
    body: dict[str, Any] = {}
    for name, value in (("name", user.name), ("email", user.email)):
        if value is not None and (text := _own_field(name, value, name, adaptation)) is not None:
            body[name] = text
    if user.observed_at is not None:
        # Whole milliseconds, computed without floats.
        body["timestamp"] = (user.observed_at - _EPOCH) // timedelta(milliseconds=1)
    if user.traits:
        traits = TraitEncoder(adaptation, body, {})
        traits.encode(user.traits, "")
        if traits.encoded:
            body["traits"] = traits.encoded
    return body


def field_values(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields in *body* by LogRocket's names: ``name``, ``email`` and ``traits.`` with a dotted name."""
    traits: Mapping[str, str] = body.get("traits", {})
    fields = dict(zip(_trait_fields(tuple(traits)), traits.values(), strict=True))
    for name in _OWN_FIELDS:
        if name in body:
            fields[name] = body[name]
    return fields


# Rows repeat the names of their traits; strings that are made once are also hashed once.
@lru_cache(maxsize=256)
def _trait_fields(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple([f"traits.{name}" for name in names])


def select_fields(body: Mapping[str, Any], only: Container[str]) -> dict[str, Any]:
    """Return *body* with the fields named in *only*, and with its time; an empty object if it has none of them."""
    selected = {name: body[name] for name in _OWN_FIELDS if name in body and name in only}
    if traits := {name: text for name, text in body.get("traits", {}).items() if f"traits.{name}" in only}:
        selected["traits"] = traits
    if selected and "timestamp" in body:
        selected["timestamp"] = body["timestamp"]
    return selected


@attrs.define
class TraitEncoder:
    """Encode the traits of one user as strings.

    Attributes:
        adaptation: Collects adjustments and violations.
        body: The JSON object of the user, into which ``name`` and ``email`` are lifted.
        encoded: Strings by dotted name.
    """

    adaptation: Adaptation
    body: dict[str, Any] = attrs.field(repr=False)
    encoded: dict[str, str] = attrs.field(repr=False)

    def encode(self, traits: Mapping[str, Any], parents: str) -> None:
        """Add *traits* to `encoded`, with *parents* in front of their names."""
        encoded, adjust = self.encoded, self.adaptation.adjustments.append
        for own_name, value in traits.items():
            name = parents + own_name
            # Written out, since a function call for each value of each user is measurably slower.
            kind = type(value)  # pyright: ignore[reportUnknownVariableType]  # As `is_nested` says.
            if kind is dict:
                self.encode(value, f"{name}.")
                continue
            if name in _SPECIAL:
                self._special(name, value)
                continue
            if (len(name) > _SAFE_NAME_LENGTH or name in encoded) and not self._accepts_name(name):
                continue
            if parents:
                adjust(_flattened(name))
            if kind is str:
                encoded[name] = value if 0 < len(value) <= _SAFE_LENGTH else self._string(name, value)
            elif value is REMOVE:
                encoded[name] = ""
            else:
                text = ENCODERS[kind](value)
                if len(text) <= _SAFE_LENGTH or self._fits(name, text):
                    adjust(_coerced(name))
                    encoded[name] = text

    def _accepts_name(self, name: str) -> bool:
        """Return True if *name*, long or used before, can be sent, and warn where LogRocket may drop it."""
        if name in self.encoded:
            self.adaptation.reject(f"traits.{name}", "name-collision")
            return False
        if self.adaptation.fit_or_drop(f"traits.{name}", name, TRAIT_NAME) is None:
            return False
        if not ADVISED_NAME.allows(name):
            self.adaptation.record(f"traits.{name}", "warned", ADVISED_NAME.rule)
        return True

    def _string(self, name: str, value: str) -> str:
        if not value:
            # "To remove a trait, the trait should be … set to a blank value" (user-identification-api).
            self.adaptation.record(f"traits.{name}", "removed", "blank-removes")
        return self.adaptation.truncate(f"traits.{name}", value, TRAIT_VALUE)

    def _fits(self, name: str, text: str) -> bool:
        """Return True if *text* is short enough: half a number, date or list would be another value."""
        return self.adaptation.fit_or_drop(f"traits.{name}", text, TRAIT_VALUE) is not None

    def _special(self, name: str, value: Any) -> None:  # noqa: ANN401  # A trait value.
        """Lift ``name`` and ``email`` out of the traits, and drop names that must not be among them."""
        path = f"traits.{name}"
        if name == _RESERVED:
            self.adaptation.drop(path, "reserved-name")
        elif not name:
            self.adaptation.drop(path, "empty-name")  # LogRocket does not document what such a trait does.
        elif not isinstance(value, str):
            # How to clear these is not documented, and LogRocket's SDK drops values that are not strings.
            self.adaptation.drop(path, "name-and-email-are-strings")
        else:
            self._lift(name, value, path)

    def _lift(self, name: str, value: str, path: str) -> None:
        """Send a trait as LogRocket's own field of that *name*, unless the field has another value."""
        text = _own_field(name, value, path, self.adaptation)
        if self.body.get(name, text) != text:
            self.adaptation.reject(path, "name-collision")
        elif text is not None:
            self.adaptation.record(path, "lifted", "name-and-email", name)
            self.body[name] = text


def _own_field(name: str, value: str, path: str, adaptation: Adaptation) -> str | None:
    """Return *value* for LogRocket's own field ``name`` or ``email``, or None if it cannot be sent."""
    if not value:
        # Sent as it is: removal by a blank is documented for traits only.
        adaptation.record(path, "warned", "blank-name-or-email")
    if name == "name":
        return adaptation.truncate(path, value, NAME)
    return adaptation.fit_or_drop(path, value, EMAIL)  # Half an address is another address.


# Nearly every trait is adjusted, and rows repeat their traits, so adjustments are cached by name.


@lru_cache(maxsize=1024)
def _coerced(name: str) -> Adjustment:
    return Adjustment(printable(f"traits.{name}"), "coerced", "strings-only")


@lru_cache(maxsize=1024)
def _flattened(name: str) -> Adjustment:
    return Adjustment(printable(f"traits.{name}"), "flattened", "flat-traits", printable(name))


# Values as strings

_EXPONENT_ZEROS: Final = re.compile(r"(e[+-])0+")


def number_as_js(number: float) -> str:
    """Return *number* as JavaScript writes it: ``9.99``, ``1``, ``0.00001``, ``1e+21``, ``1e-7``."""
    text = repr(number)
    if "e" not in text:
        return text.removesuffix(".0") if number else "0"  # JavaScript writes -0 as 0.
    if 1e-6 <= abs(number) < 1e21:  # noqa: PLR2004  # ECMAScript, Number::toString.
        return f"{Decimal(text):f}"
    return _EXPONENT_ZEROS.sub(r"\1", text)


def _decimal(number: Decimal) -> str:
    """Return all digits without an exponent; `UserTraits` allows at most 400."""
    return f"{number:f}"


def _datetime(moment: datetime) -> str:
    """Return *moment*, which is in UTC, as ISO 8601; orjson is several times faster at it than datetime."""
    return orjson.dumps(moment, option=orjson.OPT_UTC_Z).decode()[1:-1]


def _list(values: tuple[Any, ...]) -> str:
    items = values if _STRINGS_ONLY.issuperset(map(type, values)) else [_json(value) for value in values]
    return orjson.dumps(items).decode()


def _json(value: Any) -> Any:  # noqa: ANN401  # A trait value becomes JSON.
    """Return *value* for orjson, with numbers written as they are outside lists."""
    if isinstance(value, str | bool):
        return value
    if is_nested(value):
        return {name: _json(item) for name, item in value.items()}
    if is_list(value):
        return [_json(item) for item in value]
    text = ENCODERS[type(value)](value)
    return orjson.Fragment(text) if isinstance(value, int | float | Decimal) else text


# By type of a trait's value.
ENCODERS: Final[Mapping[type, Callable[[Any], str]]] = {
    str: str,
    bool: {True: "true", False: "false"}.__getitem__,
    int: str,
    float: number_as_js,
    Decimal: _decimal,
    datetime: _datetime,
    date: date.isoformat,
    UUID: str,
    tuple: _list,
}
