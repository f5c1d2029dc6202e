"""Validate one event (rust/capture/src/v1/analytics/process.rs)."""

from typing import Literal, TypeAlias

import attrs
import orjson

from replay_identity.emulator.http import JsonObject

from .capture import Event, is_moment

Result: TypeAlias = Literal["ok", "warning", "drop", "retry"]

MAX_NAME_BYTES = 200
MAX_DISTINCT_ID_BYTES = 200
# The largest message of the queue behind the endpoint (rust/capture/src/config.rs).
MAX_EVENT_BYTES = 1_000_000

PERSON_PROCESSING_DISABLED = "person_processing_disabled"

# Ids for which PostHog creates no person.
ILLEGAL_IDS = {
    "0",
    "00000000-0000-0000-0000-000000000000",
    "[object object]",
    "anonymous",
    "anonymous-user",
    "backend",
    "distinct_id",
    "distinctid",
    "email",
    "false",
    "guest",
    "id",
    "nan",
    "none",
    "not_authenticated",
    "null",
    "system",
    "true",
    "undefined",
    "user",
}


@attrs.frozen
class Verdict:
    """PostHog's result for one event."""

    result: Result = "ok"
    details: str | None = None

    @property
    def updates_person(self) -> bool:
        """Return True if the event updates its person, and is not stored without person processing."""
        return self.result == "ok" and self.details != PERSON_PROCESSING_DISABLED

    def as_json(self) -> JsonObject:
        """Return the result as in PostHog's response."""
        return {"result": self.result, **({} if self.details is None else {"details": self.details})}


OK = Verdict()


def judge(event: Event) -> Verdict:
    """Return the result of *event* without faults."""
    error = _error(event)
    if error is not None:
        return Verdict("drop", error)
    if event.distinct_id.lower() in ILLEGAL_IDS:
        return Verdict("ok", PERSON_PROCESSING_DISABLED)
    return OK


def _error(event: Event) -> str | None:
    checks = (
        (not event.event, "missing_event_name"),
        (len(event.event.encode()) > MAX_NAME_BYTES, "event_name_too_long"),
        (not event.distinct_id, "missing_distinct_id"),
        (len(event.distinct_id.encode()) > MAX_DISTINCT_ID_BYTES, "distinct_id_too_large"),
        (not is_moment(event.timestamp), "invalid_event_timestamp"),
        (not isinstance(event.properties, dict), "malformed_event_properties"),
        (not isinstance(event.options, dict | None), "invalid_options"),
        (len(orjson.dumps(event.content)) > MAX_EVENT_BYTES, "event_too_big"),
    )
    return next((tag for is_invalid, tag in checks if is_invalid), None)
