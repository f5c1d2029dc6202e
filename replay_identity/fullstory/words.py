"""A user in Fullstory's words: typed properties, and a schema for what JSON cannot tell.

Fullstory infers every JSON number to be a real, so integers are declared; dates are strings, so they are declared
too (https://developer.fullstory.com/server/custom-properties, read 2026-11-21).
"""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import attrs

from ..fitting import Fitting
from ..model import UserTraits
from ..values import REMOVE
from .limits import LARGEST_INT, LIMITS, MOST_PROPERTIES, SAFE_LENGTH, SMALLEST_INT
from .names import MEMORABLE, is_legal, is_legal_remembered, legal_name
from .types import fits, type_to_declare
from .values import WORDING, fits_as_json

# Types that JSON has, that Fullstory infers, and that no limit concerns.
_AS_THEY_ARE: Final = frozenset({bool, float})


def word_user(user: UserTraits, fitting: Fitting) -> dict[str, Any]:
    """Return the JSON object that upserts *user*, and record in *fitting* what had to give."""
    body: dict[str, Any] = {}
    if user.user_id is not None:
        fitting.require("user_id", user.user_id, LIMITS.user_id)
        body["uid"] = user.user_id
    if user.name is not None:
        body["display_name"] = fitting.shorten("name", user.name, LIMITS.name)
    if user.email is not None:
        email = fitting.keep("email", user.email, LIMITS.email)
        if email is not None:
            body["email"] = email
    if user.traits:
        _word_traits(user, fitting, body)
    return body


def _word_traits(user: UserTraits, fitting: Fitting, body: dict[str, Any]) -> None:
    properties = Properties(fitting, user.types, {})
    worded = properties.word(user.traits, "traits.", "")
    if properties.count > MOST_PROPERTIES.maximum and not fitting.adapt:
        fitting.exceed("traits", MOST_PROPERTIES, properties.count)
    if worded:
        body["properties"] = worded
    if properties.schema:
        body["schema"] = {"properties": properties.schema}


@attrs.define
class Properties:
    """The properties of one user while they are being worded.

    Attributes:
        fitting: Where adjustments and violations go.
        declared: The types the caller declared, by dotted path as given.
        schema: The types to declare to Fullstory, by dotted path as sent.
        count: Values met so far, nested ones one by one.
    """

    fitting: Fitting
    declared: Mapping[str, str]
    schema: dict[str, str]
    count: int = 0

    def word(self, traits: Mapping[str, Any], given: str, sent: str) -> dict[str, Any]:
        """Return *traits* as properties; *given* and *sent* begin the dotted names, before and after."""
        self.count += len(traits)
        if self.count > MOST_PROPERTIES.maximum and self.fitting.adapt:
            traits = self._without_surplus(traits, given)
        worded: dict[str, Any] = {}
        room = MEMORABLE - len(given)
        for given_name, value in traits.items():
            is_usual = len(given_name) <= room and is_legal_remembered(given_name) and given_name not in worded
            # Most traits are short texts and plain numbers under legal names, and ask for nothing more.
            if is_usual and not self.declared:
                kind = type(value)  # pyright: ignore[reportUnknownVariableType]  # As `is_nested` says.
                if kind in _AS_THEY_ARE or (kind is str and len(value) <= SAFE_LENGTH):
                    worded[given_name] = value
                    continue
                if kind is int and SMALLEST_INT <= value <= LARGEST_INT:
                    worded[given_name] = value
                    self.schema[sent + given_name] = "int"
                    continue
            path = given + given_name
            name = given_name if is_usual else self._legal_name(given_name, path, sent)
            if name is None:
                continue
            if name in worded:
                self.fitting.refuse(path, "name-collision")
                continue
            word = self._value(value, path, sent + name)
            if word is not None:
                worded[name] = word
        return worded

    def _without_surplus(self, traits: Mapping[str, Any], given: str) -> dict[str, Any]:
        """Return as many of *traits* as there is room for; the others are dropped."""
        room = max(0, len(traits) - (self.count - MOST_PROPERTIES.maximum))
        for name in islice(traits, room, None):
            self.fitting.drop(given + name, MOST_PROPERTIES.rule)
        self.count = MOST_PROPERTIES.maximum
        return dict(islice(traits.items(), room))

    def _legal_name(self, name: str, path: str, sent: str) -> str | None:
        """Return the legal name to send for *name*, or None if there is none."""
        if not is_legal(name):
            if not self.fitting.adapt:
                self.fitting.refuse(path, "property-name")
                return None
            name = legal_name(name)
            self.fitting.adjust(path, "renamed", "property-name", sent + name)
        return None if self.fitting.keep(path, sent + name, LIMITS.trait_name) is None else name

    def _value(self, value: Any, path: str, dotted: str) -> Any:  # noqa: ANN401  # A trait value becomes JSON.
        """Return *value* as JSON has it, or None if it is not sent."""
        if type(value) is dict:
            return self._object(value, path, dotted)  # pyright: ignore[reportUnknownArgumentType]  # Traits, as is_nested says.
        declared = self.declared.get(path.removeprefix("traits.")) if self.declared else None
        if declared and value is not REMOVE and not fits(value, declared):
            self.fitting.drop(path, "declared-type")
            return None
        word = WORDING[type(value)](value, path, self.fitting)
        if word is not None and (declared := declared or type_to_declare(value)):
            self.schema[dotted] = declared
        return word

    def _object(self, value: dict[str, Any], path: str, dotted: str) -> dict[str, Any] | None:
        """Return a nested object, which as a whole is one property's value and as large as one may be."""
        self.count -= 1  # Only what is in it is counted.
        worded = self.word(value, f"{path}.", f"{dotted}.")
        if not worded:
            return None
        if not fits_as_json(worded, path, self.fitting):
            for declared in [name for name in self.schema if name.startswith(f"{dotted}.")]:
                del self.schema[declared]
            return None
        return worded
