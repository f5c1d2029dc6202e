"""The events of PostHog's capture endpoint, and which of them go into one request.

The format is that of ``POST /i/v1/analytics/events``, as PyPI posthog 7.91.1 writes it in capture_v1.py and as
rust/capture/src/v1/analytics/types.rs in github.com/PostHog/posthog reads it (2026-11-21).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import attrs
import orjson

from replay_identity.adapters import Adjustment, UserTraits

from .limits import BODY, MOST_USERS

# The day that a plan shows, since it reads no clock.
PLACEHOLDER_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
# And the id, since it draws none.
PLACEHOLDER_ID: Final = UUID(int=0)


@attrs.frozen
class Event:
    """What is said of one user, ready to be sent.

    Attributes:
        uuid: The event's own id, by which PostHog drops copies of it and tells what became of it.
        user: The user.
        content: The event as JSON, serialised once.
        adjustments: How what is sent differs from what was given.
    """

    uuid: str
    user: UserTraits
    content: bytes = attrs.field(repr=False)
    adjustments: tuple[Adjustment, ...] = ()


@attrs.frozen
class Opening:
    """What every attempt of one request has in common.

    Attributes:
        request_id: The request's own id.
        created_at: When it was made.
    """

    request_id: str
    created_at: str


def event_json(user: UserTraits, properties: Mapping[str, Any], *, uuid: UUID, now: datetime) -> bytes:
    """Return the event that sets *properties* of *user*, as large whatever the id and the moment are."""
    content: dict[str, Any] = {
        "event": "$set",
        "uuid": str(uuid),
        "distinct_id": user.user_id,
        "timestamp": timestamp(user.observed_at or now),
        # Without process_person_profile: False would make PostHog ignore the properties.
        "options": {},
        "properties": properties,
    }
    return orjson.dumps(content)


def timestamp(moment: datetime) -> str:
    """Return *moment* as RFC 3339 in UTC, to the millisecond, which is what PostHog keeps."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def body_of(opening: Opening, events: Sequence[Event]) -> bytes:
    """Return the body that sends *events*."""
    batch = [orjson.Fragment(event.content) for event in events]
    return orjson.dumps({"created_at": opening.created_at, "batch": batch})


def in_requests(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Yield *events* in their order, as many at a time as may go into one request, and no user twice.

    PostHog may ask for an event again and take the one after it, and if both were about one user, the older would win.
    """
    together: list[Event] = []
    size = 0
    user_ids: set[str | None] = set()
    for event in events:
        larger = size + len(event.content) + 1
        if together and (len(together) >= MOST_USERS.maximum or larger > _ROOM or event.user.user_id in user_ids):
            yield together
            together, larger = [], len(event.content) + 1
            user_ids.clear()
        together.append(event)
        size = larger
        user_ids.add(event.user.user_id)
    if together:
        yield together


# For events, each with a comma before it; the first has none.
_ROOM: Final = BODY.maximum - len(body_of(Opening("", timestamp(PLACEHOLDER_TIME)), ())) + 1
