"""Compare what LogRocket stores with what it would be sent."""

from typing import Any

import orjson
import pytest
from support.exchanges import run

from replay_identity import REMOVE, LogRocket, Misconfigured, Rejected, Unknown, UserTraits, Violation
from replay_identity.adapters import Comparison, Response, SupportsCompare
from replay_identity.outcomes import Failure

BACKEND = LogRocket("org:app:secret")


def compare(user: UserTraits, **stored: Any) -> Comparison | Failure:
    """Compare *user* with *stored*, as LogRocket shows it."""
    response = Response(200, body=orjson.dumps({"userID": "u1", "traits": {}, **stored}))
    result, requests = run(BACKEND.compare(user), response)
    assert [(request.method, request.body) for request in requests] == [("PUT", b'{"traits":{}}')]
    return result


def test_comparing_writes() -> None:
    """The caller can ask for confirmation first."""
    assert isinstance(BACKEND, SupportsCompare)
    assert BACKEND.compare_writes


def test_compares_values_as_sent() -> None:
    """They are flat strings; a removed or blank one is absent or blank."""
    user = UserTraits("u1", name="Ada", traits={"seats": 43, "company": {"size": 3}, "old": REMOVE, "older": REMOVE})

    comparison = compare(user, name="Ada", traits={"seats": "43", "company.size": "3", "old": ""})

    assert comparison == Comparison("logrocket")


def test_reports_differing_absent_and_extra_paths() -> None:
    """A trait that should have been removed is extra."""
    user = UserTraits("u1", name="Ada", email="a@example.com", traits={"plan": "pro", "seats": 1, "old": REMOVE})

    comparison = compare(user, name="Bob", traits={"plan": "free", "old": "x"})

    assert comparison == Comparison(
        "logrocket", differing=("name", "traits.plan"), absent=("email", "traits.seats"), extra=("traits.old",)
    )


def test_a_user_without_values_is_missing() -> None:
    """The PUT itself may have created the user."""
    assert compare(UserTraits("u1", name="Ada")) == Comparison("logrocket", missing=True)


def test_a_user_expected_to_be_empty_is_not_missing() -> None:
    """LogRocket should store no value."""
    assert compare(UserTraits("u1")) == Comparison("logrocket")


def test_another_user_is_unknown() -> None:
    """The response must be about the requested user."""
    assert compare(UserTraits("u1"), userID="u2") == Unknown("logrocket", "the vendor shows another user")


def test_numeric_id_is_the_users() -> None:
    """LogRocket may take the digits for a number."""
    response = Response(200, body=b'{"userID": 42, "name": "Ada"}')

    assert run(BACKEND.compare(UserTraits("42", name="Ada")), response)[0] == Comparison("logrocket")


@pytest.mark.parametrize("response", [Response(200), Response(204), Response(200, body=b"{}")])
def test_comparing_needs_the_user(response: Response) -> None:
    """A success that shows nothing says nothing about what is stored."""
    comparison, _ = run(BACKEND.compare(UserTraits("u1", name="Ada")), response)

    assert isinstance(comparison, Unknown)


def test_a_failure_is_returned() -> None:
    """The key may be wrong, for example."""
    comparison, _ = run(BACKEND.compare(UserTraits("u1")), Response(401))

    assert isinstance(comparison, Misconfigured)


def test_a_user_with_a_violation_is_rejected() -> None:
    """Nothing is requested for them."""
    rejected = Rejected("logrocket", (Violation("user_id", "anonymous-user"),))

    assert run(BACKEND.compare(UserTraits(name="Ada"))) == (rejected, [])
