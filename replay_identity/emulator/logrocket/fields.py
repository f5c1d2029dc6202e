"""The bodies of requests (2026-11-21, https://docs.logrocket.com/docs/user-identification-api)."""

from collections.abc import Mapping

import attrs

from ..answer import JsonObject, JsonValue, parse_json
from .javascript import string_of, utf16_length
from .refusal import MISSING_BODY, RefusalError, malformed, too_large

# The documents say "max 1024 characters" and "less than 1024 characters". Policy: 1024 is allowed, counted in
# UTF-16 units, as LogRocket's own React Native SDK does (2026-11-21, npm @logrocket/react-native 3.4.0).
MAX_UNITS = 1024

FIELDS = {"name", "email", "timestamp", "traits"}


@attrs.frozen(kw_only=True)
class Identity:
    """What a PUT says about a user; None is a field it does not mention, `""` a trait to remove."""

    name: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)
    timestamp: int | None = None
    traits: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)


def read_identity(value: JsonObject, *, accepts_empty: bool) -> Identity:
    """Return what *value* says about a user, or refuse it."""
    # Policy: unknown fields do not conform to the schema.
    if value.keys() - FIELDS or not (value or accepts_empty):
        raise malformed()

    # The schema comes before the lengths: all types are checked before any size is.
    identity = Identity(
        name=_read_string(value, "name"),
        email=_read_string(value, "email"),
        timestamp=_read_timestamp(value),
        traits=_read_traits(value.get("traits", {})),
    )
    _check_lengths(identity)
    return identity


def parse_object(body: bytes) -> JsonObject:
    """Return the JSON object in *body*, or refuse it."""
    if not body:
        raise RefusalError(400, MISSING_BODY)
    try:
        value = parse_json(body)
    except ValueError:
        raise malformed() from None

    if not isinstance(value, dict):
        raise malformed()
    return value


def _read_string(value: Mapping[str, JsonValue], name: str) -> str | None:
    text = value.get(name, "")
    if not isinstance(text, str):
        raise malformed()
    # Policy: a blank name or e-mail changes nothing; removing by a blank is documented for traits alone.
    return text or None


def _read_timestamp(value: Mapping[str, JsonValue]) -> int | None:
    if "timestamp" not in value:
        return None

    timestamp = value["timestamp"]
    # Policy: whole milliseconds only.
    if not isinstance(timestamp, int) or isinstance(timestamp, bool):
        raise malformed()
    return timestamp


def _read_traits(traits: JsonValue) -> Mapping[str, str]:
    # Policy: a trait without a name does not conform to the schema.
    if not isinstance(traits, dict) or "" in traits:
        raise malformed()
    return {name: _read_trait(value) for name, value in traits.items()}


def _read_trait(value: JsonValue) -> str:
    match value:
        case str():
            return value
        case bool() | int() | float():
            # "Integers or booleans will be converted to strings." Policy: and so are floats.
            return string_of(value)
        case _:
            # Policy: null is no blank value, and lists and objects are no trait values.
            raise malformed()


def _check_lengths(identity: Identity) -> None:
    require_short(identity.email or "", "email")
    require_short(identity.name or "", "name")
    for name, value in identity.traits.items():
        if utf16_length(name) > MAX_UNITS:
            # Policy: the documents give no number here; their description says 1024 for all keys.
            raise RefusalError(400, "user trait key too large")
        require_short(value, "user trait value")


def require_short(text: str, field: str) -> None:
    """Refuse a string over 1024 characters."""
    if utf16_length(text) > MAX_UNITS:
        raise too_large(field)
