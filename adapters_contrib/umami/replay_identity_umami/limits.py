"""The limits of Umami's database; Umami itself publishes none."""

from datetime import date
from functools import partial
from typing import Final

from replay_identity.adapters import Limit, Limits, Unit

_limit = partial(
    Limit,
    unit=Unit.CHARACTERS,
    source="https://github.com/umami-software/umami/tree/c0ea3aef",
    read_on=date(2026, 11, 21),
    note="The width of the column in 3.1.0, tested with PostgreSQL 15, which counts code points.",
)

USER_ID: Final = _limit(maximum=50, rule="user-id-length")
NAME: Final = _limit(maximum=500, rule="name-length")
EMAIL: Final = _limit(maximum=500, rule="email-length")
TRAIT_NAME: Final = _limit(maximum=500, rule="trait-name-length")
TRAIT_VALUE: Final = _limit(maximum=500, rule="trait-value-length")
MAX_USERS: Final = _limit(
    maximum=100,
    unit=Unit.USERS,
    rule="batch-users",
    note="Our policy: Umami has no limit, but writes about 50 users a second in sequence, and responds at the end.",
)

LIMITS: Final = Limits(user_id=USER_ID, name=NAME, email=EMAIL, trait_name=TRAIT_NAME, trait_value=TRAIT_VALUE)
