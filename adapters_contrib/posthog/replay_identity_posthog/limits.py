"""The size limits of PostHog's events and requests."""

from datetime import date
from functools import partial
from typing import Final

from replay_identity.adapters import Limit, Limits, Unit

_limit = partial(Limit, read_on=date(2026, 11, 21))

DISTINCT_ID: Final = _limit(
    maximum=200,
    unit=Unit.UTF8_BYTES,
    source="https://github.com/PostHog/posthog/blob/master/rust/capture/src/v1/analytics/process.rs",
    rule="distinct-id-length",
    note="The server measures bytes, and drops events with a longer id.",
)
EVENT: Final = _limit(
    maximum=900 * 1024,
    unit=Unit.UTF8_BYTES,
    source="PyPI posthog 7.91.1, consumer.py",
    rule="event-size",
    note="For the whole event as JSON. PostHog drops events over about 1 MB (docs/data/ingestion-warnings).",
)
BODY: Final = _limit(
    maximum=5 * 1024 * 1024,
    unit=Unit.UTF8_BYTES,
    source="PyPI posthog 7.91.1, consumer.py",
    rule="body-size",
    note="What the SDK sends at once; the server accepts more.",
)
MAX_USERS: Final = _limit(
    maximum=100,
    unit=Unit.USERS,
    source="PyPI posthog 7.91.1, consumer.py",
    rule="request-users",
    note="What the SDK sends at once; the server publishes no number.",
)

LIMITS: Final = Limits(user_id=DISTINCT_ID, user=EVENT)
