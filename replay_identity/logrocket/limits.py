"""LogRocket's published limits on users."""

from datetime import date
from functools import partial
from typing import Final

from ..adapters.limits import Limit, Limits, Unit

_READ_ON: Final = date(2026, 11, 21)
# "Max: 1024 characters" twice, "less than 1024" once; LogRocket's own SDK allows 1024 and counts UTF-16 units.
_limit = partial(
    Limit,
    maximum=1024,
    unit=Unit.UTF16_UNITS,
    source="https://docs.logrocket.com/docs/user-identification-api",
    read_on=_READ_ON,
    note="@logrocket/react-native 3.4.0 counts in this unit and allows 1,024 itself.",
)

USER_ID: Final = _limit(rule="user-id-length")
NAME: Final = _limit(rule="name-length")
EMAIL: Final = _limit(rule="email-length")
TRAIT_NAME: Final = _limit(rule="trait-name-length")
TRAIT_VALUE: Final = _limit(rule="trait-value-length")
ADVISED_NAME: Final = Limit(
    maximum=128,
    unit=Unit.UTF8_BYTES,
    source="npm @logrocket/react-native 3.4.0, dist/build.js",
    read_on=_READ_ON,
    rule="trait-name-advised",
    note="The SDK drops longer names. What the server does is not documented, so we warn.",
)

LIMITS: Final = Limits(
    user_id=USER_ID,
    name=NAME,
    email=EMAIL,
    trait_name=TRAIT_NAME,
    trait_value=TRAIT_VALUE,
    trait_name_advised=ADVISED_NAME,
)
