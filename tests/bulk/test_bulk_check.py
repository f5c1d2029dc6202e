"""Outcomes of users without sending anything."""

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
from replay_identity.adapters import Exchange, Limits, Plan
from replay_identity.bulk import check, check_user
from replay_identity.logrocket.limits import LIMITS
from replay_identity.outcomes import Outcome, SkipReason

BACKENDS = (Fullstory("na1.key"), LogRocket("org:app:secret"))


@attrs.frozen
class Faulty:
    """A backend whose plan raises."""

    name: str = "faulty"
    account: str = "acme.example"
    encoding: str = "1"

    @property
    def limits(self) -> Limits:
        """Return any limits."""
        return LIMITS

    def plan(self, user: UserTraits, /) -> Plan:
        """Raise an error that quotes the user."""
        raise KeyError(user.user_id)

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Raise."""
        raise NotImplementedError(user)


def test_returns_one_outcome_per_backend() -> None:
    """One accepts the user with an adjustment, the other rejects it."""
    user = UserTraits("u1", traits={"feature-flag": 1})

    assert check_user(user, BACKENDS) == (
        Rejected("fullstory", (Violation("traits.feature-flag", "property-name"),)),
        Accepted("logrocket", adjustments=(Adjustment("traits.feature-flag", "coerced", "strings-only"),)),
    )


def test_skips_a_user_without_traits() -> None:
    """LogRocket would get no request."""
    assert check_user(UserTraits("u1"), BACKENDS)[1] == Skipped("logrocket", SkipReason.NOTHING_TO_SEND)


def test_applies_routes() -> None:
    """A hidden trait breaks no limit."""
    user = UserTraits("u1", traits={"feature-flag": 1})
    kept = Route(BACKENDS[0], exclude={"feature-flag"})
    closed = Route(BACKENDS[0], when=lambda _: False)

    outcomes = check_user(user, [kept, closed])

    assert outcomes == (Accepted("fullstory"), Skipped("fullstory", SkipReason.FILTERED))


def test_a_bug_in_one_adapter_affects_no_other() -> None:
    """It is reported by its type, because its message may quote the user."""
    outcomes = check_user(UserTraits("canary-7Q"), [Faulty(), BACKENDS[0]])

    assert outcomes == (Broken("faulty", "KeyError"), Accepted("fullstory"))


def test_counts_outcomes_of_many_users() -> None:
    """The users may come from any iterable."""
    stats = check((UserTraits("u" * length) for length in (1, 256, 257, 1025)), BACKENDS)

    assert stats.users == 4
    assert [(backend.accepted, backend.rejected, backend.skipped) for backend in stats.backends.values()] == [
        (2, 2, 0),
        (0, 1, 3),
    ]
