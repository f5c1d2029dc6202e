"""What Fullstory holds of a user, compared with what it would be sent."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from exchanges import run

from replay_identity import Fullstory, Misconfigured, Rejected, UserTraits, Violation
from replay_identity.adapters.exchange import Response
from replay_identity.adapters.protocols import Comparison, SupportsCompare
from replay_identity.outcomes import Failure

BACKEND = Fullstory("na1.key")
MOMENT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


def compare(user: UserTraits, **stored: Any) -> Comparison | Failure:
    """Compare *user* with what Fullstory shows as *stored*."""
    shown = {"id": "7", "uid": "u1", **stored}
    result, requests = run(BACKEND.compare(user), Response(200, body=orjson.dumps({"results": [shown]})))
    assert [request.method for request in requests] == ["GET"]
    return result


def test_it_is_compared_without_a_write() -> None:
    """So nobody needs to be asked first."""
    assert isinstance(BACKEND, SupportsCompare)
    assert not BACKEND.compare_writes


@pytest.mark.parametrize(
    ("wanted", "held"),
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
def test_one_value_written_otherwise_is_the_same(wanted: Any, held: Any) -> None:
    """A number is a number, and a date a moment."""
    assert compare(UserTraits("u1", traits={"it": wanted}), properties={"it": held}) == Comparison("fullstory")


@pytest.mark.parametrize(
    ("wanted", "held"),
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
def test_another_value_is_told_by_its_path(wanted: Any, held: Any) -> None:
    """Texts are compared exactly, lists item by item."""
    found = compare(UserTraits("u1", traits={"it": wanted}), properties={"it": held})

    assert found == Comparison("fullstory", differing=("traits.it",))


def test_each_path_is_told_by_what_is_wrong_with_it() -> None:
    """Nested ones are dotted; name and e-mail are the user's own."""
    user = UserTraits("u1", name="Ada", email="a@example.com", traits={"company": {"size": 3, "city": "Bern"}})

    found = compare(user, display_name="Bob", properties={"company": {"size": 4}, "plan": "pro"})

    assert found == Comparison(
        "fullstory",
        differing=("name", "traits.company.size"),
        absent=("email", "traits.company.city"),
        extra=("traits.plan",),
    )


def test_what_is_mended_is_no_difference() -> None:
    """A name that is sent as another is compared as that."""
    adapting = Fullstory("na1.key", on_violation="adapt")
    shown = {"id": "7", "uid": "u1", "properties": {"sign_up": "x"}}

    found, _ = run(
        adapting.compare(UserTraits("u1", traits={"sign-up": "x"})),
        Response(200, body=orjson.dumps({"results": [shown]})),
    )

    assert found == Comparison("fullstory")


def test_a_user_who_is_being_deleted_is_missing() -> None:
    """They are as good as gone."""
    assert compare(UserTraits("u1"), is_being_deleted=True) == Comparison("fullstory", missing=True)


def test_a_user_who_is_not_there_is_missing() -> None:
    """The vendor shows no user of that id."""
    found, _ = run(BACKEND.compare(UserTraits("u1")), Response(200, body=b'{"results": []}'))

    assert found == Comparison("fullstory", missing=True)


def test_a_failure_is_handed_on() -> None:
    """A key that may not read, for example."""
    found, _ = run(BACKEND.compare(UserTraits("u1")), Response(401))

    assert isinstance(found, Misconfigured)


@pytest.mark.parametrize(
    ("user", "violation"),
    [
        (UserTraits("u1", traits={"sign-up": 1}), Violation("traits.sign-up", "property-name")),
        (UserTraits(traits={"plan": "pro"}), Violation("user_id", "anonymous-user")),
    ],
)
def test_whom_fullstory_would_not_get_is_rejected(user: UserTraits, violation: Violation) -> None:
    """Nobody is asked about them."""
    assert run(BACKEND.compare(user)) == (Rejected("fullstory", (violation,)), [])
