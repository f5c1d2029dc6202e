"""Compare what Fullstory stores with what it would be sent."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from support.exchanges import run

from replay_identity import Fullstory, Misconfigured, Rejected, UserTraits, Violation
from replay_identity.adapters import Comparison, Response, SupportsCompare
from replay_identity.outcomes import Failure

BACKEND = Fullstory("na1.key")
MOMENT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


def compare(user: UserTraits, **stored: Any) -> Comparison | Failure:
    """Compare *user* with *stored*, as Fullstory shows it."""
    stored_user = {"id": "7", "uid": "u1", **stored}
    result, requests = run(BACKEND.compare(user), Response(200, body=orjson.dumps({"results": [stored_user]})))
    assert [request.method for request in requests] == ["GET"]
    return result


def test_comparing_does_not_write() -> None:
    """No confirmation is needed."""
    assert isinstance(BACKEND, SupportsCompare)
    assert not BACKEND.compare_writes


@pytest.mark.parametrize(
    ("expected", "stored"),
    [
        (1, 1.0),
        (MOMENT, "2026-11-21T08:30:00+00:00"),
        (MOMENT, "2026-11-21T09:30:00+01:00"),
        (MOMENT.date(), "2026-11-21T00:00:00Z"),
        ([MOMENT], ["2026-11-21T08:30:00+00:00"]),
        (["a", "b"], ["a", "b"]),
        ({"size": 3}, {"size": 3}),
        ("", None),
    ],
)
def test_equal_values_may_be_written_differently(expected: Any, stored: Any) -> None:
    """Numbers and dates are compared by value."""
    assert compare(UserTraits("u1", traits={"it": expected}), properties={"it": stored}) == Comparison("fullstory")


@pytest.mark.parametrize(
    ("expected", "stored"),
    [
        (1, True),
        (True, 1),
        ("1", 1),
        ("a", "A"),
        (["a", "b"], ["b", "a"]),
        (["a"], ["a", "b"]),
        (["a"], "a"),
        (MOMENT, "soon"),
        ("2026-11-21T08:30:00Z", "2026-11-21T08:30:00+00:00"),
    ],
)
def test_a_different_value_is_reported_by_path(expected: Any, stored: Any) -> None:
    """Strings are compared exactly, lists item by item."""
    comparison = compare(UserTraits("u1", traits={"it": expected}), properties={"it": stored})

    assert comparison == Comparison("fullstory", differing=("traits.it",))


def test_reports_differing_absent_and_extra_paths() -> None:
    """Nested names are dotted; name and e-mail are the user's own."""
    user = UserTraits("u1", name="Ada", email="a@example.com", traits={"company": {"size": 3, "city": "Bern"}})

    comparison = compare(user, display_name="Bob", properties={"company": {"size": 4}, "plan": "pro"})

    assert comparison == Comparison(
        "fullstory",
        differing=("name", "traits.company.size"),
        absent=("email", "traits.company.city"),
        extra=("traits.plan",),
    )


def test_adapted_values_are_compared_as_sent() -> None:
    """A renamed trait is compared under its new name."""
    adapting = Fullstory("na1.key", on_violation="adapt")
    stored_user = {"id": "7", "uid": "u1", "properties": {"sign_up": "x"}}

    comparison, _ = run(
        adapting.compare(UserTraits("u1", traits={"sign-up": "x"})),
        Response(200, body=orjson.dumps({"results": [stored_user]})),
    )

    assert comparison == Comparison("fullstory")


def test_a_user_who_is_being_deleted_is_missing() -> None:
    """They will be gone soon."""
    assert compare(UserTraits("u1"), is_being_deleted=True) == Comparison("fullstory", missing=True)


def test_an_unknown_user_is_missing() -> None:
    """Fullstory lists no user with that id."""
    comparison, _ = run(BACKEND.compare(UserTraits("u1")), Response(200, body=b'{"results": []}'))

    assert comparison == Comparison("fullstory", missing=True)


def test_a_failure_is_returned() -> None:
    """The key may not be allowed to read, for example."""
    comparison, _ = run(BACKEND.compare(UserTraits("u1")), Response(401))

    assert isinstance(comparison, Misconfigured)


@pytest.mark.parametrize(
    ("user", "violation"),
    [
        (UserTraits("u1", traits={"sign-up": 1}), Violation("traits.sign-up", "property-name")),
        (UserTraits(traits={"plan": "pro"}), Violation("user_id", "anonymous-user")),
    ],
)
def test_a_user_with_a_violation_is_rejected(user: UserTraits, violation: Violation) -> None:
    """Nothing is requested for them."""
    assert run(BACKEND.compare(user)) == (Rejected("fullstory", (violation,)), [])
