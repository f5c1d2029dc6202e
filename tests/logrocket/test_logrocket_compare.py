"""What LogRocket holds of a user, compared with what it would be sent."""

from typing import Any

import orjson
from exchanges import run

from replay_identity import REMOVE, LogRocket, Misconfigured, Rejected, Unknown, UserTraits, Violation
from replay_identity.adapters.exchange import Response
from replay_identity.adapters.protocols import Comparison, SupportsCompare
from replay_identity.outcomes import Failure

BACKEND = LogRocket("org:app:secret")


def compare(user: UserTraits, **shown: Any) -> Comparison | Failure:
    """Compare *user* with what LogRocket has *shown*."""
    response = Response(200, body=orjson.dumps({"userID": "u1", "traits": {}, **shown}))
    result, requests = run(BACKEND.compare(user), response)
    assert [(request.method, request.body) for request in requests] == [("PUT", b'{"traits":{}}')]
    return result


def test_it_is_compared_by_a_write() -> None:
    """The caller can ask first."""
    assert isinstance(BACKEND, SupportsCompare)
    assert BACKEND.compare_writes


def test_values_are_compared_as_they_are_sent() -> None:
    """As texts, flat; one that is removed or blank is absent or blank."""
    user = UserTraits("u1", name="Ada", traits={"seats": 43, "company": {"size": 3}, "old": REMOVE, "older": REMOVE})

    found = compare(user, name="Ada", traits={"seats": "43", "company.size": "3", "old": ""})

    assert found == Comparison("logrocket")


def test_each_path_is_told_by_what_is_wrong_with_it() -> None:
    """A trait that was to be removed is one too many."""
    user = UserTraits("u1", name="Ada", email="a@example.com", traits={"plan": "pro", "seats": 1, "old": REMOVE})

    found = compare(user, name="Bob", traits={"plan": "free", "old": "x"})

    assert found == Comparison(
        "logrocket", differing=("name", "traits.plan"), absent=("email", "traits.seats"), extra=("traits.old",)
    )


def test_a_user_of_whom_nothing_is_shown_is_missing() -> None:
    """The PUT itself may have made them."""
    assert compare(UserTraits("u1", name="Ada")) == Comparison("logrocket", missing=True)


def test_a_user_of_whom_nothing_is_wanted_is_not_missing() -> None:
    """There is nothing that LogRocket should hold."""
    assert compare(UserTraits("u1")) == Comparison("logrocket")


def test_another_user_is_no_answer() -> None:
    """The reply must be about the user asked for."""
    assert compare(UserTraits("u1"), userID="u2") == Unknown("logrocket", "the vendor shows another user")


def test_a_failure_is_handed_on() -> None:
    """A wrong key, for example."""
    found, _ = run(BACKEND.compare(UserTraits("u1")), Response(401))

    assert isinstance(found, Misconfigured)


def test_whom_logrocket_would_not_get_is_rejected() -> None:
    """Nobody is asked about them."""
    rejected = Rejected("logrocket", (Violation("user_id", "anonymous-user"),))

    assert run(BACKEND.compare(UserTraits(name="Ada"))) == (rejected, [])
