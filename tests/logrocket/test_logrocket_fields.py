"""The fields of a LogRocket plan, and requests with some of them."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import pytest

from replay_identity import REMOVE, LogRocket, UserTraits
from replay_identity.adapters import Plan, SupportsPartialUpdate

BACKEND: Final = LogRocket("org:app:secret")
ANN: Final = UserTraits(
    "u1",
    name="Ann",
    email="ann@example.com",
    traits={"plan": "pro", "seats": 3, "gone": REMOVE, "company": {"size": 7, "city": "Oslo"}},
    observed_at=datetime(2026, 11, 21, tzinfo=UTC),
)
FIELDS: Final = {
    "name": "Ann",
    "email": "ann@example.com",
    "traits.plan": "pro",
    "traits.seats": "3",
    "traits.gone": "",
    "traits.company.size": "7",
    "traits.company.city": "Oslo",
}


def body(plan: Plan) -> dict[str, Any]:
    """Return the JSON that *plan* sends."""
    assert plan.request is not None
    content: dict[str, Any] = orjson.loads(plan.request.body or b"")
    return content


def test_fields_are_by_logrockets_names() -> None:
    """A removal is the blank that removes; the time belongs to no field."""
    assert BACKEND.plan(ANN).fields == FIELDS


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (UserTraits("u1", email="a@b.c"), UserTraits("u1", traits={"email": "a@b.c"})),
        (UserTraits("u1", name="Ann"), UserTraits("u1", traits={"name": "Ann"})),
        (UserTraits("u1", traits={"a": {"x": 1}}), UserTraits("u1", traits={"a.x": "1"})),
        (UserTraits("u1", traits={"a": REMOVE}), UserTraits("u1", traits={"a": ""})),
    ],
)
def test_two_spellings_are_one_field(first: UserTraits, second: UserTraits) -> None:
    """LogRocket stores them at one place."""
    assert BACKEND.plan(first).fields == BACKEND.plan(second).fields


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ({"email"}, {"email": "ann@example.com"}),
        (["name", "traits.company.size"], {"name": "Ann", "traits": {"company.size": "7"}}),
        (frozenset({"traits.gone", "traits.unknown"}), {"traits": {"gone": ""}}),
    ],
)
def test_request_holds_only_the_named_fields(only: Collection[str], expected: dict[str, Any]) -> None:
    """The time stays; the fields and the adjustments are those of the whole user."""
    plan, whole = BACKEND.plan(ANN, only=only), BACKEND.plan(ANN)

    assert body(plan) == {**expected, "timestamp": 1795219200000}
    assert (plan.fields, plan.adjustments) == (whole.fields, whole.adjustments)


def test_all_names_make_the_same_request() -> None:
    """A partial update with every field is the whole one."""
    assert body(BACKEND.plan(ANN, only=FIELDS)) == body(BACKEND.plan(ANN))


@pytest.mark.parametrize("only", [(), {"plan"}, {"timestamp"}])
def test_no_named_field_makes_no_request(only: Collection[str]) -> None:
    """A time alone would tell LogRocket nothing."""
    plan = BACKEND.plan(ANN, only=only)

    assert plan.request is None
    assert plan.fields == FIELDS


def test_rejected_user_has_no_fields() -> None:
    """Nothing is sent, whatever is asked for."""
    plan = BACKEND.plan(UserTraits(None, name="Ann"), only={"name"})

    assert plan.violations
    assert (plan.request, plan.fields) == (None, None)


def test_plan_hides_its_fields() -> None:
    """They are values of a user."""
    assert "Ann" not in repr(BACKEND.plan(ANN))


def test_logrocket_updates_partially() -> None:
    """Bulk asks for the protocol."""
    assert isinstance(BACKEND, SupportsPartialUpdate)
