"""Version 0 of the capture API: ``/batch/`` and the addresses of single events (2026-11-30).

See https://posthog.com/docs/api/capture and, in https://github.com/PostHog/posthog, rust/capture/src/{v0_request,
v0_endpoint,api}.rs. A response is about the whole request: PostHog validates and stores the events later.
"""

from collections.abc import Sequence
from uuid import UUID, uuid4

import attrs
import orjson

from replay_identity.emulator.http import JsonObject, JsonValue, ReceivedRequest, VendorResponse

from .bodies import UnpackedTooLargeError, parse_shallow, sniffed
from .capture import MAX_KEY_LENGTH, Event, is_moment
from .verdict import MAX_EVENT_BYTES

PATHS = {"/batch", "/i/v0/e", "/capture", "/e"}
MAX_DISTINCT_ID = 200
NO_TIME = "1970-01-01T00:00:00Z"


class LegacyError(Exception):
    """An error response to a whole request, in plain text; none of its events is stored."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message

    def as_response(self) -> VendorResponse:
        """Return the response."""
        headers = {"content-type": "text/plain; charset=utf-8"}
        return VendorResponse(status=self.status, body=self.message.encode(), headers=headers)


@attrs.frozen(kw_only=True)
class LegacyRequest:
    """The key and the events of a request."""

    api_key: str = attrs.field(repr=False)
    events: Sequence[Event] = attrs.field(repr=False)


def read_legacy(request: ReceivedRequest, limit: int) -> LegacyRequest:
    """Return the key and the events of *request*, or raise LegacyError."""
    try:
        content = parse_shallow(sniffed(request, limit))
    except UnpackedTooLargeError:
        raise LegacyError(400, "maximum event size exceeded") from None
    except ValueError:
        raise LegacyError(400, "failed to parse request: invalid JSON") from None

    items = _items(content)
    # A batch has the key of all its events; elsewhere each event has it.
    owners = [content] if isinstance(content, dict) else items
    keys = {key for owner in owners if (key := _key(owner)) is not None}
    if len(keys) != 1:
        message = "batch submitted with inconsistent api_key values" if keys else "event submitted without an api_key"
        raise LegacyError(401, message)
    (key,) = keys
    if not key or len(key) > MAX_KEY_LENGTH or not key.isascii() or key.startswith("phx_"):
        raise LegacyError(401, "API key is not valid: not_a_project_key")
    return LegacyRequest(api_key=key, events=[_read_event(item) for item in items])


def _items(content: JsonValue) -> Sequence[JsonObject]:
    match content:
        case {"batch": list(batch)}:
            items = batch
        case list():
            items = content
        case _:
            items = [content]
    if not items:
        raise LegacyError(400, "request holds no event")
    events = [item for item in items if isinstance(item, dict)]
    if len(events) < len(items):
        raise LegacyError(400, "failed to parse request: an event is a JSON object")
    return events


def _key(owner: JsonObject) -> str | None:
    # An SDK of the browser puts it into the properties.
    for values in (owner, _object(owner.get("properties"))):
        for name in ("api_key", "token", "$token"):
            if isinstance(key := values.get(name), str):
                return key
    return None


def _read_event(item: JsonObject) -> Event:
    properties = dict(_object(item.get("properties")))
    # These may also be at the top, as in PyPI posthog 7.91.1 (client.py).
    for name in ("$set", "$set_once"):
        if name in item:
            properties[name] = {**_object(item[name]), **_object(properties.get(name))}
    event = item.get("event")
    if not isinstance(event, str) or not event:
        raise LegacyError(400, "event submitted with an empty event name")
    # Policy: in v0, too, a larger event is refused, with all others of its request.
    if len(orjson.dumps(item)) > MAX_EVENT_BYTES:
        raise LegacyError(400, "maximum event size exceeded")
    timestamp = item.get("timestamp")
    return Event(
        uuid=_read_uuid(item.get("uuid")),
        event=event,
        distinct_id=_read_distinct_id(item, properties),
        # Policy: an invalid time is the time of arrival, which nothing here depends on.
        timestamp=timestamp if isinstance(timestamp, str) and is_moment(timestamp) else NO_TIME,
        options={},
        properties=properties,
        content=item,
    )


def _read_uuid(value: JsonValue) -> UUID:
    if not value:
        return uuid4()
    try:
        return UUID(value if isinstance(value, str) else "")
    except ValueError:
        raise LegacyError(400, "failed to parse request: invalid uuid") from None


def _read_distinct_id(item: JsonObject, properties: JsonObject) -> str:
    """Return the id, which may be any JSON, cut to 200 characters."""
    values = (item.get("distinct_id"), item.get("$distinct_id"), properties.get("distinct_id"))
    value = next((value for value in values if value is not None), None)
    if value is None:
        raise LegacyError(400, "event submitted without a distinct_id")
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    if not text:
        raise LegacyError(400, "event submitted with an empty distinct_id")
    return text[:MAX_DISTINCT_ID]


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}
