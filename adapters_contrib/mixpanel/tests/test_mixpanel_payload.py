from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_identity_mixpanel import Mixpanel

from replay_identity.adapters import REMOVE, Adjustment, Plan, UserTraits, Violation
from replay_identity.testing import user_traits

STRICT = Mixpanel("token-1")
LENIENT = Mixpanel("token-1", on_violation="adapt")
MB = 1_000_000


def updates_of(plan: Plan) -> list[dict[str, Any]]:
    """Return the updates that would be sent."""
    content: list[dict[str, Any]] = orjson.loads(plan.request.body or b"") if plan.request else []
    return content


def set_by(plan: Plan) -> dict[str, Any]:
    """Return the properties that would be set."""
    properties: dict[str, Any] = {}
    for update in updates_of(plan):
        properties.update(update.get("$set", {}))
    return properties


def sizes(plan: Plan) -> list[int]:
    """Return the size of each update in bytes."""
    return [len(orjson.dumps(update)) for update in updates_of(plan)]


@pytest.mark.parametrize(
    ("value", "sent", "rule"),
    [
        ("pro", "pro", None),
        ("", "", None),
        (True, True, None),
        (7, 7, None),
        (2**53, 2**53, None),
        (-(2**53), -(2**53), None),
        (2**53 + 1, "9007199254740993", "int-beyond-53-bits"),
        (-(2**53) - 1, "-9007199254740993", "int-beyond-53-bits"),
        (9.99, 9.99, None),
        (Decimal("9.99"), 9.99, "decimal-as-number"),
        (Decimal("1.00"), 1.0, "decimal-as-number"),
        (Decimal("0.1234567890123456789"), "0.1234567890123456789", "decimal-as-text"),
        (Decimal(2**53 + 1), "9007199254740993", "decimal-as-text"),
        (Decimal("1e400"), "1" + "0" * 400, "decimal-as-text"),
        (Decimal("-1e400"), "-1" + "0" * 400, "decimal-as-text"),
        (datetime(2026, 11, 21, 8, 30, tzinfo=UTC), "2026-11-21T08:30:00", "date-as-iso8601"),
        (datetime(2026, 11, 21, 8, 30, 0, 250_000, tzinfo=UTC), "2026-11-21T08:30:00.250000", "date-as-iso8601"),
        (
            datetime(2026, 11, 21, 8, 30, tzinfo=timezone(timedelta(hours=2))),
            "2026-11-21T06:30:00",
            "date-as-iso8601",
        ),
        (date(2026, 11, 21), "2026-11-21", "date-as-iso8601"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001", "uuid-as-text"),
        (["a", 1, [True]], ["a", 1, [True]], None),
        ([], [], None),
        ([date(2026, 11, 21), date(2026, 11, 22)], ["2026-11-21", "2026-11-22"], "date-as-iso8601"),
    ],
)
def test_each_value_becomes_json_without_loss(value: Any, sent: Any, rule: str | None) -> None:
    """A changed type is recorded once."""
    plan = STRICT.plan(UserTraits("u1", traits={"t": value}))

    assert set_by(plan) == {"t": sent}
    assert type(set_by(plan)["t"]) is type(sent)
    assert plan.adjustments == ((Adjustment("traits.t", "coerced", rule),) if rule else ())


def test_an_object_stays_an_object() -> None:
    """The values in it are encoded too, and recorded by their own paths."""
    plan = STRICT.plan(UserTraits("u1", traits={"o": {"day": date(2026, 11, 21), "in": {"$city": "Rome"}}}))

    assert set_by(plan) == {"o": {"day": "2026-11-21", "in": {"$city": "Rome"}}}
    assert plan.adjustments == (Adjustment("traits.o.day", "coerced", "date-as-iso8601"),)


def test_a_removal_inside_an_object_cannot_be_sent() -> None:
    """Only a whole property can be unset."""
    user = UserTraits("u1", traits={"o": {"kept": 1, "gone": REMOVE}, "empty": {"gone": REMOVE}})

    paths = ("traits.o.gone", "traits.empty.gone")
    assert STRICT.plan(user).violations == tuple(Violation(path, "nested-removal") for path in paths)
    assert set_by(LENIENT.plan(user)) == {"o": {"kept": 1}}
    assert LENIENT.plan(user).adjustments == tuple(Adjustment(path, "dropped", "nested-removal") for path in paths)


@pytest.mark.parametrize("name", ["$name", "$email", "$city", "$distinct_id", "$", "$unset"])
@pytest.mark.parametrize("value", ["x", REMOVE])
def test_mixpanels_own_names_are_rejected(name: str, value: Any) -> None:
    """Set or removed; name and e-mail have their own fields."""
    user = UserTraits("u1", name="Ann", traits={name: value})

    assert STRICT.plan(user).violations == (Violation(f"traits.{name}", "reserved-name"),)
    assert LENIENT.plan(user).adjustments == (Adjustment(f"traits.{name}", "dropped", "reserved-name"),)
    assert [update.get("$set") for update in updates_of(LENIENT.plan(user))] == [{"$name": "Ann"}]


@pytest.mark.parametrize("name", ["$first_name", "$last_name", "$phone", "$avatar", "name", "email", "a.b", "é"])
def test_names_for_applications_are_sent(name: str) -> None:
    """The names that Mixpanel shows, and all that do not begin with a dollar sign."""
    plan = STRICT.plan(UserTraits("u1", traits={name: "x", f"{name}_2": "y"} if name[0] != "$" else {name: "x"}))

    assert set_by(plan)[name] == "x"
    assert plan.adjustments == ()


def test_a_display_field_can_be_removed() -> None:
    """Like any other property."""
    plan = STRICT.plan(UserTraits("u1", traits={"$phone": REMOVE}))

    assert updates_of(plan)[0]["$unset"] == ["$phone"]


def test_an_empty_name_is_rejected() -> None:
    """Mixpanel does not document what it does with it."""
    user = UserTraits("u1", traits={"": "x", "kept": 1})

    assert STRICT.plan(user).violations == (Violation("traits.", "empty-name"),)
    assert set_by(LENIENT.plan(user)) == {"kept": 1}


def test_a_long_name_is_neither_set_nor_removed() -> None:
    """No profile can have it, so removing it would have no effect."""
    user = UserTraits("u1", traits={"n" * 256: REMOVE, "m" * 256: 1, "k" * 255: REMOVE})

    assert {violation.rule for violation in STRICT.plan(user).violations} == {"property-name-length"}
    assert [update.get("$unset") for update in updates_of(LENIENT.plan(user))] == [["k" * 255]]
    assert [adjustment.kind for adjustment in LENIENT.plan(user).adjustments] == ["dropped", "dropped"]


def test_text_is_truncated_and_lists_are_not() -> None:
    """Half a list is another list."""
    user = UserTraits("u1", email="e" * 256_001, traits={"text": "x" * 256_001, "list": [date(2026, 11, 21)] * 30_000})

    plan = LENIENT.plan(user)

    assert set_by(plan) == {"text": "x" * 256_000}
    assert plan.adjustments == (
        Adjustment("email", "dropped", "property-value-size"),
        Adjustment("traits.text", "truncated", "property-value-size"),
        Adjustment("traits.list", "dropped", "property-value-size"),
    )
    assert {violation.path for violation in STRICT.plan(user).violations} == {"email", "traits.text", "traits.list"}


def test_a_list_is_measured_as_compact_json() -> None:
    """256,000 bytes are valid, one more is not."""
    within, over = ["x" * (256_000 - 4)], ["x" * (256_000 - 3)]

    assert set_by(STRICT.plan(UserTraits("u1", traits={"t": within}))) == {"t": within}
    assert STRICT.plan(UserTraits("u1", traits={"t": over})).violations == (
        Violation("traits.t", "property-value-size", 256_000, 256_001, "UTF-8 bytes"),
    )


def test_name_and_email_count_as_properties() -> None:
    """Of 2,001, the last trait is dropped; removals do not count."""
    traits: dict[str, Any] = {f"t{index}": index for index in range(1999)}
    user = UserTraits("u1", name="Ann", email="a@example.com", traits={**traits, "gone": REMOVE})

    plan = LENIENT.plan(user)

    assert STRICT.plan(user).violations == (Violation("traits", "property-count", 2000, 2001, "traits"),)
    assert plan.adjustments == (Adjustment("traits.t1998", "dropped", "property-count"),)
    assert len(set_by(plan)) == 2000
    assert set_by(plan).keys() >= {"$name", "$email", "t1997"}
    assert updates_of(plan)[1]["$unset"] == ["gone"]


def padded(size: int) -> UserTraits:
    """Return a user whose one update has *size* bytes."""
    traits = {name: name * 240_000 for name in "dcba"}
    rest = size - len(orjson.dumps({"$token": "token-1", "$distinct_id": "u1", "$set": {**traits, "z": ""}}))
    return UserTraits("u1", traits={**traits, "z": "z" * rest})


def test_an_update_of_a_megabyte_is_sent() -> None:
    """One byte more is a violation of a largest property; without it the rest is sent."""
    over = padded(MB + 1)

    assert sizes(STRICT.plan(padded(MB))) == [MB]
    assert STRICT.plan(over).violations == (Violation("traits.a", "update-size", MB, MB + 1, "UTF-8 bytes"),)
    assert set_by(LENIENT.plan(over)).keys() == set("dcbz")


def test_too_large_an_update_is_one_violation() -> None:
    """Nothing was dropped, so "nothing-left" does not apply."""
    user = UserTraits("u1", traits={**padded(MB + 1).traits, "day": date(2026, 11, 21)})

    assert [violation.rule for violation in STRICT.plan(user).violations] == ["update-size"]


def test_the_largest_properties_are_dropped_first() -> None:
    """As few as are enough; the name may be one of them."""
    traits = {name: name * 1000 * size for name, size in zip("abcde", (200, 250, 251, 252, 10), strict=True)}
    user = UserTraits("u1", name="N" * 255_000, traits=traits)

    plan = LENIENT.plan(user)

    assert plan.adjustments == (Adjustment("name", "dropped", "update-size"),)
    assert set_by(plan) == traits
    assert max(sizes(plan)) <= MB


def test_removals_over_a_megabyte_are_dropped() -> None:
    """The longest names, until the others fit."""
    user = UserTraits("u1", traits={f"{index:04}" + "😀" * 251: REMOVE for index in range(1200)} | {"short": REMOVE})

    plan = LENIENT.plan(user)

    assert [violation.rule for violation in STRICT.plan(user).violations] == ["update-size"]
    assert MB - 1100 < sizes(plan)[0] <= MB
    assert "short" in updates_of(plan)[0]["$unset"]
    assert len(plan.adjustments) + len(updates_of(plan)[0]["$unset"]) == 1201


def test_a_long_id_can_leave_no_room() -> None:
    """Everything is dropped, and recorded."""
    plan = LENIENT.plan(UserTraits("u" * (MB - 1000), traits={"t": "x" * 2000}))

    assert plan.adjustments == (Adjustment("traits.t", "dropped", "update-size"),)
    assert plan.violations == (Violation("traits", "nothing-left"),)


@pytest.mark.parametrize("backend", [STRICT, LENIENT], ids=["reject", "adapt"])
@pytest.mark.parametrize("value", ["v", REMOVE])
def test_an_id_that_fills_an_update_is_rejected(backend: Mixpanel, value: Any) -> None:
    """A truncated id would be another user."""
    plan = backend.plan(UserTraits("u" * MB, traits={"t": value}))

    assert [(violation.path, violation.rule) for violation in plan.violations] == [("user_id", "update-size")]
    assert plan.request is None


@given(user=user_traits(), token=st.sampled_from(["t", "x" * 32]))
def test_nothing_over_a_limit_is_ever_sent(user: UserTraits, token: str) -> None:
    """Whether rejecting or adapting, measured on the JSON alone."""
    for on_violation in ("reject", "adapt"):
        plan = Mixpanel(token, on_violation=on_violation).plan(user)
        for update in updates_of(plan):
            assert len(orjson.dumps(update)) <= MB
            assert (update["$token"], update["$distinct_id"]) == (token, user.user_id)
            assert len(update) == 3
            names = [*update.get("$set", {}), *update.get("$unset", [])]
            assert 0 < len(names) <= 2000
            assert all(0 < len(name) <= 255 for name in names)


@given(user=user_traits())
def test_no_property_is_set_and_removed(user: UserTraits) -> None:
    """So the result does not depend on the order in which Mixpanel applies them."""
    updates = updates_of(LENIENT.plan(user))

    operations = [next(iter(update.keys() - {"$token", "$distinct_id"})) for update in updates]
    assert operations == sorted(set(operations))
    if len(updates) == 2:
        assert updates[0]["$set"].keys().isdisjoint(updates[1]["$unset"])
