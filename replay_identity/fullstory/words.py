"""A user in Fullstory's words: typed properties, and a schema for what JSON cannot tell.

Fullstory infers every JSON number to be a real, so integers are declared; dates are strings, so they are declared
too (https://developer.fullstory.com/server/custom-properties, read 2026-11-21).
"""

from collections.abc import Container, Mapping
from itertools import islice
from typing import Any, Final

import attrs

from ..fitting import Fitting
from ..model import UserTraits
from ..values import REMOVE, is_list
from .limits import (
    EMAIL,
    LARGEST_INT,
    MOST_PROPERTIES,
    NAME,
    PROPERTY_NAME,
    PROPERTY_VALUE,
    SMALLEST_INT,
    USER_ID,
)
from .names import MEMORABLE, are_legal, is_legal, legal_name
from .types import fits, type_to_declare
from .values import WORDING, dumps, fits_as_json

# Types that JSON has, that Fullstory infers, and that no limit concerns.
_AS_THEY_ARE: Final = frozenset({bool, float})
# Under parents whose dotted names are so long, no memorable name is too long.
_SHALLOW: Final = PROPERTY_NAME.maximum - MEMORABLE
_TEXTS: Final = frozenset({str})
# Looked up once, since it is asked for each value of each user.
_SAFE_LENGTH: Final = PROPERTY_VALUE.safe_length


def word_user(user: UserTraits, *, adapt: bool, vendor_id: str | None = None) -> tuple[bytes, Fitting]:
    """Return the JSON that upserts *user*, with Fullstory's id where one is given, and what had to give."""
    properties = Properties(Fitting(adapt), user.types, {}, measured=False)
    content = dumps(_word(user, vendor_id, properties))
    # A list or an object is no longer than the JSON it is in, so that those of most users need not be measured.
    if len(content) > PROPERTY_VALUE.maximum:
        properties = Properties(Fitting(adapt), user.types, {}, measured=True)
        content = dumps(_word(user, vendor_id, properties))
    return content, properties.fitting


def _word(user: UserTraits, vendor_id: str | None, properties: "Properties") -> dict[str, Any]:
    """Return the JSON object that upserts *user*, whose traits become the *properties*."""
    body: dict[str, Any] = {}
    fitting = properties.fitting
    if user.user_id is not None:
        fitting.require("user_id", user.user_id, USER_ID)
        body["uid"] = user.user_id
    if user.name is not None:
        body["display_name"] = fitting.shorten("name", user.name, NAME)
    if user.email is not None:
        email = fitting.keep("email", user.email, EMAIL)
        if email is not None:
            body["email"] = email
    if user.traits:
        worded = properties.word(user.traits, "traits.", "")
        if properties.count > MOST_PROPERTIES.maximum and not fitting.adapt:
            fitting.exceed("traits", MOST_PROPERTIES, properties.count)
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
        fitting: Where adjustments and violations go.
        declared: The types the caller declared, by dotted path as given.
        schema: The types to declare to Fullstory, by dotted path as sent.
        measured: Whether each list and object is measured; False where that can wait until all are worded.
        count: Values met so far, nested ones one by one.
    """

    fitting: Fitting
    declared: Mapping[str, str]
    schema: dict[str, str]
    measured: bool = attrs.field(kw_only=True)
    count: int = 0

    def word(self, traits: Mapping[str, Any], given: str, sent: str) -> dict[str, Any]:
        """Return *traits* as properties; *given* and *sent* begin the dotted names, before and after."""
        self.count += len(traits)
        if self.count > MOST_PROPERTIES.maximum and self.fitting.adapt:
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
            self.fitting.drop(given + name, MOST_PROPERTIES.rule)
        self.count = MOST_PROPERTIES.maximum
        return dict(islice(traits.items(), room))

    def _name(self, name: str, path: str, sent: str, taken: Container[str]) -> str | None:
        """Return the legal name to send for *name*, or None if there is none or it is *taken*."""
        if not is_legal(name):
            if not self.fitting.adapt:
                self.fitting.refuse(path, "property-name")
                return None
            name = legal_name(name)
            self.fitting.adjust(path, "renamed", "property-name", sent + name)
        if self.fitting.keep(path, sent + name, PROPERTY_NAME) is None:
            return None
        if name in taken:
            self.fitting.refuse(path, "name-collision")
            return None
        return name

    def _value(self, value: Any, path: str, dotted: str) -> Any:  # noqa: ANN401  # A trait value becomes JSON.
        """Return *value* as JSON has it, or None if it is not sent."""
        declared = self.declared.get(path.removeprefix("traits.")) if self.declared else None
        if declared and value is not REMOVE and not fits(value, declared):
            self.fitting.drop(path, "declared-type")
            return None
        word = WORDING[type(value)](value, path, self.fitting)
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
        return not self.measured or fits_as_json(words, path, self.fitting)
