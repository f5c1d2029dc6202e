"""What LogRocket publishes about the size and the names of a user's fields."""

from datetime import date
from functools import partial
from typing import Final

from ..limits import Limit, Limits, Unit

_READ_ON: Final = date(2026, 11, 21)
# "Max: 1024 characters" twice, "less than 1024" once; LogRocket's own SDK allows 1024 and counts UTF-16 units.
_limit = partial(
    Limit,
    maximum=1024,
    unit=Unit.UTF16_UNITS,
    source="https://docs.logrocket.com/docs/user-identification-api",
    read_on=_READ_ON,
    note="The unit, and that 1,024 itself is allowed, as in @logrocket/react-native 3.4.0.",
)

ADVISED_NAME: Final = Limit(
    maximum=128,
    unit=Unit.UTF8_BYTES,
    source="npm @logrocket/react-native 3.4.0, dist/build.js",
    read_on=_READ_ON,
    rule="trait-name-advised",
    note="The SDK drops longer names; what the server does is not documented, so we warn.",
)

LIMITS: Final = Limits(
    user_id=_limit(rule="user-id-length"),
    name=_limit(rule="name-length"),
    email=_limit(rule="email-length"),
    trait_name=_limit(rule="trait-name-length"),
    trait_value=_limit(rule="trait-value-length"),
    trait_name_advised=ADVISED_NAME,
)
