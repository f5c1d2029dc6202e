"""What Mixpanel publishes about the size of a request, of a profile and of its properties."""

from datetime import date
from functools import partial
from typing import Final

from replay_identity.adapters import Limit, Limits, Unit

_READ_ON: Final = date(2026, 11, 21)
_request_limit = partial(Limit, source="https://docs.mixpanel.com/reference/user-profile-limits", read_on=_READ_ON)
# Mixpanel's own words, but in an answer of its community's assistant: the least certain of what is here.
_profile_limit = partial(
    Limit,
    source="https://community.mixpanel.com/x/ask-ai/au2mj6pxhnmw/is-there-any-character-limit-set-on-the-attributes",
    read_on=_READ_ON,
)

MOST_USERS: Final = _request_limit(
    maximum=2000,
    unit=Unit.USERS,
    rule="updates-per-request",
    note="Published as updates. A user with traits both to set and to remove takes two, so that fewer users fit.",
)
UPDATE: Final = _request_limit(
    maximum=1_000_000,
    unit=Unit.UTF8_BYTES,
    rule="update-size",
    note='"1 MB", of one update as JSON. Whether it means 1,000,000 or 1,048,576 is not said; we keep to the smaller.',
)
PROPERTY_NAME: Final = _profile_limit(
    maximum=255,
    unit=Unit.CHARACTERS,
    rule="property-name-length",
    note="Of the property alone; nothing is said of names inside an object.",
)
PROPERTY_VALUE: Final = _profile_limit(
    maximum=256_000,
    unit=Unit.UTF8_BYTES,
    rule="property-value-size",
    note='"256KB", published for lists and objects, measured as compact JSON. That texts keep to it too is our policy.',
)
MOST_PROPERTIES: Final = _profile_limit(
    maximum=2000,
    unit=Unit.TRAITS,
    rule="property-count",
    note="Of a profile. We see one update of it; name and e-mail count, what is inside an object does not.",
)
REQUEST: Final = Limit(
    maximum=10_000_000,
    unit=Unit.UTF8_BYTES,
    source="https://docs.mixpanel.com/troubleshooting/errors/413-payload-too-large",
    read_on=date(2026, 11, 29),
    rule="request-size",
    note="Published for /import. None is for /engage, so that it holds there is our policy.",
)

LIMITS: Final = Limits(
    user=UPDATE,
    name=PROPERTY_VALUE,
    email=PROPERTY_VALUE,
    trait_name=PROPERTY_NAME,
    trait_value=PROPERTY_VALUE,
    trait_count=MOST_PROPERTIES,
)

# Up to here, every reader of JSON keeps every digit of an integer (our policy "int-beyond-53-bits").
LARGEST_EXACT_INT: Final = 2**53
