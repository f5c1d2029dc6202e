from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity import REMOVE, Adjustment, LogRocket, UserTraits, Violation
from replay_identity.adapters import Plan
from replay_identity.logrocket.payload import number_as_js

STRICT = LogRocket("acme:shop:s3cret")
LENIENT = LogRocket("acme:shop:s3cret", on_violation="adapt")
BOTH = pytest.mark.parametrize("backend", [STRICT, LENIENT])
# One kilobyte in each unit: LogRocket's own SDK counts UTF-16 units.
MOST = pytest.mark.parametrize("most", ["a" * 1024, "é" * 1024, "日" * 1024, "😀" * 512])


def plan_of(traits: dict[str, Any], *, backend: LogRocket = STRICT) -> Plan:
    """Return the plan for a user with these *traits*."""
    return backend.plan(UserTraits("u1", traits=traits))


def body_of(plan: Plan) -> dict[str, Any]:
    """Return the JSON that would be sent."""
    assert plan.request is not None, plan.violations
    content: dict[str, Any] = orjson.loads(plan.request.body or b"")
    return content


def test_uses_logrockets_field_names() -> None:
    """Name and e-mail stand next to the traits; absent fields are not sent."""
    moment = datetime(2026, 11, 21, tzinfo=UTC)
    user = UserTraits("u1", name="Ann", email="a@example.com", traits={"plan": "pro"}, observed_at=moment)

    assert body_of(STRICT.plan(user)) == {
        "name": "Ann",
        "email": "a@example.com",
        "timestamp": 1795219200000,
        "traits": {"plan": "pro"},
    }
    assert body_of(STRICT.plan(UserTraits("u1", name="Ann"))) == {"name": "Ann"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (43, "43"),
        (0, "0"),
        (-7, "-7"),
        (2**70, "1180591620717411303424"),
        (9.99, "9.99"),
        (1.0, "1"),
        (0.0, "0"),
        (-0.0, "0"),
        (-1.5, "-1.5"),
        (0.1 + 0.2, "0.30000000000000004"),
        (0.00001, "0.00001"),
        (0.000001, "0.000001"),
        (1.5e-6, "0.0000015"),
        (1e-7, "1e-7"),
        (-1.5e-7, "-1.5e-7"),
        (5e-324, "5e-324"),
        (1e15, "1000000000000000"),
        (1e16, "10000000000000000"),
        (123456789012345680000.0, "123456789012345680000"),
        (1.2345678901234567e20, "123456789012345670000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (Decimal("9.990"), "9.990"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1e-7"), "0.0000001"),
        (Decimal("0.1") ** 30, "0.000000000000000000000000000001"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (date(2014, 3, 11), "2014-03-11"),
        (date(1, 1, 1), "0001-01-01"),
        (datetime(2014, 3, 11, 13, 19, 23, tzinfo=UTC), "2014-03-11T13:19:23Z"),
        (datetime(2014, 3, 11, 15, 19, 23, 5, tzinfo=timezone(timedelta(hours=2))), "2014-03-11T13:19:23.000005Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
        ([], "[]"),
        (["a", 'b"', "é"], '["a","b\\"","é"]'),
        ([1, 1.0, 9.99, 1e21, True, 2**70], "[1,1,9.99,1e+21,true,1180591620717411303424]"),
        ([Decimal("9.990"), UUID(int=7)], '[9.990,"00000000-0000-0000-0000-000000000007"]'),
        ([date(2014, 3, 11), datetime(2014, 3, 11, tzinfo=UTC)], '["2014-03-11","2014-03-11T00:00:00Z"]'),
        ([{"a": 1, "b": [True]}, [["x"]]], '[{"a":1,"b":[true]},[["x"]]]'),
    ],
)
def test_writes_values_as_javascript_does(value: Any, text: str) -> None:
    """There is no True, 1.0 or None, and the coercion is recorded as lossless."""
    plan = plan_of({"t": value})

    assert body_of(plan) == {"traits": {"t": text}}
    assert plan.adjustments == (Adjustment("traits.t", "coerced", "strings-only"),)


def test_a_string_is_sent_unchanged() -> None:
    """There is no adjustment."""
    plan = plan_of({"t": "True", "u": " "})

    assert body_of(plan) == {"traits": {"t": "True", "u": " "}}
    assert plan.adjustments == ()


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_can_be_read_back(number: float) -> None:
    """Like JavaScript, exponents are used from 1e21 and below 1e-6 only."""
    text = number_as_js(number)

    assert float(text) == number
    assert ("e" in text) == (number != 0 and not 1e-6 <= abs(number) < 1e21)
    assert not text.endswith(".0")


def test_a_blank_value_removes_a_trait() -> None:
    """REMOVE does so; an empty string is recorded, since it may not be intended."""
    plan = plan_of({"a": REMOVE, "b": "", "c": {"d": REMOVE}})

    assert body_of(plan) == {"traits": {"a": "", "b": "", "c.d": ""}}
    assert plan.adjustments == (
        Adjustment("traits.b", "removed", "blank-removes"),
        Adjustment("traits.c.d", "flattened", "flat-traits", "c.d"),
    )


def test_nested_traits_are_flattened() -> None:
    """The dotted names are recorded."""
    plan = plan_of({"company": {"size": 5, "tax": {"id": "9"}}})

    assert body_of(plan) == {"traits": {"company.size": "5", "company.tax.id": "9"}}
    assert plan.adjustments == (
        Adjustment("traits.company.size", "flattened", "flat-traits", "company.size"),
        Adjustment("traits.company.size", "coerced", "strings-only"),
        Adjustment("traits.company.tax.id", "flattened", "flat-traits", "company.tax.id"),
    )


@BOTH
@pytest.mark.parametrize(
    ("traits", "path"),
    [
        ({"a.b": "1", "a": {"b": "2"}}, "traits.a.b"),
        ({"a": {"b": "2"}, "a.b": "1"}, "traits.a.b"),
        ({"a": {"b.c": 1, "b": {"c": 2}}}, "traits.a.b.c"),
    ],
)
def test_a_name_collision_is_always_a_violation(backend: LogRocket, traits: Any, path: str) -> None:
    """We cannot choose which value to lose."""
    plan = plan_of(traits, backend=backend)

    assert plan.violations == (Violation(path, "name-collision"),)
    assert plan.request is None


def test_lifts_name_and_email_out_of_the_traits() -> None:
    """LogRocket's own SDK does so."""
    plan = plan_of({"name": "Ann", "email": "a@example.com", "plan": "pro"})

    assert body_of(plan) == {"name": "Ann", "email": "a@example.com", "traits": {"plan": "pro"}}
    assert plan.adjustments == (
        Adjustment("traits.name", "lifted", "name-and-email", "name"),
        Adjustment("traits.email", "lifted", "name-and-email", "email"),
    )


def test_a_nested_name_is_not_lifted() -> None:
    """A company has a name, too."""
    assert body_of(plan_of({"company": {"name": "Acme"}, "name": {"first": "Ann"}})) == {
        "traits": {"company.name": "Acme", "name.first": "Ann"}
    }


def test_a_trait_equal_to_the_field_is_sent_once() -> None:
    """It is lifted onto the field."""
    plan = STRICT.plan(UserTraits("u1", name="Ann", traits={"name": "Ann"}))

    assert body_of(plan) == {"name": "Ann"}
    assert plan.violations == ()


@BOTH
@pytest.mark.parametrize("field", ["name", "email"])
def test_a_trait_that_contradicts_the_field_is_a_violation(backend: LogRocket, field: str) -> None:
    """One field cannot have two values."""
    fields: Any = {field: "one", "traits": {field: "other"}}

    assert backend.plan(UserTraits("u1", **fields)).violations == (Violation(f"traits.{field}", "name-collision"),)


@pytest.mark.parametrize("value", [7, True, REMOVE, ["Ann"]])
@pytest.mark.parametrize("field", ["name", "email"])
def test_a_name_that_is_not_a_string_is_rejected(field: str, value: Any) -> None:
    """With adapt it is dropped, as the SDK does."""
    rejected, dropped = plan_of({field: value}), plan_of({field: value, "plan": "pro"}, backend=LENIENT)

    assert rejected.violations == (Violation(f"traits.{field}", "name-and-email-are-strings"),)
    assert dropped.adjustments == (Adjustment(f"traits.{field}", "dropped", "name-and-email-are-strings"),)
    assert body_of(dropped) == {"traits": {"plan": "pro"}}


def test_a_blank_name_or_email_is_sent_with_a_warning() -> None:
    """LogRocket does not document what it makes of it."""
    plan = STRICT.plan(UserTraits("u1", name="", email=""))

    assert body_of(plan) == {"name": "", "email": ""}
    assert plan.adjustments == (
        Adjustment("name", "warned", "blank-name-or-email"),
        Adjustment("email", "warned", "blank-name-or-email"),
    )


def test_a_blank_name_in_the_traits_is_warned_of() -> None:
    """It is sent in the same field."""
    plan = plan_of({"name": "", "email": ""})

    assert body_of(plan) == {"name": "", "email": ""}
    assert [each.path for each in plan.adjustments if each.rule == "blank-name-or-email"] == [
        "traits.name",
        "traits.email",
    ]


def test_a_trait_named_userid_is_rejected() -> None:
    """With adapt it is dropped: LogRocket would show it next to the real id."""
    rejected, dropped = plan_of({"userID": "7"}), plan_of({"userID": "7", "userid": "8"}, backend=LENIENT)

    assert rejected.violations == (Violation("traits.userID", "reserved-name"),)
    assert dropped.adjustments == (Adjustment("traits.userID", "dropped", "reserved-name"),)
    assert body_of(dropped) == {"traits": {"userid": "8"}}
    assert body_of(plan_of({"a": {"userID": "7"}})) == {"traits": {"a.userID": "7"}}


@pytest.mark.parametrize(
    ("moment", "milliseconds"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(2026, 11, 21, 8, 30, 0, 123456, tzinfo=UTC), 1795249800123),
        (datetime(2026, 11, 21, 8, 30, 0, 999999, tzinfo=UTC), 1795249800999),
        (datetime(2026, 11, 21, 10, 30, tzinfo=timezone(timedelta(hours=2))), 1795249800000),
        (datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC), -1),
        (datetime(1, 1, 1, tzinfo=UTC), -62135596800000),
        (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), 253402300799999),
    ],
)
def test_sends_the_moment_in_milliseconds(moment: datetime, milliseconds: int) -> None:
    """It is exact, also before 1970, and zero is sent."""
    assert body_of(STRICT.plan(UserTraits("u1", observed_at=moment))) == {"timestamp": milliseconds}


@MOST
def test_accepts_values_at_the_limit(most: str) -> None:
    """Every field may have 1,024 UTF-16 units."""
    user = UserTraits(most, name=most, email=most, traits={most: most})

    plan = STRICT.plan(user)

    assert plan.violations == ()
    assert body_of(plan) == {"name": most, "email": most, "traits": {most: most}}


@MOST
def test_rejects_values_over_the_limit(most: str) -> None:
    """Every field has its own rule."""
    over = most + "a"

    plan = STRICT.plan(UserTraits(over, name=over, email=over, traits={"t": over, over: "x"}))

    assert [(v.path, v.rule, v.limit, v.actual, v.unit) for v in plan.violations] == [
        ("user_id", "user-id-length", 1024, 1025, "UTF-16 units"),
        ("name", "name-length", 1024, 1025, "UTF-16 units"),
        ("email", "email-length", 1024, 1025, "UTF-16 units"),
        ("traits.t", "trait-value-length", 1024, 1025, "UTF-16 units"),
        (f"traits.{over}"[:99] + "…", "trait-name-length", 1024, 1025, "UTF-16 units"),
    ]


def test_adapting_truncates_strings_and_drops_the_rest() -> None:
    """Half an address, number, list or name would be another one."""
    over = "a" * 1025
    user = UserTraits("u1", name=over, email=over, traits={"t": over, "l": [over], "n": 10**399, over: 1})

    plan = LENIENT.plan(user)

    assert body_of(plan) == {"name": over[:1024], "traits": {"t": over[:1024], "n": "1" + "0" * 399}}
    assert [(each.kind, each.rule) for each in plan.adjustments] == [
        ("truncated", "name-length"),
        ("dropped", "email-length"),
        ("truncated", "trait-value-length"),
        ("dropped", "trait-value-length"),
        ("coerced", "strings-only"),
        ("dropped", "trait-name-length"),
    ]


def test_adapts_name_and_email_in_the_traits() -> None:
    """They are treated like the user's own fields."""
    over = "a" * 1025

    rejected = plan_of({"name": over, "email": over})
    dropped = plan_of({"name": over, "email": over, "plan": "pro"}, backend=LENIENT)

    assert [violation.rule for violation in rejected.violations] == ["name-length", "email-length"]
    assert [(each.path, each.kind) for each in dropped.adjustments] == [
        ("traits.name", "truncated"),
        ("traits.name", "lifted"),
        ("traits.email", "dropped"),
    ]
    assert body_of(dropped) == {"name": "a" * 1024, "traits": {"plan": "pro"}}


@BOTH
def test_a_long_id_is_always_a_violation(backend: LogRocket) -> None:
    """A shortened id is another id."""
    plan = backend.plan(UserTraits("😀" * 513, name="Ann"))

    assert plan.violations == (Violation("user_id", "user-id-length", 1024, 1026, "UTF-16 units"),)


@pytest.mark.parametrize(
    ("name", "warned"), [("a" * 128, False), ("a" * 129, True), ("é" * 64, False), ("é" * 65, True)]
)
def test_warns_of_a_long_trait_name(name: str, warned: bool) -> None:  # noqa: FBT001
    """LogRocket's SDK drops names of more than 128 bytes; the server is not documented."""
    plan = plan_of({name: "x"})

    assert body_of(plan) == {"traits": {name: "x"}}
    assert [(each.kind, each.rule) for each in plan.adjustments] == [("warned", "trait-name-advised")] * warned


@pytest.mark.parametrize(
    ("traits", "rule"),
    [({"a": {"b": "x" * 1025, "c": 1}}, "trait-value-length"), ({"a" * 1020: {"bcde": 1}}, "trait-name-length")],
)
def test_measures_flattened_names_and_values(traits: dict[str, Any], rule: str) -> None:
    """The dotted name is what is sent."""
    assert [violation.rule for violation in plan_of(traits).violations] == [rule]


def test_rejects_a_trait_without_a_name() -> None:
    """LogRocket does not document what it makes of an empty name."""
    user = UserTraits("u1", traits={"": "x", "plan": "pro"})

    assert LogRocket("a:b:c").plan(user).violations == (Violation("traits.", "empty-name"),)
    assert LogRocket("a:b:c", on_violation="adapt").plan(user).adjustments == (
        Adjustment("traits.", "dropped", "empty-name"),
    )
