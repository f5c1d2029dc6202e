"""What vendors would make of users, without asking them."""

import attrs

from replay_identity import (
    Accepted,
    Adjustment,
    Broken,
    Fullstory,
    LogRocket,
    Rejected,
    Route,
    Skipped,
    UserTraits,
    Violation,
)
from replay_identity.adapters.exchange import Exchange
from replay_identity.adapters.limits import Limits
from replay_identity.adapters.protocols import Plan
from replay_identity.bulk.dry_runs import check, check_user
from replay_identity.logrocket.limits import LIMITS
from replay_identity.outcomes import Outcome, SkipReason

BACKENDS = (Fullstory("na1.key"), LogRocket("org:app:secret"))


@attrs.frozen
class Faulty:
    """A backend whose plan fails."""

    name: str = "faulty"

    @property
    def limits(self) -> Limits:
        """Return any limits."""
        return LIMITS

    def plan(self, user: UserTraits, /) -> Plan:
        """Fail, and quote the user."""
        raise KeyError(user.user_id)

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Fail."""
        raise NotImplementedError(user)


def test_each_vendor_tells_what_it_would_do() -> None:
    """One takes the user with an adjustment, the other refuses."""
    user = UserTraits("u1", traits={"feature-flag": 1})

    assert check_user(user, BACKENDS) == (
        Rejected("fullstory", (Violation("traits.feature-flag", "property-name"),)),
        Accepted("logrocket", adjustments=(Adjustment("traits.feature-flag", "coerced", "strings-only"),)),
    )


def test_a_user_with_nothing_to_say_is_skipped() -> None:
    """LogRocket would not be asked."""
    assert check_user(UserTraits("u1"), BACKENDS)[1] == Skipped("logrocket", SkipReason.NOTHING_TO_SEND)


def test_a_route_is_checked_as_it_would_send() -> None:
    """What it keeps from the vendor breaks no limit there."""
    user = UserTraits("u1", traits={"feature-flag": 1})
    kept = Route(BACKENDS[0], exclude={"feature-flag"})
    closed = Route(BACKENDS[0], when=lambda _: False)

    outcomes = check_user(user, [kept, closed])

    assert outcomes == (Accepted("fullstory"), Skipped("fullstory", SkipReason.FILTERED))


def test_one_adapters_bug_does_not_hide_anothers_answer() -> None:
    """It is named by its kind, for its text may quote the user."""
    outcomes = check_user(UserTraits("canary-7Q"), [Faulty(), BACKENDS[0]])

    assert outcomes == (Broken("faulty", "KeyError"), Accepted("fullstory"))


def test_users_are_counted() -> None:
    """As many as there are, and as they come."""
    stats = check((UserTraits("u" * length) for length in (1, 256, 257, 1025)), BACKENDS)

    assert stats.users == 4
    assert [(backend.accepted, backend.rejected, backend.skipped) for backend in stats.backends.values()] == [
        (2, 2, 0),
        (0, 1, 3),
    ]
