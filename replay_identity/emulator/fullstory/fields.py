"""The body of a request about one user (2026-11-21, https://developer.fullstory.com/server/users/create-user/)."""

from collections.abc import Mapping

import attrs
import orjson

from ..answer import JsonObject, JsonValue, parse_json
from .properties import Oversized, Properties, read_properties
from .refusal import invalid
from .value_types import read_schema

# Policy: a character is a Unicode code point, as in the JSON Schema that states these limits.
MAX_CHARACTERS = {"uid": 256, "display_name": 256, "email": 128}

FIELDS = {*MAX_CHARACTERS, "properties", "schema"}


@attrs.frozen(kw_only=True)
class UserFields:
    """What a request says about a user; None is a field it does not mention."""

    uid: str | None = attrs.field(default=None, repr=False)
    display_name: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)
    properties: Properties = attrs.field(factory=Properties)


def parse_object(body: bytes) -> JsonObject:
    """Return the JSON object in *body*, or refuse it."""
    try:
        value = parse_json(body)
        # Parts of it are answered again, and orjson reads deeper nesting than it writes.
        orjson.dumps([[[value]]])
    except (ValueError, orjson.JSONEncodeError):
        # Policy: nesting has no documented limit.
        raise invalid("The body is not JSON, or nested too deeply") from None

    if not isinstance(value, dict):
        raise invalid("The body must be an object")
    return value


def read_user(value: Mapping[str, JsonValue], *, oversized: Oversized) -> UserFields:
    """Return what *value* says about a user, or refuse it."""
    # Policy: unknown fields are refused; the documents do not say.
    unknown = value.keys() - FIELDS
    if unknown:
        raise invalid(f"Unknown field {min(unknown)}")

    strings = {name: _read_string(value[name], name) for name in MAX_CHARACTERS if name in value}
    if strings.get("uid") == "":
        raise invalid("The provided uid parameter can not be empty", code="invalid_parameter")

    declared = read_schema(value.get("schema", {"properties": {}}))
    properties = read_properties(value.get("properties", {}), declared=declared, oversized=oversized)
    return UserFields(**strings, properties=properties)


def _read_string(value: JsonValue, name: str) -> str:
    # Policy: null is a wrong type here; the documents do not say.
    if not isinstance(value, str):
        raise invalid(f"{name} must be a string")

    if len(value) > MAX_CHARACTERS[name]:
        raise invalid(f"{name} must have at most {MAX_CHARACTERS[name]} characters")
    return value
