"""Fullstory's published limits on users and batches."""

from datetime import date
from functools import partial
from typing import Final

from ..adapters.limits import BatchLimits, Limit, Limits, Unit

# The contracts of 2026-09, in internal/connectors/fullstory/reference/2026-09/contracts of that repository;
# https://developer.fullstory.com/server/users/create-user said the same on 2026-11-21.
_limit = partial(Limit, source="https://github.com/fullstorydev/sekizui/tree/8f3699a", read_on=date(2026, 11, 30))

# The numbers below are not in the contracts.
_READ_ON: Final = date(2026, 11, 21)

USER_ID: Final = _limit(maximum=256, unit=Unit.CHARACTERS, rule="uid-length")
NAME: Final = _limit(maximum=256, unit=Unit.CHARACTERS, rule="display-name-length")
EMAIL: Final = _limit(maximum=128, unit=Unit.CHARACTERS, rule="email-length")
PROPERTY_NAME: Final = _limit(
    maximum=512,
    unit=Unit.CHARACTERS,
    rule="property-name-length",
    note='Includes the parents\' names, joined by dots. "Maximum 512" and "under 512" are published; 512 is allowed.',
)
PROPERTY_NAME_PATTERN: Final = "[A-Za-z][A-Za-z0-9_]*"
PROPERTY_VALUE: Final = _limit(
    maximum=8192,
    unit=Unit.UTF8_BYTES,
    rule="property-value-size",
    note="Lists and nested objects are measured as compact JSON, which is our policy.",
)
PROPERTY_COUNT: Final = _limit(
    maximum=500,
    unit=Unit.TRAITS,
    rule="property-count",
    note="Nested values count one by one, which is our policy. The whole organisation has 500 as well.",
)

LIMITS: Final = Limits(
    user_id=USER_ID,
    name=NAME,
    email=EMAIL,
    trait_name=PROPERTY_NAME,
    trait_value=PROPERTY_VALUE,
    trait_count=PROPERTY_COUNT,
    unique_traits=Limit(
        maximum=500,
        unit=Unit.TRAITS,
        rule="organisation-properties",
        source="https://help.fullstory.com/hc/en-us/articles/5079576446871",
        read_on=_READ_ON,
        note='"You can configure up to 500 unique user properties".',
    ),
    trait_name_pattern=PROPERTY_NAME_PATTERN,
)

_batch_limit = partial(
    Limit, source="https://developer.fullstory.com/server/users/create-batch-user-import-job", read_on=_READ_ON
)

BATCH_LIMITS: Final = BatchLimits(
    users=_batch_limit(
        maximum=50_000,
        unit=Unit.USERS,
        rule="batch-users",
        note="Per request. No limit in bytes is published; a 413 means that the batch is too large.",
    ),
    running_jobs=_batch_limit(
        maximum=100,
        unit=Unit.JOBS,
        rule="running-jobs",
        note="Per organisation. Further jobs are accepted and wait until one completes.",
    ),
    open_jobs=_batch_limit(
        maximum=200,
        unit=Unit.JOBS,
        rule="open-jobs",
        note="Per organisation. Further batches get a 429 until some jobs complete, however slowly they are sent.",
    ),
    open_users=_batch_limit(
        maximum=500_000,
        unit=Unit.USERS,
        rule="open-users",
        note="Per organisation, in all open jobs. Further batches get a 429 until some jobs complete.",
    ),
    key_lifetime=Limit(
        maximum=24,
        unit=Unit.HOURS,
        rule="key-lifetime",
        source="https://developer.fullstory.com/server/idempotent-requests",
        read_on=_READ_ON,
        note="We rely on one hour less.",
    ),
)

# Fullstory keeps a 500 under the idempotency key and repeats it for 24 hours; other failures are not kept
# (https://developer.fullstory.com/server/idempotent-requests, read 2026-11-21).
SPENT_KEY_STATUSES: Final = frozenset({500})

# Fullstory documents no range. Beyond 64 bits an int would be stored as another number (our policy "int-range").
MIN_INT: Final = -(2**63)
MAX_INT: Final = 2**63 - 1
