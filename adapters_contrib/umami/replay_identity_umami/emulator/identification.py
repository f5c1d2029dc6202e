"""Parse the body of a request, and validate it against the schema."""

import re
from collections.abc import Mapping
from typing import Final

import attrs

from replay_identity.emulator.http import JsonObject, JsonValue

from .errors import schema_error

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_TYPES: Final[Mapping[type, str]] = {
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


@attrs.frozen(kw_only=True)
class Identification:
    """The content of one request, or of one item of a batch."""

    website: str
    user_id: str | None = attrs.field(repr=False)
    data: JsonObject = attrs.field(repr=False)
    user_agent: str = attrs.field(repr=False)
    timestamp: int | None


def read_identification(value: JsonValue) -> Identification:
    """Return *value* as an `Identification`, or raise UmamiHttpError."""
    if not isinstance(value, dict):
        raise schema_error((), _expected("object", value))
    if value.get("type") != "identify":
        # Policy: page views and all other types are rejected.
        raise schema_error(("type",), "Invalid input")
    payload = value.get("payload")
    if not isinstance(payload, dict):
        raise schema_error(("payload",), _expected("object", payload))
    website = _text(payload, "website")
    if website is None or not _UUID.fullmatch(website):
        raise schema_error(("payload", "website"), "Invalid UUID")
    return Identification(
        website=website.lower(),
        user_id=_text(payload, "id"),
        data=_data(payload),
        user_agent=_text(payload, "userAgent") or "",
        timestamp=_timestamp(payload),
    )


def _text(payload: JsonObject, name: str) -> str | None:
    if name not in payload:
        return None
    text = payload[name]
    if not isinstance(text, str):
        raise schema_error(("payload", name), _expected("string", text))
    return text


def _data(payload: JsonObject) -> JsonObject:
    data = payload.get("data", {})
    if not isinstance(data, dict):
        raise schema_error(("payload", "data"), _expected("object", data))
    return data


def _timestamp(payload: JsonObject) -> int | None:
    if "timestamp" not in payload:
        return None
    # "Coerced": a text of digits is valid, too.
    try:
        return int(str(payload["timestamp"]))
    except ValueError:
        raise schema_error(("payload", "timestamp"), "Invalid input: expected int, received number") from None


def _expected(kind: str, value: JsonValue) -> str:
    return f"Invalid input: expected {kind}, received {_TYPES[type(value)]}"
