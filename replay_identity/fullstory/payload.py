"""Encode a user as Fullstory JSON: typed properties plus a schema for types JSON cannot express.

Fullstory infers every JSON number to be a real, so integers are declared; dates are strings, so they are declared
too (https://developer.fullstory.com/server/custom-properties, read 2026-11-21).
"""

import math
from collections.abc import Callable, Container, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Any, Final
from uuid import UUID

import attrs
import orjson

from .._records import fast_frozen
from .._values import REMOVE, Removal, is_list
from ..adapters.adaptation import Adaptation, cached_adjustment
from ..traits import UserTraits
from .limits import EMAIL, MAX_INT, MIN_INT, NAME, PROPERTY_COUNT, PROPERTY_NAME, PROPERTY_VALUE, USER_ID
from .properties import (
    MAX_CACHED_LEN,
    are_valid_names,
    has_type,
    is_valid_name,
    type_of_list,
    type_to_declare,
    valid_name,
)

# JSON types that Fullstory infers correctly and that no limit concerns.
_UNLIMITED_TYPES: Final = frozenset({bool, float})
# Below parents whose dotted names are no longer than this, no cached name is too long.
_MAX_PREFIX_LEN: Final = PROPERTY_NAME.maximum - MAX_CACHED_LEN
_STRINGS_ONLY: Final = frozenset({str})
_IDS: Final = ("uid", "id")
_OWN_FIELDS: Final = ("display_name", "email")
# A module constant, since it is read for each value of each user.
_SAFE_LENGTH: Final = PROPERTY_VALUE.safe_length


def dumps(content: Any) -> bytes:  # noqa: ANN401  # What `ENCODERS` return.
    """Return *content* as JSON, with dates in UTC and ``Z`` for their zone."""
    return orjson.dumps(content, option=orjson.OPT_UTC_Z)


@fast_frozen
class Payload:
    """One user as Fullstory's JSON.

    Attributes:
        content: The JSON that upserts the user, or some of their fields.
        fields: The values of all fields by Fullstory's names: ``display_name``, ``email`` and ``properties.`` with the
            name of a top-level property; the types declared for a property are part of its value.
        adaptation: The adjustments and violations.
    """

    content: bytes = attrs.field(repr=False)
    fields: dict[str, Any] = attrs.field(repr=False)
    adaptation: Adaptation


def encode_user(
    user: UserTraits, *, adapt: bool, vendor_id: str | None = None, only: Container[str] | None = None
) -> Payload:
    """Return *user* as the JSON that upserts them.

    Args:
        user: The user.
        adapt: Whether to adapt what exceeds a limit, or to record a violation.
        vendor_id: Fullstory's id to put into the JSON, for a batch.
        only: Names of the fields to put into the JSON, or None for all.
    """
    properties = PropertyEncoder(Adaptation(adapt), user.types, {}, measured=False)
    body = _encode(user, vendor_id, properties)
    content = dumps(body)
    # No value is longer than the JSON that contains it, so values are measured only if the whole is too long.
    if len(content) > PROPERTY_VALUE.maximum:
        properties = PropertyEncoder(Adaptation(adapt), user.types, {}, measured=True)
        body = _encode(user, vendor_id, properties)
        content = dumps(body)
    if only is not None:
        content = dumps(_select_fields(body, only))
    return Payload(content, _field_values(body, properties), properties.adaptation)


def _field_values(body: Mapping[str, Any], encoder: "PropertyEncoder") -> dict[str, Any]:
    properties: Mapping[str, Any] = body.get("properties", {})
    fields = dict(zip(_property_fields(tuple(properties)), properties.values(), strict=True))
    for path, declared in encoder.typed.items():
        name = "properties." + path
        # A list of Fullstory's holds no list or object, so that a value with its type differs from any without.
        if name in fields:
            fields[name] = [fields[name], [declared]]
            continue
        name = name[: name.index(".", len("properties."))]
        if type(fields[name]) is dict:
            fields[name] = [fields[name], {}]
        fields[name][1][path] = declared
    for name in _OWN_FIELDS:
        if name in body:
            fields[name] = body[name]
    return fields


# Rows repeat the names of their properties; strings that are made once are also hashed once.
@lru_cache(maxsize=256)
def _property_fields(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple([f"properties.{name}" for name in names])


def _select_fields(body: Mapping[str, Any], only: Container[str]) -> dict[str, Any]:
    """Return *body* with its ids and with the fields named in *only*."""
    selected = {name: value for name, value in body.items() if name in _IDS or (name in _OWN_FIELDS and name in only)}
    properties = {name: value for name, value in body.get("properties", {}).items() if f"properties.{name}" in only}
    if properties:
        selected["properties"] = properties
    types: Mapping[str, str] = body["schema"]["properties"] if "schema" in body else {}
    if schema := {path: declared for path, declared in types.items() if path.partition(".")[0] in properties}:
        selected["schema"] = {"properties": schema}
    return selected


def _encode(user: UserTraits, vendor_id: str | None, properties: "PropertyEncoder") -> dict[str, Any]:
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
        encoded = properties.encode(user.traits, "traits.", "")
        if properties.count > PROPERTY_COUNT.maximum and not adaptation.adapt:
            adaptation.reject_over("traits", PROPERTY_COUNT, properties.count)
        if encoded:
            body["properties"] = encoded
        if properties.schema:
            body["schema"] = {"properties": properties.schema}
    if vendor_id is not None:
        body["id"] = vendor_id
    return body


# A named function, because dict[str, str]() takes five times as long as {}.
def _no_types() -> dict[str, str]:
    return {}


@attrs.define
class PropertyEncoder:
    """Encode the traits of one user as properties.

    Attributes:
        adaptation: Collects adjustments and violations.
        declared: Types that the caller declared, by dotted path as given.
        schema: Types to declare to Fullstory, by dotted path as sent.
        measured: Whether to measure each list and object; False if the size of the whole JSON is measured instead.
        count: Number of values so far; nested ones count one by one.
        typed: Those of *schema* that do not follow from the JSON of the values: all but those of integers.
    """

    adaptation: Adaptation
    declared: Mapping[str, str]
    schema: dict[str, str]
    measured: bool = attrs.field(kw_only=True)
    count: int = 0
    typed: dict[str, str] = attrs.field(factory=_no_types, init=False)

    def encode(self, traits: Mapping[str, Any], path_prefix: str, sent_prefix: str) -> dict[str, Any]:
        """Return *traits* as properties; their paths start with *path_prefix*, their sent names with *sent_prefix*."""
        self.count += len(traits)
        if self.count > PROPERTY_COUNT.maximum and self.adaptation.adapt:
            traits = self._without_surplus(traits, path_prefix)
        are_valid = len(sent_prefix) <= _MAX_PREFIX_LEN and are_valid_names(traits)
        encoded = dict(traits) if are_valid else {}
        schema, is_plain, is_unmeasured = self.schema, are_valid and not self.declared, not self.measured
        for trait_name, value in traits.items():
            kind = type(value)  # pyright: ignore[reportUnknownVariableType]  # As `is_nested` says.
            if is_plain:
                # Most traits are short strings, plain numbers and lists of strings, which need nothing more.
                if (
                    (kind is str and len(value) <= _SAFE_LENGTH)
                    or kind in _UNLIMITED_TYPES
                    or (kind is tuple and is_unmeasured and _STRINGS_ONLY.issuperset(map(type, value)))
                ):
                    continue
                if kind is int and MIN_INT <= value <= MAX_INT:
                    schema[sent_prefix + trait_name] = "int"
                    continue
            name = trait_name
            if not are_valid:
                sent_name = self._name(trait_name, path_prefix + trait_name, sent_prefix, encoded)
                if sent_name is None:
                    continue
                name = sent_name
                encoded[name] = value
            if kind is dict:
                result = self._object(value, f"{path_prefix}{trait_name}.", f"{sent_prefix}{name}.")
            else:
                result = self._value(value, path_prefix + trait_name, sent_prefix + name)
            if result is None:
                del encoded[name]
            else:
                encoded[name] = result
        return encoded

    def _without_surplus(self, traits: Mapping[str, Any], path_prefix: str) -> dict[str, Any]:
        """Return the first of *traits*, as many as the limit still allows, and drop the others."""
        room = max(0, len(traits) - (self.count - PROPERTY_COUNT.maximum))
        for name in islice(traits, room, None):
            self.adaptation.drop(path_prefix + name, PROPERTY_COUNT.rule)
        self.count = PROPERTY_COUNT.maximum
        return dict(islice(traits.items(), room))

    def _name(self, name: str, path: str, sent_prefix: str, taken: Container[str]) -> str | None:
        """Return the name to send for *name*, or None if there is no valid one or it is *taken*."""
        if not is_valid_name(name):
            if not self.adaptation.adapt:
                self.adaptation.reject(path, "property-name")
                return None
            name = valid_name(name)
            self.adaptation.record(path, "renamed", "property-name", sent_prefix + name)
        if self.adaptation.fit_or_drop(path, sent_prefix + name, PROPERTY_NAME) is None:
            return None
        if name in taken:
            self.adaptation.reject(path, "name-collision")
            return None
        return name

    def _value(self, value: Any, path: str, sent_path: str) -> Any:  # noqa: ANN401  # A trait value becomes JSON.
        """Return *value* as JSON, or None if it is not sent."""
        declared = self.declared.get(path.removeprefix("traits.")) if self.declared else None
        if declared and value is not REMOVE and not has_type(value, declared):
            self.adaptation.drop(path, "declared-type")
            return None
        encoded = ENCODERS[type(value)](value, path, self.adaptation)
        if encoded is None or (is_list(value) and not self._fits(encoded, path)):
            return None
        if declared := declared or type_to_declare(value):
            self.schema[sent_path] = declared
            if declared != "int":
                self.typed[sent_path] = declared
        return encoded

    def _object(self, value: dict[str, Any], path_prefix: str, sent_prefix: str) -> dict[str, Any] | None:
        """Return a nested object, which is measured as one property's value, or None if it is not sent."""
        self.count -= 1  # Only its values count.
        encoded = self.encode(value, path_prefix, sent_prefix)
        if not encoded:
            return None
        if not self._fits(encoded, path_prefix[:-1]):
            for declared in [name for name in self.schema if name.startswith(sent_prefix)]:
                del self.schema[declared]
                self.typed.pop(declared, None)
            return None
        return encoded

    def _fits(self, encoded: object, path: str) -> bool:
        """Return True if a list or an object is small enough or need not be measured."""
        if not self.measured:
            return True
        text = dumps(encoded)
        if len(text) <= PROPERTY_VALUE.maximum:
            return True
        return self.adaptation.fit_or_drop(path, text.decode(), PROPERTY_VALUE) is not None


def _unchanged(value: float, _path: str, _adaptation: Adaptation) -> float:
    return value


def _string(value: str, path: str, adaptation: Adaptation) -> str:
    return adaptation.truncate(path, value, PROPERTY_VALUE)


def _int(value: int, path: str, adaptation: Adaptation) -> int | None:
    if MIN_INT <= value <= MAX_INT:
        return value
    adaptation.drop(path, "int-range")
    return None


def _real(value: Decimal, path: str, adaptation: Adaptation) -> float | None:
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


_date_as_iso8601: Final = cached_adjustment("coerced", "date-as-iso8601")


# orjson itself writes dates as ISO 8601 and UUIDs as text, several times faster than their own methods do.


def _date(value: date, path: str, adaptation: Adaptation) -> date:
    adaptation.adjustments.append(_date_as_iso8601(path))
    return value


def _uuid(value: UUID, path: str, adaptation: Adaptation) -> UUID:
    adaptation.record(path, "coerced", "uuid-as-text")
    return value


def _list(values: tuple[Any, ...], path: str, adaptation: Adaptation) -> list[Any] | None:
    """Return a list of scalars of one type: "we don't currently support arrays of objects" (custom-properties)."""
    if type_of_list(values) is None:
        nested = any(type(value) in {dict, tuple} for value in values)
        adaptation.drop(path, "list-of-scalars" if nested else "list-of-one-type")
        return None
    # Strings need no check of their own: the limit of the whole list covers them.
    before = len(adaptation.adjustments)
    encoded = [value if type(value) is str else ENCODERS[type(value)](value, path, adaptation) for value in values]
    if len(adaptation.adjustments) > before + 1:
        # Several items have the same path, so the same adjustment is recorded once.
        adaptation.adjustments[before:] = dict.fromkeys(adaptation.adjustments[before:])
    return None if None in encoded else encoded


def _removal(_value: Removal, path: str, adaptation: Adaptation) -> None:
    """Send nothing: "properties cannot be deleted via the API" (github.com/fullstorydev/fs-skills, 2026-11-21)."""
    adaptation.drop(path, "cannot-remove")


# By type of a trait's value. An encoder returns the value for orjson, or None if it cannot be sent.
ENCODERS: Final[Mapping[type[object], Callable[[Any, str, Adaptation], Any]]] = {
    str: _string,
    bool: _unchanged,
    int: _int,
    float: _unchanged,
    Decimal: _real,
    datetime: _date,
    date: _date,
    UUID: _uuid,
    tuple: _list,
    Removal: _removal,
}
