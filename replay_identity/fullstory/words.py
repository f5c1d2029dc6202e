"""A user in Fullstory's words: typed properties, and a schema for what JSON cannot tell.

Fullstory infers every JSON number to be a real, so integers are declared; dates are strings, so they are declared
too (https://developer.fullstory.com/server/custom-properties, read 2026-11-21).
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs
import orjson

from ..fitting import Fitting
from ..model import REMOVE, UserTraits, is_list, is_nested
from .limits import LARGEST_INT, LIMITS, MOST_PROPERTIES, SMALLEST_INT
from .names import is_legal, legal_name
from .types import WORDING, fits, inferred_wrongly, one_type


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
    properties = Properties(fitting, user.types)
    worded = properties.word(user.traits, "traits.", "")
    if properties.count > MOST_PROPERTIES.maximum:
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
        count: Values worded so far.
    """

    fitting: Fitting
    declared: Mapping[str, str]
    schema: dict[str, str] = attrs.field(factory=dict[str, str])
    count: int = 0

    def word(self, traits: Mapping[str, Any], given: str, sent: str) -> dict[str, Any]:
        """Return *traits* as properties; *given* and *sent* begin the dotted names, before and after."""
        worded: dict[str, Any] = {}
        for given_name, value in traits.items():
            path = given + given_name
            name = self._name(given_name, path, sent)
            if name is None:
                continue
            if name in worded:
                self.fitting.refuse(path, "name-collision")
                continue
            if is_nested(value):
                word = self.word(value, f"{path}.", f"{sent}{name}.") or None
            else:
                word = self._value(value, path, sent + name)
            if word is not None:
                worded[name] = word
        return worded

    def _name(self, name: str, path: str, sent: str) -> str | None:
        """Return the legal name to send for *name*, or None if there is none."""
        if not is_legal(name):
            if not self.fitting.adapt:
                self.fitting.refuse(path, "property-name")
                return None
            name = legal_name(name)
            self.fitting.adjust(path, "renamed", "property-name", sent + name)
        if len(sent) + len(name) > LIMITS.trait_name.maximum:
            self.fitting.keep(path, sent + name, LIMITS.trait_name)
            return None
        return name

    def _value(self, value: Any, path: str, dotted: str) -> Any:  # noqa: ANN401  # JSON leaves here.
        """Return *value* as JSON has it, or None if it is not sent."""
        if self.count >= MOST_PROPERTIES.maximum and self.fitting.adapt:
            self.fitting.drop(path, MOST_PROPERTIES.rule)
            return None
        self.count += 1
        declared = self.declared.get(path.removeprefix("traits.")) if self.declared else None
        if declared and not fits(value, declared):
            self.fitting.drop(path, "declared-type")
            return None
        word = self._list(value, path) if is_list(value) else self._scalar(value, path)
        if word is not None and (declared := declared or inferred_wrongly(value)):
            self.schema[dotted] = declared
        return word

    def _scalar(self, value: Any, path: str) -> Any:  # noqa: ANN401  # As above.
        if type(value) is str:
            return self.fitting.shorten(path, value, LIMITS.trait_value)
        if value is REMOVE:
            # "Properties cannot be deleted via the API" (github.com/fullstorydev/fs-skills, read 2026-11-21).
            self.fitting.drop(path, "cannot-remove")
            return None
        if isinstance(value, Decimal):
            return self._real(value, path)
        if type(value) is int and not SMALLEST_INT <= value <= LARGEST_INT:
            self.fitting.drop(path, "int-range")
            return None
        wording = WORDING.get(type(value))  # pyright: ignore[reportUnknownArgumentType]
        if wording is None:
            return value
        self.fitting.adjust(path, "coerced", wording.rule)
        return wording.convert(value)

    def _real(self, value: Decimal, path: str) -> float | None:
        """Return *value* as a 64-bit float, if that is the same number."""
        real = float(value)
        if not math.isfinite(real):
            self.fitting.drop(path, "real-range")
            return None
        if Decimal(repr(real)) == value:
            self.fitting.adjust(path, "coerced", "decimal-as-real")
        elif self.fitting.adapt:
            self.fitting.adjust(path, "truncated", "real-precision")
        else:
            self.fitting.refuse(path, "real-precision")
        return real

    def _list(self, values: tuple[Any, ...], path: str) -> list[Any] | None:
        """Return a list of scalars of one type; Fullstory knows no lists of objects (custom-properties, as above)."""
        if any(is_nested(value) or is_list(value) for value in values):
            self.fitting.drop(path, "list-of-scalars")
            return None
        if not one_type(values):
            self.fitting.drop(path, "list-of-one-type")
            return None
        words = [self._scalar(value, path) for value in values]
        if any(word is None for word in words):
            return None
        if self.fitting.keep(path, orjson.dumps(words).decode(), LIMITS.trait_value) is None:
            return None
        return words
