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
    """Return how large each update is."""
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
def test_a_value_becomes_json_without_a_loss(value: Any, sent: Any, rule: str | None) -> None:
    """As the type that Mixpanel tells apart; what changes its type is on record, once."""
    plan = STRICT.plan(UserTraits("u1", traits={"t": value}))

    assert set_by(plan) == {"t": sent}
    assert type(set_by(plan)["t"]) is type(sent)
    assert plan.adjustments == ((Adjustment("traits.t", "coerced", rule),) if rule else ())


def test_an_object_stays_an_object() -> None:
    """With everything in it worded likewise, and on record by its own path."""
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
def test_a_name_of_mixpanels_own_is_refused(name: str, value: Any) -> None:
    """Whether it is set or removed; name and e-mail have fields of their own."""
    user = UserTraits("u1", name="Ann", traits={name: value})

    assert STRICT.plan(user).violations == (Violation(f"traits.{name}", "reserved-name"),)
    assert LENIENT.plan(user).adjustments == (Adjustment(f"traits.{name}", "dropped", "reserved-name"),)
    assert [update.get("$set") for update in updates_of(LENIENT.plan(user))] == [{"$name": "Ann"}]


@pytest.mark.parametrize("name", ["$first_name", "$last_name", "$phone", "$avatar", "name", "email", "a.b", "é"])
def test_a_name_that_an_application_may_use_is_sent(name: str) -> None:
    """The fields that Mixpanel shows of a person, and whatever does not begin with a dollar sign."""
    plan = STRICT.plan(UserTraits("u1", traits={name: "x", f"{name}_2": "y"} if name[0] != "$" else {name: "x"}))

    assert set_by(plan)[name] == "x"
    assert plan.adjustments == ()


def test_a_display_field_can_be_removed() -> None:
    """As any other property."""
    plan = STRICT.plan(UserTraits("u1", traits={"$phone": REMOVE}))

    assert updates_of(plan)[0]["$unset"] == ["$phone"]


def test_a_property_has_a_name() -> None:
    """What Mixpanel makes of an empty one is not documented."""
    user = UserTraits("u1", traits={"": "x", "kept": 1})

    assert STRICT.plan(user).violations == (Violation("traits.", "empty-name"),)
    assert set_by(LENIENT.plan(user)) == {"kept": 1}


def test_a_long_name_is_neither_set_nor_removed() -> None:
    """A removal of a name that no profile has would be lost."""
    user = UserTraits("u1", traits={"n" * 256: REMOVE, "m" * 256: 1, "k" * 255: REMOVE})

    assert {violation.rule for violation in STRICT.plan(user).violations} == {"property-name-length"}
    assert [update.get("$unset") for update in updates_of(LENIENT.plan(user))] == [["k" * 255]]
    assert [each.kind for each in LENIENT.plan(user).adjustments] == ["dropped", "dropped"]


def test_a_text_is_cut_and_a_list_is_not() -> None:
    """Half a list is another list."""
    user = UserTraits("u1", email="e" * 256_001, traits={"text": "x" * 256_001, "list": [date(2026, 11, 21)] * 30_000})

    plan = LENIENT.plan(user)

    assert set_by(plan) == {"text": "x" * 256_000}
    assert plan.adjustments == (
        Adjustment("email", "dropped", "property-value-size"),
        Adjustment("traits.text", "truncated", "property-value-size"),
        Adjustment("traits.list", "dropped", "property-value-size"),
    )
    assert {each.path for each in STRICT.plan(user).violations} == {"email", "traits.text", "traits.list"}


def test_a_list_is_measured_as_compact_json() -> None:
    """256,000 bytes are allowed, and one more is not."""
    within, over = ["x" * (256_000 - 4)], ["x" * (256_000 - 3)]

    assert set_by(STRICT.plan(UserTraits("u1", traits={"t": within}))) == {"t": within}
    assert STRICT.plan(UserTraits("u1", traits={"t": over})).violations == (
        Violation("traits.t", "property-value-size", 256_000, 256_001, "UTF-8 bytes"),
    )


def test_name_and_email_count_as_properties_and_are_kept() -> None:
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
    """Return a user whose one update has so many bytes."""
    traits = {name: name * 240_000 for name in "dcba"}
    rest = size - len(orjson.dumps({"$token": "token-1", "$distinct_id": "u1", "$set": {**traits, "z": ""}}))
    return UserTraits("u1", traits={**traits, "z": "z" * rest})


def test_an_update_of_a_megabyte_is_sent() -> None:
    """One byte more is refused, by the name of a largest property; without it the rest is sent."""
    over = padded(MB + 1)

    assert sizes(STRICT.plan(padded(MB))) == [MB]
    assert STRICT.plan(over).violations == (Violation("traits.a", "update-size", MB, MB + 1, "UTF-8 bytes"),)
    assert set_by(LENIENT.plan(over)).keys() == set("dcbz")


def test_what_is_too_large_breaks_one_rule() -> None:
    """Nothing was dropped, so that there is no talk of what would be left."""
    user = UserTraits("u1", traits={**padded(MB + 1).traits, "day": date(2026, 11, 21)})

    assert [violation.rule for violation in STRICT.plan(user).violations] == ["update-size"]


def test_the_largest_properties_of_too_large_an_update_are_dropped() -> None:
    """As few as are enough, the name among them if it must be."""
    traits = {name: name * 1000 * size for name, size in zip("abcde", (200, 250, 251, 252, 10), strict=True)}
    user = UserTraits("u1", name="N" * 255_000, traits=traits)

    plan = LENIENT.plan(user)

    assert plan.adjustments == (Adjustment("name", "dropped", "update-size"),)
    assert set_by(plan) == traits
    assert max(sizes(plan)) <= MB


def test_removals_of_more_than_a_megabyte_are_dropped() -> None:
    """The largest names, until the others fit."""
    user = UserTraits("u1", traits={f"{index:04}" + "😀" * 251: REMOVE for index in range(1200)} | {"short": REMOVE})

    plan = LENIENT.plan(user)

    assert [violation.rule for violation in STRICT.plan(user).violations] == ["update-size"]
    assert MB - 1100 < sizes(plan)[0] <= MB
    assert "short" in updates_of(plan)[0]["$unset"]
    assert len(plan.adjustments) + len(updates_of(plan)[0]["$unset"]) == 1201


def test_beside_a_long_id_there_may_be_room_for_nothing() -> None:
    """All is dropped, and that is said."""
    plan = LENIENT.plan(UserTraits("u" * (MB - 1000), traits={"t": "x" * 2000}))

    assert plan.adjustments == (Adjustment("traits.t", "dropped", "update-size"),)
    assert plan.violations == (Violation("traits", "nothing-left"),)


@pytest.mark.parametrize("backend", [STRICT, LENIENT], ids=["reject", "adapt"])
@pytest.mark.parametrize("value", ["v", REMOVE])
def test_an_id_that_fills_an_update_is_refused(backend: Mixpanel, value: Any) -> None:
    """Half of it would be another user."""
    plan = backend.plan(UserTraits("u" * MB, traits={"t": value}))

    assert [(each.path, each.rule) for each in plan.violations] == [("user_id", "update-size")]
    assert plan.request is None


@given(user=user_traits(), token=st.sampled_from(["t", "x" * 32]))
def test_nothing_over_a_limit_is_ever_sent(user: UserTraits, token: str) -> None:
    """Whether we refuse or adapt, read off the JSON alone."""
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
def test_what_is_set_is_not_removed(user: UserTraits) -> None:
    """So that nothing depends on the order in which Mixpanel applies the two."""
    updates = updates_of(LENIENT.plan(user))

    operations = [next(iter(update.keys() - {"$token", "$distinct_id"})) for update in updates]
    assert operations == sorted(set(operations))
    if len(updates) == 2:
        assert updates[0]["$set"].keys().isdisjoint(updates[1]["$unset"])
