"""The fields of a Fullstory plan, and requests with some of them."""

from collections.abc import Collection
from datetime import date
from typing import Any, Final

import orjson
import pytest

from replay_identity import Fullstory, UserTraits
from replay_identity.adapters import SupportsPartialUpdate

BACKEND: Final = Fullstory("na1.key")
LENIENT: Final = Fullstory("na1.key", on_violation="adapt")
ANN: Final = UserTraits(
    "u1",
    name="Ann",
    email="ann@example.com",
    traits={
        "plan": "pro",
        "seats": 3,
        "since": date(2026, 11, 21),
        "tags": ["a", "b"],
        "company": {"size": 7, "city": "Oslo", "since": date(2020, 1, 1), "floors": [1, 2]},
        "team": {"name": "Blue"},
    },
    vendor_ids={"fullstory": "7"},
)
FIELDS: Final = {
    "display_name": "Ann",
    "email": "ann@example.com",
    "properties.plan": "pro",
    "properties.seats": 3,
    "properties.since": ["2026-11-21", ["date"]],
    "properties.tags": ["a", "b"],
    "properties.company": [
        {"size": 7, "city": "Oslo", "since": "2020-01-01", "floors": [1, 2]},
        {"company.since": "date", "company.floors": "ints"},
    ],
    "properties.team": {"name": "Blue"},
}


def as_json(value: object) -> Any:
    """Return *value* as it is after it was sent as JSON."""
    return orjson.loads(orjson.dumps(value, option=orjson.OPT_UTC_Z))


def sent(user: UserTraits, only: Collection[str] | None, *, batched: bool) -> dict[str, Any]:
    """Return the JSON that is sent for *user*."""
    content = BACKEND.encode_for_batch(user, only=only).content if batched else None
    request = BACKEND.plan(user, only=only).request
    assert request is not None
    body: dict[str, Any] = orjson.loads(content or request.body or b"")
    return body


def test_fields_are_by_fullstorys_names() -> None:
    """A nested object is one field, and a type that JSON does not show is part of the value; the ids belong to none."""
    assert as_json(BACKEND.plan(ANN).fields) == FIELDS


def test_batch_has_the_fields_of_the_plan() -> None:
    """A user may be sent in either way."""
    assert BACKEND.encode_for_batch(ANN).fields == BACKEND.plan(ANN).fields


def test_two_names_that_adapt_are_one_field() -> None:
    """Fullstory stores them at one place."""
    first = LENIENT.plan(UserTraits("u1", traits={"my plan": "pro"}))
    second = LENIENT.plan(UserTraits("u1", traits={"my-plan": "pro"}))

    assert first.fields == second.fields == {"properties.my_plan": "pro"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (UserTraits("u1", traits={"a": 1}), UserTraits("u1", traits={"a": 1.0})),
        (UserTraits("u1", traits={"a": 1.0}), UserTraits("u1", traits={"a": True})),
        (UserTraits("u1", traits={"a": date(2026, 1, 1)}), UserTraits("u1", traits={"a": "2026-01-01"})),
        (UserTraits("u1", traits={"a": date(2026, 1, 1)}), UserTraits("u1", traits={"a": ["2026-01-01", "date"]})),
        (UserTraits("u1", traits={"a": {"b": 1}}), UserTraits("u1", traits={"a": {"b": 1.0}})),
    ],
)
def test_other_type_is_another_value(first: UserTraits, second: UserTraits) -> None:
    """Fullstory would store another property."""
    assert orjson.dumps(BACKEND.plan(first).fields) != orjson.dumps(BACKEND.plan(second).fields)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ((), {}),
        (["email"], {"email": "ann@example.com"}),
        ({"properties.plan", "display_name"}, {"display_name": "Ann", "properties": {"plan": "pro"}}),
        ({"properties.seats"}, {"properties": {"seats": 3}, "schema": {"properties": {"seats": "int"}}}),
        (
            {"properties.company", "properties.unknown", "uid"},
            {
                "properties": {"company": {"size": 7, "city": "Oslo", "since": "2020-01-01", "floors": [1, 2]}},
                "schema": {"properties": {"company.size": "int", "company.since": "date", "company.floors": "ints"}},
            },
        ),
    ],
)
def test_request_holds_only_the_named_fields(only: Collection[str], expected: dict[str, Any], batched: bool) -> None:  # noqa: FBT001
    """The ids stay, and a property's types go with it."""
    ids = {"uid": "u1", "id": "7"} if batched else {"uid": "u1"}

    assert sent(ANN, only, batched=batched) == {**ids, **expected}


@pytest.mark.parametrize("batched", [False, True])
def test_all_names_make_the_same_request(batched: bool) -> None:  # noqa: FBT001
    """A partial update with every field is the whole one."""
    assert sent(ANN, FIELDS, batched=batched) == sent(ANN, None, batched=batched)


def test_partial_plan_is_about_the_whole_user() -> None:
    """Its fields, adjustments and violations are."""
    large = UserTraits("u1", traits={"plan": "pro", "note": "x" * 9000})

    plan, whole = LENIENT.plan(large, only={"properties.plan"}), LENIENT.plan(large)

    assert (plan.fields, plan.adjustments) == (whole.fields, whole.adjustments)
    assert BACKEND.plan(large, only={"properties.plan"}).violations
    assert BACKEND.encode_for_batch(large, only={"properties.plan"}).violations


def test_bare_id_is_a_user_without_fields() -> None:
    """The request creates the user."""
    plan = BACKEND.plan(UserTraits("u1"))

    assert plan.request is not None
    assert plan.fields == {}


def test_rejected_user_has_no_fields() -> None:
    """Nothing is sent."""
    user = UserTraits("u1", traits={"my plan": "pro"})

    assert BACKEND.plan(user).fields is None
    assert BACKEND.encode_for_batch(user).fields is None


def test_plans_hide_their_fields() -> None:
    """They are values of a user."""
    assert "Oslo" not in f"{BACKEND.plan(ANN)!r} {BACKEND.encode_for_batch(ANN)!r}"


def test_fullstory_updates_partially() -> None:
    """Bulk asks for the protocol."""
    assert isinstance(BACKEND, SupportsPartialUpdate)
