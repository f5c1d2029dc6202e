"""Encode the events of PostHog's capture endpoint, and split them into requests.

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

from .limits import BODY, MAX_USERS

# The time and the id in a plan, which must be deterministic.
PLACEHOLDER_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
PLACEHOLDER_ID: Final = UUID(int=0)


@attrs.frozen
class Event:
    """The event of one user, ready to be sent.

    Attributes:
        uuid: The event's id, by which PostHog drops duplicates and reports results.
        user: The user.
        content: The event as JSON, serialised once.
        adjustments: How the event differs from the user's traits.
    """

    uuid: str
    user: UserTraits
    content: bytes = attrs.field(repr=False)
    adjustments: tuple[Adjustment, ...] = ()


@attrs.frozen
class RequestInfo:
    """What all attempts of one request have in common.

    Attributes:
        request_id: The request's id.
        created_at: When the request was created, in RFC 3339.
    """

    request_id: str
    created_at: str


def encode_event(user: UserTraits, properties: Mapping[str, Any], *, uuid: UUID, now: datetime) -> bytes:
    """Return the event that sets *properties* of *user*; its size does not depend on *uuid* and *now*."""
    content: dict[str, Any] = {
        "event": "$set",
        "uuid": str(uuid),
        "distinct_id": user.user_id,
        "timestamp": timestamp(user.observed_at or now),
        # process_person_profile is left out: False would make PostHog ignore the properties.
        "options": {},
        "properties": properties,
    }
    return orjson.dumps(content)


def timestamp(moment: datetime) -> str:
    """Return *moment* as RFC 3339 in UTC with milliseconds, the precision that PostHog stores."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def encode_body(info: RequestInfo, events: Sequence[Event]) -> bytes:
    """Return the body that sends *events*."""
    batch = [orjson.Fragment(event.content) for event in events]
    return orjson.dumps({"created_at": info.created_at, "batch": batch})


def split_into_requests(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Yield *events* in their order, as many at a time as fit into one request, and no user twice.

    PostHog may ask for an event again and accept the next one. If both were of one user, the older would win.
    """
    batch: list[Event] = []
    size = 0
    user_ids: set[str | None] = set()
    for event in events:
        new_size = size + len(event.content) + 1
        if batch and (len(batch) >= MAX_USERS.maximum or new_size > _MAX_EVENT_BYTES or event.user.user_id in user_ids):
            yield batch
            batch, new_size = [], len(event.content) + 1
            user_ids.clear()
        batch.append(event)
        size = new_size
        user_ids.add(event.user.user_id)
    if batch:
        yield batch


# The room for events in a body. Each event counts with a comma, and the first has none.
_MAX_EVENT_BYTES: Final = BODY.maximum - len(encode_body(RequestInfo("", timestamp(PLACEHOLDER_TIME)), ())) + 1
