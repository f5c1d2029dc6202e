"""What PostHog makes of one event (rust/capture/src/v1/analytics/process.rs)."""

from typing import Literal, TypeAlias

import attrs
import orjson

from replay_identity.emulator.http import JsonObject

from .batch import Event, is_moment

Result: TypeAlias = Literal["ok", "warning", "drop", "retry"]

MAX_NAME = 200
MAX_DISTINCT_ID = 200
# The largest message of the queue behind it (rust/capture/src/config.rs).
MAX_EVENT = 1_000_000

PERSON_PROCESSING_DISABLED = "person_processing_disabled"

NOBODY = {
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
    """What PostHog tells of one event."""

    result: Result = "ok"
    details: str | None = None

    @property
    def reaches_the_person(self) -> bool:
        """Tell whether the person is changed: not by an event that is kept without person processing."""
        return self.result == "ok" and self.details != PERSON_PROCESSING_DISABLED

    def as_json(self) -> JsonObject:
        """Return it as PostHog answers it."""
        return {"result": self.result, **({} if self.details is None else {"details": self.details})}


OK = Verdict()


def judge(event: Event) -> Verdict:
    """Return what becomes of *event* when nothing goes wrong."""
    broken = _broken(event)
    if broken is not None:
        return Verdict("drop", broken)
    if event.distinct_id.lower() in NOBODY:
        return Verdict("ok", PERSON_PROCESSING_DISABLED)
    return OK


def _broken(event: Event) -> str | None:
    sizes = (
        (not event.event, "missing_event_name"),
        (len(event.event.encode()) > MAX_NAME, "event_name_too_long"),
        (not event.distinct_id, "missing_distinct_id"),
        (len(event.distinct_id.encode()) > MAX_DISTINCT_ID, "distinct_id_too_large"),
        (not is_moment(event.timestamp), "invalid_event_timestamp"),
        (not isinstance(event.properties, dict), "malformed_event_properties"),
        (not isinstance(event.options, dict | None), "invalid_options"),
        (len(orjson.dumps(event.said)) > MAX_EVENT, "event_too_big"),
    )
    return next((tag for is_broken, tag in sizes if is_broken), None)
