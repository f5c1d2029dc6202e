"""The size limits that Mixpanel publishes for requests, profiles and properties."""

from datetime import date
from functools import partial
from typing import Final

from replay_identity.adapters import Limit, Limits, Unit

_READ_ON: Final = date(2026, 11, 21)
_request_limit = partial(Limit, source="https://docs.mixpanel.com/reference/user-profile-limits", read_on=_READ_ON)
_DOCS: Final = "https://github.com/mixpanel/docs/blob/ba22906/docs/data-structure"
_DOCS_READ_ON: Final = date(2026, 11, 30)
_profile_limit = partial(Limit, source=f"{_DOCS}/user-profiles.mdx", read_on=_DOCS_READ_ON)
_value_limit = partial(Limit, source=f"{_DOCS}/property-reference/data-type.mdx", read_on=_DOCS_READ_ON)

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
    note="For names of properties, of which Mixpanel cuts longer ones; names inside an object have no published limit.",
)
TEXT: Final = _value_limit(
    maximum=255,
    unit=Unit.UTF8_BYTES,
    rule="text-length",
    note="For each text, also within lists and objects. Mixpanel cuts a longer one without an error.",
)
PROPERTY_VALUE: Final = _value_limit(
    maximum=256_000,
    unit=Unit.UTF8_BYTES,
    rule="property-value-size",
    note='"256KB" for a list or an object, measured as compact JSON. It may mean 262,144 bytes; we use the smaller.',
)
OBJECT_KEYS: Final = _value_limit(
    maximum=255,
    unit=Unit.TRAITS,
    rule="object-keys",
    note="For each object, at any level and in lists.",
)
# "a max nesting depth of 3" (the same page). Our reading: the property itself is the first level.
MAX_OBJECT_DEPTH: Final = 3
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
    name=TEXT,
    email=TEXT,
    trait_name=PROPERTY_NAME,
    trait_value=TEXT,
    trait_count=MAX_PROPERTIES,
)

# Every JSON parser keeps all digits of integers up to this one (our policy "int-beyond-53-bits").
MAX_EXACT_INT: Final = 2**53
