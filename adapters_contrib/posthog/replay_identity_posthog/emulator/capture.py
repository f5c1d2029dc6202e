"""Parse a capture request: the key in its headers, and the batch of events in its body.

See rust/capture/src/v1/context.rs, rust/capture/src/token.rs and rust/capture/src/v1/analytics/{types,process}.rs.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import attrs

from replay_identity.emulator.http import JsonObject, JsonValue, ReceivedRequest

from .bodies import UnpackedTooLargeError, UnsupportedEncodingError, parse_shallow, unpacked
from .errors import ERRORS, PostHogHttpError

REQUIRED_HEADERS = (
    "posthog-sdk-info",
    "posthog-attempt",
    "posthog-request-id",
    "posthog-request-timestamp",
    "content-type",
    "user-agent",
)
MAX_KEY_LENGTH = 64


@attrs.frozen(kw_only=True)
class Event:
    """One event as received; only its shape is validated."""

    uuid: UUID
    event: str
    distinct_id: str = attrs.field(repr=False)
    timestamp: str
    options: JsonValue = attrs.field(repr=False)
    properties: JsonValue = attrs.field(repr=False)
    content: JsonObject = attrs.field(repr=False)


def read_key(headers: Mapping[str, str]) -> str:
    """Return the key of a request with valid headers, or raise PostHogHttpError.

    A key of no project is accepted here: PostHog checks it later, and reports nothing.
    """
    if "authorization" not in headers:
        raise PostHogHttpError(401, "missing_authorization", "missing authorization header")
    missing = [name for name in REQUIRED_HEADERS if name not in headers]
    if missing:
        raise PostHogHttpError(400, "missing_required_headers", f"request is missing required headers: {missing}")

    key = _key(headers["authorization"])
    if headers["content-type"].partition(";")[0].strip().lower() != "application/json":
        raise PostHogHttpError(415, "unsupported_content_type", "unsupported content type")
    _check_formats(headers)
    return key


def _key(authorization: str) -> str:
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() != "bearer":
        message = "invalid header value: Authorization must use Bearer scheme"
        raise PostHogHttpError(400, "invalid_header_value", message)
    key = rest.strip()
    if not key or len(key) > MAX_KEY_LENGTH or not key.isascii() or key.startswith("phx_"):
        raise PostHogHttpError(401, "invalid_api_token", "The provided API token is not valid.")
    return key


def _check_formats(headers: Mapping[str, str]) -> None:
    try:
        UUID(headers["posthog-request-id"])
        moment = datetime.fromisoformat(headers["posthog-request-timestamp"])
        is_valid = int(headers["posthog-attempt"]) >= 1 and moment.tzinfo is not None
    except ValueError:
        is_valid = False
    if not is_valid:
        raise PostHogHttpError(400, "invalid_header_value", "invalid header value")


def read_batch(request: ReceivedRequest, limit: int) -> Sequence[Event]:
    """Return the events in the body of *request*, or raise PostHogHttpError."""
    if not request.body:
        raise PostHogHttpError(400, "empty_body", "request body is empty")
    try:
        content = parse_shallow(unpacked(request, limit))
    except UnsupportedEncodingError:
        raise PostHogHttpError(415, "unsupported_encoding", "unsupported content encoding") from None
    except UnpackedTooLargeError:
        raise PostHogHttpError(413, *ERRORS[413]) from None
    except ValueError:
        raise _malformed() from None

    match content:
        case {"created_at": str(created_at), "batch": list(batch)}:
            pass
        case _:
            raise _malformed()
    if not batch:
        raise PostHogHttpError(400, "empty_batch", "request batch is empty")
    if not is_moment(created_at):
        raise PostHogHttpError(400, "invalid_batch", "invalid batch: created_at is not valid RFC 3339")

    events = [_read_event(item) for item in batch]
    if len({event.uuid for event in events}) < len(events):
        raise PostHogHttpError(400, "duplicate_event_uuid", "duplicate event uuid")
    return events


def is_moment(text: str) -> bool:
    """Return True if *text* is a date and time with a zone."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _read_event(item: JsonValue) -> Event:
    if not isinstance(item, dict):
        raise _malformed()
    match item:
        case {"event": str(event), "uuid": str(uuid), "distinct_id": str(distinct_id), "timestamp": str(timestamp)}:
            return Event(
                uuid=_read_uuid(uuid),
                event=event,
                # Trimmed, "so padded IDs resolve to the same person".
                distinct_id=distinct_id.strip(),
                timestamp=timestamp,
                options=item.get("options"),
                properties=item.get("properties", {}),
                content=item,
            )
        case _:
            raise _malformed()


def _read_uuid(text: str) -> UUID:
    # One event with an invalid id rejects all of them.
    try:
        return UUID(text.strip())
    except ValueError:
        raise PostHogHttpError(400, "invalid_event_uuid", "event submitted with an invalid uuid") from None


def _malformed() -> PostHogHttpError:
    return PostHogHttpError(400, *ERRORS[400])
