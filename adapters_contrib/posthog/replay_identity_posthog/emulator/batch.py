"""The body of a request: a batch of events (rust/capture/src/v1/analytics/{types,process}.rs)."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import attrs

from replay_identity.emulator.http import JsonObject, JsonValue, parse_json

from .errors import WORDS, RefusalError


@attrs.frozen(kw_only=True)
class Event:
    """One event as it came, of which only the shape has been looked at."""

    uuid: UUID
    event: str
    distinct_id: str = attrs.field(repr=False)
    timestamp: str
    options: JsonValue = attrs.field(repr=False)
    properties: JsonValue = attrs.field(repr=False)
    said: JsonObject = attrs.field(repr=False)


def read_batch(body: bytes) -> Sequence[Event]:
    """Return the events in *body*, or refuse all of them."""
    if not body:
        raise RefusalError(400, "empty_body", "request body is empty")
    try:
        content = parse_json(body)
    except ValueError:
        raise _malformed() from None

    match content:
        case {"created_at": str(created_at), "batch": list(batch)}:
            pass
        case _:
            raise _malformed()
    if not batch:
        raise RefusalError(400, "empty_batch", "request batch is empty")
    if not is_moment(created_at):
        raise RefusalError(400, "invalid_batch", "invalid batch: created_at is not valid RFC 3339")

    events = [_read_event(said) for said in batch]
    if len({event.uuid for event in events}) < len(events):
        raise RefusalError(400, "duplicate_event_uuid", "duplicate event uuid")
    return events


def is_moment(text: str) -> bool:
    """Tell whether *text* is a moment with its zone."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _read_event(said: JsonValue) -> Event:
    if not isinstance(said, dict):
        raise _malformed()
    match said:
        case {"event": str(event), "uuid": str(uuid), "distinct_id": str(distinct_id), "timestamp": str(timestamp)}:
            return Event(
                uuid=_read_uuid(uuid),
                event=event,
                # Trimmed, "so padded IDs resolve to the same person".
                distinct_id=distinct_id.strip(),
                timestamp=timestamp,
                options=said.get("options"),
                properties=said.get("properties", {}),
                said=said,
            )
        case _:
            raise _malformed()


def _read_uuid(text: str) -> UUID:
    # One event without a good id costs all of them.
    try:
        return UUID(text.strip())
    except ValueError:
        raise RefusalError(400, "invalid_event_uuid", "event submitted with an invalid uuid") from None


def _malformed() -> RefusalError:
    return RefusalError(400, *WORDS[400])
