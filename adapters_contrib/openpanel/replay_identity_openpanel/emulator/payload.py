"""The schema of an `identify`: what zod accepts and drops (packages/validation/src/track.validation.ts)."""

import string
from typing import cast

import attrs

from replay_identity.emulator.http import JsonObject, JsonValue, parse_json

from .errors import bad_request

LETTERS = frozenset(string.ascii_letters)
ALPHANUMERIC = LETTERS | frozenset(string.digits)
LOCAL = ALPHANUMERIC | frozenset("_'+-.")

# JavaScript's floats cannot represent every integer beyond this one.
MAX_EXACT_INT = 2**53


@attrs.frozen(kw_only=True)
class Identity:
    """The content of an `identify`; a field that is missing in it is an empty text."""

    profile_id: str = attrs.field(repr=False)
    first_name: str = attrs.field(repr=False)
    last_name: str = attrs.field(repr=False)
    email: str = attrs.field(repr=False)
    properties: JsonObject = attrs.field(repr=False)


def read_body(body: bytes) -> JsonObject:
    """Return *body* as JavaScript parses it, or raise OpenPanelHttpError if it is not a JSON object."""
    try:
        value = parse_json(body)
    except ValueError:
        raise bad_request("Unexpected token in JSON") from None
    if not isinstance(value, dict):
        raise bad_request("body must be object")
    return cast("JsonObject", _in_javascript(value))


def _in_javascript(value: JsonValue) -> JsonValue:
    """Return *value* as `JSON.parse` would, after Fastify's check for prototypes."""
    if isinstance(value, dict):
        if "__proto__" in value:
            raise bad_request("Object contains forbidden prototype property")
        return {name: _in_javascript(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_in_javascript(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_EXACT_INT:
        return int(float(value))
    return value


def read_identity(payload: JsonValue) -> Identity:
    """Return *payload* as an `Identity`, or raise OpenPanelHttpError; keys that are not in the schema are ignored."""
    if not isinstance(payload, dict):
        raise bad_request("body/payload must be object")
    properties = payload.get("properties", {})
    if not isinstance(properties, dict):
        raise bad_request("body/payload/properties Invalid input: expected record")
    email = _text(payload, "email")
    if "email" in payload and not is_email(email):
        raise bad_request("body/payload/email Invalid email address")
    return Identity(
        profile_id=_profile_id(payload.get("profileId")),
        first_name=_text(payload, "firstName"),
        last_name=_text(payload, "lastName"),
        email=email,
        properties=properties,
    )


def _profile_id(value: JsonValue) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise bad_request("body/payload/profileId Invalid input")
    return str(value)


def _text(payload: JsonObject, name: str) -> str:
    value = payload.get(name, "")
    if not isinstance(value, str):
        raise bad_request(f"body/payload/{name} Invalid input: expected string")
    return value


def is_email(text: str) -> bool:
    """Return True if zod accepts *text* as an e-mail address."""
    local, _, domain = text.rpartition("@")
    labels = domain.split(".")
    return (
        local != ""
        and LOCAL.issuperset(local)
        and not local.startswith(".")
        and not local.endswith((".", "'"))
        and ".." not in local
        and len(labels) > 1
        and all(label[:1] in ALPHANUMERIC and (ALPHANUMERIC | {"-"}).issuperset(label) for label in labels[:-1])
        and len(labels[-1]) > 1
        and LETTERS.issuperset(labels[-1])
    )
