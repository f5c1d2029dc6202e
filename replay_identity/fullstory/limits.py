"""What Fullstory publishes about the size and the names of a user's fields."""

from datetime import date
from functools import partial
from typing import Final

from ..adapters.limits import BatchLimits, Limit, Limits, Unit

_limit = partial(Limit, source="https://developer.fullstory.com/server/users/create-user", read_on=date(2026, 11, 21))

USER_ID: Final = _limit(maximum=256, unit=Unit.CHARACTERS, rule="uid-length")
NAME: Final = _limit(maximum=256, unit=Unit.CHARACTERS, rule="display-name-length")
EMAIL: Final = _limit(maximum=128, unit=Unit.CHARACTERS, rule="email-length")
PROPERTY_NAME: Final = _limit(
    maximum=512,
    unit=Unit.CHARACTERS,
    rule="property-name-length",
    note='Dotted with its parents\' names. "Maximum 512" and "under 512" are both written; we allow 512.',
)
PROPERTY_NAME_PATTERN: Final = "[A-Za-z][A-Za-z0-9_]*"
PROPERTY_VALUE: Final = _limit(
    maximum=8192,
    unit=Unit.UTF8_BYTES,
    rule="property-value-size",
    note="A list and a nested object are measured as compact JSON: our policy.",
)
MOST_PROPERTIES: Final = _limit(
    maximum=500,
    unit=Unit.TRAITS,
    rule="property-count",
    note="Nested values are counted one by one: our policy. The organisation as a whole has 500 too.",
)

LIMITS: Final = Limits(
    user_id=USER_ID,
    name=NAME,
    email=EMAIL,
    trait_name=PROPERTY_NAME,
    trait_value=PROPERTY_VALUE,
    trait_count=MOST_PROPERTIES,
    unique_traits=Limit(
        maximum=500,
        unit=Unit.TRAITS,
        rule="organisation-properties",
        source="https://help.fullstory.com/hc/en-us/articles/5079576446871",
        read_on=date(2026, 11, 21),
        note='"You can configure up to 500 unique user properties".',
    ),
    trait_name_pattern=PROPERTY_NAME_PATTERN,
)

_batch_limit = partial(
    Limit,
    source="https://developer.fullstory.com/server/users/create-batch-user-import-job",
    read_on=date(2026, 11, 21),
)

# Fullstory keeps a 500 under the idempotency key and answers it again for 24 hours; other failures are not kept
# (https://developer.fullstory.com/server/idempotent-requests, read 2026-11-21).
SPENT_KEY_STATUSES: Final = frozenset({500})

BATCH_LIMITS: Final = BatchLimits(
    users=_batch_limit(
        maximum=50_000,
        unit=Unit.USERS,
        rule="batch-users",
        note="Of one request. No limit in bytes is published; 413 is read as too large.",
    ),
    running_jobs=_batch_limit(
        maximum=100,
        unit=Unit.JOBS,
        rule="running-jobs",
        note="Of the organisation. Further jobs are taken and wait for one to complete.",
    ),
    open_jobs=_batch_limit(
        maximum=200,
        unit=Unit.JOBS,
        rule="open-jobs",
        note="Of the organisation. Further batches are answered 429 until some complete, however slowly they come.",
    ),
    open_users=_batch_limit(
        maximum=500_000,
        unit=Unit.USERS,
        rule="open-users",
        note="Of the organisation, in all open jobs. Further batches are answered 429 until some complete.",
    ),
    key_lifetime=Limit(
        maximum=24,
        unit=Unit.HOURS,
        rule="key-lifetime",
        source="https://developer.fullstory.com/server/idempotent-requests",
        read_on=date(2026, 11, 21),
        note="We count on an hour less.",
    ),
)

# Fullstory documents no range; beyond 64 bits an int would be stored as another number (our policy "int-range").
SMALLEST_INT: Final = -(2**63)
LARGEST_INT: Final = 2**63 - 1
