"""A user in Fullstory's words: typed properties, and a schema for what JSON cannot tell.

Fullstory infers every JSON number to be a real, so integers are declared; dates are strings, so they are declared
too (https://developer.fullstory.com/server/custom-properties, read 2026-11-21).
"""

import math
from collections.abc import Callable, Container, Mapping
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from typing import Any, Final
from uuid import UUID

import attrs
import orjson

from .._values import REMOVE, Removal, is_list
from ..adapters.adaptation import Adaptation, cached_adjustment
from ..traits import UserTraits
from .limits import EMAIL, LARGEST_INT, MOST_PROPERTIES, NAME, PROPERTY_NAME, PROPERTY_VALUE, SMALLEST_INT, USER_ID
from .properties import MEMORABLE, are_legal, fits, is_legal, legal_name, type_of_list, type_to_declare


def dumps(content: Any) -> bytes:  # noqa: ANN401  # What the functions below make of trait values.
    """Return *content* as the JSON that is sent: dates in UTC with a Z."""
    return orjson.dumps(content, option=orjson.OPT_UTC_Z)


def fits_as_json(words: object, path: str, adaptation: Adaptation) -> bool:
    """Tell whether a list or an object is as small, as JSON, as one property's value must be, or record that not."""
    encoded = dumps(words)
    if len(encoded) <= PROPERTY_VALUE.maximum:
        return True
    return adaptation.fit_or_drop(path, encoded.decode(), PROPERTY_VALUE) is not None


def _same(value: float, _path: str, _fitting: Adaptation) -> float:
    return value


def _text(value: str, path: str, adaptation: Adaptation) -> str:
    return adaptation.truncate(path, value, PROPERTY_VALUE)


def _int(value: int, path: str, adaptation: Adaptation) -> int | None:
    if SMALLEST_INT <= value <= LARGEST_INT:
        return value
    adaptation.drop(path, "int-range")
    return None


def _real(value: Decimal, path: str, adaptation: Adaptation) -> float | None:
    """Return *value* as a 64-bit float, if that is the same number."""
    real = float(value)
    if not math.isfinite(real):
        adaptation.drop(path, "real-range")
        return None
    if Decimal(repr(real)) == value:
        adaptation.record(path, "coerced", "decimal-as-real")
    elif adaptation.adapt:
        adaptation.record(path, "truncated", "real-precision")
    else:
        adaptation.reject(path, "real-precision")
    return real


_as_iso8601: Final = cached_adjustment("coerced", "date-as-iso8601")


# orjson writes dates as ISO 8601 and UUIDs as text itself, several times faster than they do.


def _date(value: date, path: str, adaptation: Adaptation) -> date:
    adaptation.adjustments.append(_as_iso8601(path))
    return value


def _uuid(value: UUID, path: str, adaptation: Adaptation) -> UUID:
    adaptation.record(path, "coerced", "uuid-as-text")
    return value


def _list(values: tuple[Any, ...], path: str, adaptation: Adaptation) -> list[Any] | None:
    """Return a list of scalars of one type; "we don't currently support arrays of objects" (custom-properties)."""
    if type_of_list(values) is None:
        nested = any(type(value) in {dict, tuple} for value in values)
        adaptation.drop(path, "list-of-scalars" if nested else "list-of-one-type")
        return None
    # A text is as long as its list at the most, so the list's own limit covers it.
    before = len(adaptation.adjustments)
    words = [value if type(value) is str else WORDING[type(value)](value, path, adaptation) for value in values]
    if len(adaptation.adjustments) > before + 1:
        # What is said of one item need not be said of the next.
        adaptation.adjustments[before:] = dict.fromkeys(adaptation.adjustments[before:])
    return None if None in words else words


def _removal(_value: Removal, path: str, adaptation: Adaptation) -> None:
    """Send nothing: "properties cannot be deleted via the API" (github.com/fullstorydev/fs-skills, 2026-11-21)."""
    adaptation.drop(path, "cannot-remove")


# Each takes a value, its path and the books; it returns the value as JSON has it, or None if it cannot be sent.
WORDING: Final[Mapping[type[object], Callable[[Any, str, Adaptation], Any]]] = {
    str: _text,
    bool: _same,
    int: _int,
    float: _same,
    Decimal: _real,
    datetime: _date,
    date: _date,
    UUID: _uuid,
    tuple: _list,
    Removal: _removal,
}


# Types that JSON has, that Fullstory infers, and that no limit concerns.
_AS_THEY_ARE: Final = frozenset({bool, float})
# Under parents whose dotted names are so long, no memorable name is too long.
_SHALLOW: Final = PROPERTY_NAME.maximum - MEMORABLE
_TEXTS: Final = frozenset({str})
# Looked up once, since it is asked for each value of each user.
_SAFE_LENGTH: Final = PROPERTY_VALUE.safe_length


def word_user(user: UserTraits, *, adapt: bool, vendor_id: str | None = None) -> tuple[bytes, Adaptation]:
    """Return the JSON that upserts *user*, with Fullstory's id where one is given, and what had to give."""
    properties = Properties(Adaptation(adapt), user.types, {}, measured=False)
    content = dumps(_word(user, vendor_id, properties))
    # A list or an object is no longer than the JSON it is in, so that those of most users need not be measured.
    if len(content) > PROPERTY_VALUE.maximum:
        properties = Properties(Adaptation(adapt), user.types, {}, measured=True)
        content = dumps(_word(user, vendor_id, properties))
    return content, properties.adaptation


def _word(user: UserTraits, vendor_id: str | None, properties: "Properties") -> dict[str, Any]:
    """Return the JSON object that upserts *user*, whose traits become the *properties*."""
    body: dict[str, Any] = {}
    adaptation = properties.adaptation
    if user.user_id is not None:
        adaptation.check("user_id", user.user_id, USER_ID)
        body["uid"] = user.user_id
    if user.name is not None:
        body["display_name"] = adaptation.truncate("name", user.name, NAME)
    if user.email is not None:
        email = adaptation.fit_or_drop("email", user.email, EMAIL)
        if email is not None:
            body["email"] = email
    if user.traits:
        worded = properties.word(user.traits, "traits.", "")
        if properties.count > MOST_PROPERTIES.maximum and not adaptation.adapt:
            adaptation.reject_over("traits", MOST_PROPERTIES, properties.count)
        if worded:
            body["properties"] = worded
        if properties.schema:
            body["schema"] = {"properties": properties.schema}
    if vendor_id is not None:
        body["id"] = vendor_id
    return body


@attrs.define
class Properties:
    """The properties of one user while they are being worded.

    Attributes:
        adaptation: Where adjustments and violations go.
        declared: The types the caller declared, by dotted path as given.
        schema: The types to declare to Fullstory, by dotted path as sent.
        measured: Whether each list and object is measured; False where that can wait until all are worded.
        count: Values met so far, nested ones one by one.
    """

    adaptation: Adaptation
    declared: Mapping[str, str]
    schema: dict[str, str]
    measured: bool = attrs.field(kw_only=True)
    count: int = 0

    def word(self, traits: Mapping[str, Any], given: str, sent: str) -> dict[str, Any]:
        """Return *traits* as properties; *given* and *sent* begin the dotted names, before and after."""
        self.count += len(traits)
        if self.count > MOST_PROPERTIES.maximum and self.adaptation.adapt:
            traits = self._without_surplus(traits, given)
        are_sent = len(sent) <= _SHALLOW and are_legal(traits)
        worded = dict(traits) if are_sent else {}
        schema, is_plain, is_small = self.schema, not self.declared, not self.measured
        for given_name, value in traits.items():
            name = given_name
            if not are_sent:
                legal = self._name(given_name, given + given_name, sent, worded)
                if legal is None:
                    continue
                name = legal
                worded[name] = value
            kind = type(value)  # pyright: ignore[reportUnknownVariableType]  # As `is_nested` says.
            if is_plain:
                # Most traits are short texts, plain numbers and lists of texts, and ask for nothing more.
                if (
                    (kind is str and len(value) <= _SAFE_LENGTH)
                    or kind in _AS_THEY_ARE
                    or (kind is tuple and is_small and {*map(type, value)} <= _TEXTS)
                ):
                    continue
                if kind is int and SMALLEST_INT <= value <= LARGEST_INT:
                    schema[sent + name] = "int"
                    continue
            if kind is dict:
                word = self._object(value, f"{given}{given_name}.", f"{sent}{name}.")
            else:
                word = self._value(value, given + given_name, sent + name)
            if word is None:
                del worded[name]
            else:
                worded[name] = word
        return worded

    def _without_surplus(self, traits: Mapping[str, Any], given: str) -> dict[str, Any]:
        """Return as many of *traits* as there is room for; the others are dropped."""
        room = max(0, len(traits) - (self.count - MOST_PROPERTIES.maximum))
        for name in islice(traits, room, None):
            self.adaptation.drop(given + name, MOST_PROPERTIES.rule)
        self.count = MOST_PROPERTIES.maximum
        return dict(islice(traits.items(), room))

    def _name(self, name: str, path: str, sent: str, taken: Container[str]) -> str | None:
        """Return the legal name to send for *name*, or None if there is none or it is *taken*."""
        if not is_legal(name):
            if not self.adaptation.adapt:
                self.adaptation.reject(path, "property-name")
                return None
            name = legal_name(name)
            self.adaptation.record(path, "renamed", "property-name", sent + name)
        if self.adaptation.fit_or_drop(path, sent + name, PROPERTY_NAME) is None:
            return None
        if name in taken:
            self.adaptation.reject(path, "name-collision")
            return None
        return name

    def _value(self, value: Any, path: str, dotted: str) -> Any:  # noqa: ANN401  # A trait value becomes JSON.
        """Return *value* as JSON has it, or None if it is not sent."""
        declared = self.declared.get(path.removeprefix("traits.")) if self.declared else None
        if declared and value is not REMOVE and not fits(value, declared):
            self.adaptation.drop(path, "declared-type")
            return None
        word = WORDING[type(value)](value, path, self.adaptation)
        if word is None or (is_list(value) and not self._fits(word, path)):
            return None
        if declared := declared or type_to_declare(value):
            self.schema[dotted] = declared
        return word

    def _object(self, value: dict[str, Any], given: str, sent: str) -> dict[str, Any] | None:
        """Return a nested object, which as a whole is one property's value and as large as one may be.

        *given* and *sent* begin the dotted names of what is in it.
        """
        self.count -= 1  # Only what is in it is counted.
        worded = self.word(value, given, sent)
        if not worded:
            return None
        if not self._fits(worded, given[:-1]):
            for declared in [name for name in self.schema if name.startswith(sent)]:
                del self.schema[declared]
            return None
        return worded

    def _fits(self, words: object, path: str) -> bool:
        """Tell whether a list or an object is small enough, as far as is to be measured here."""
        return not self.measured or fits_as_json(words, path, self.adaptation)
