"""The size limits that Mixpanel publishes for requests, profiles and properties."""

from datetime import date
from functools import partial
from typing import Final

from replay_identity.adapters import Limit, Limits, Unit

_READ_ON: Final = date(2026, 11, 21)
_request_limit = partial(Limit, source="https://docs.mixpanel.com/reference/user-profile-limits", read_on=_READ_ON)
# Stated by Mixpanel, but in an answer of the assistant of its community: the least certain source here.
_profile_limit = partial(
    Limit,
    source="https://community.mixpanel.com/x/ask-ai/au2mj6pxhnmw/is-there-any-character-limit-set-on-the-attributes",
    read_on=_READ_ON,
)

MAX_USERS: Final = _request_limit(
    maximum=2000,
    unit=Unit.USERS,
    rule="updates-per-request",
    note="Published for updates. A user with traits both to set and to remove takes two updates.",
)
UPDATE: Final = _request_limit(
    maximum=1_000_000,
    unit=Unit.UTF8_BYTES,
    rule="update-size",
    note='"1 MB" for one update as JSON. It may mean 1,000,000 or 1,048,576 bytes; we use the smaller.',
)
PROPERTY_NAME: Final = _profile_limit(
    maximum=255,
    unit=Unit.CHARACTERS,
    rule="property-name-length",
    note="For names of properties; names inside an object have no published limit.",
)
PROPERTY_VALUE: Final = _profile_limit(
    maximum=256_000,
    unit=Unit.UTF8_BYTES,
    rule="property-value-size",
    note='"256KB", published for lists and objects, measured as compact JSON. Applying it to text is our policy.',
)
MAX_PROPERTIES: Final = _profile_limit(
    maximum=2000,
    unit=Unit.TRAITS,
    rule="property-count",
    note="For a whole profile, of which we see one update. Name and e-mail count; names inside an object do not.",
)
REQUEST: Final = Limit(
    maximum=10_000_000,
    unit=Unit.UTF8_BYTES,
    source="https://docs.mixpanel.com/troubleshooting/errors/413-payload-too-large",
    read_on=date(2026, 11, 29),
    rule="request-size",
    note="Published for /import. Applying it to /engage, which has none, is our policy.",
)

LIMITS: Final = Limits(
    user=UPDATE,
    name=PROPERTY_VALUE,
    email=PROPERTY_VALUE,
    trait_name=PROPERTY_NAME,
    trait_value=PROPERTY_VALUE,
    trait_count=MAX_PROPERTIES,
)

# Every JSON parser keeps all digits of integers up to this one (our policy "int-beyond-53-bits").
MAX_EXACT_INT: Final = 2**53
