"""Encode the events of both versions of PostHog's capture API, and split them into requests.

- v0 is ``POST /batch/``, documented at https://posthog.com/docs/api/capture, as PyPI posthog 7.91.1 writes it in
  request.py and as rust/capture/src/v0_request.rs in github.com/PostHog/posthog reads it (2026-11-30).
- v1 is ``POST /i/v1/analytics/events``, as PyPI posthog 7.91.1 writes it in capture_v1.py and as
  rust/capture/src/v1/analytics/types.rs in github.com/PostHog/posthog reads it (2026-11-21).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

import attrs
import orjson

from replay_identity.adapters import Adjustment, UserTraits

from .limits import BODY, MAX_USERS

Capture: TypeAlias = Literal["v0", "v1"]
PATHS: Final[Mapping[Capture, str]] = {"v0": "/batch/", "v1": "/i/v1/analytics/events"}

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
        capture: The version of the API.
        api_key: The key, which is in the body in version 0 and in a header in version 1.
        request_id: The request's id.
        created_at: When the request was created, in RFC 3339.
    """

    capture: Capture
    api_key: str = attrs.field(repr=False)
    request_id: str
    created_at: str


def encode_event(
    user: UserTraits, properties: Mapping[str, Any], *, capture: Capture, uuid: UUID, now: datetime
) -> bytes:
    """Return the event that sets *properties* of *user*; its size does not depend on *uuid* and *now*."""
    content: dict[str, Any] = {
        "event": "$set",
        "uuid": str(uuid),
        "distinct_id": user.user_id,
        "timestamp": timestamp(user.observed_at or now),
        "properties": properties,
    }
    if capture == "v1":
        # process_person_profile is left out: False would make PostHog ignore the properties.
        content["options"] = {}
    return orjson.dumps(content)


def timestamp(moment: datetime) -> str:
    """Return *moment* as RFC 3339 in UTC with milliseconds, the precision that PostHog stores."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def encode_body(info: RequestInfo, events: Sequence[Event]) -> bytes:
    """Return the body that sends *events*."""
    batch = [orjson.Fragment(event.content) for event in events]
    if info.capture == "v1":
        return orjson.dumps({"created_at": info.created_at, "batch": batch})
    return orjson.dumps({"api_key": info.api_key, "sent_at": info.created_at, "batch": batch})


def split_into_requests(events: Iterable[Event], info: RequestInfo) -> Iterator[list[Event]]:
    """Yield *events* in their order, as many at a time as fit into one request, and no user twice.

    PostHog may ask for an event again and accept the next one. If both were of one user, the older would win.
    """
    # Each event counts with a comma, and the first has none.
    room = BODY.maximum - len(encode_body(info, ())) + 1
    batch: list[Event] = []
    size = 0
    user_ids: set[str | None] = set()
    for event in events:
        new_size = size + len(event.content) + 1
        if batch and (len(batch) >= MAX_USERS.maximum or new_size > room or event.user.user_id in user_ids):
            yield batch
            batch, new_size = [], len(event.content) + 1
            user_ids.clear()
        batch.append(event)
        size = new_size
        user_ids.add(event.user.user_id)
    if batch:
        yield batch
