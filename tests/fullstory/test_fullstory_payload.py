from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest

from replay_identity import REMOVE, Adjustment, Fullstory, UserTraits, Violation
from replay_identity.adapters import Plan
from replay_identity.fullstory.properties import are_valid_names, is_valid_name

STRICT = Fullstory("na1.key")
LENIENT = Fullstory("na1.key", on_violation="adapt")
MOMENT = datetime(2014, 3, 11, 15, 19, 23, tzinfo=timezone(timedelta(hours=2)))


def plan_of(traits: dict[str, Any], types: Any = None, *, backend: Fullstory = STRICT) -> Plan:
    """Return the plan for a user with these *traits*."""
    return backend.plan(UserTraits("u1", traits=traits, types=types or {}))


def body_of(plan: Plan) -> dict[str, Any]:
    """Return the JSON that would be sent."""
    assert plan.request is not None, plan.violations
    content: dict[str, Any] = orjson.loads(plan.request.body or b"")
    return content


def test_uses_fullstorys_field_names() -> None:
    """Absent fields are not sent."""
    user = UserTraits("u1", name="Ann", email="donotreply@fullstory", traits={"plan": "pro"})

    assert body_of(STRICT.plan(user)) == {
        "uid": "u1",
        "display_name": "Ann",
        "email": "donotreply@fullstory",
        "properties": {"plan": "pro"},
    }
    assert body_of(STRICT.plan(UserTraits("u1"))) == {"uid": "u1"}
    assert body_of(STRICT.plan(UserTraits())) == {}


@pytest.mark.parametrize(
    ("value", "encoded", "declared"),
    [
        ("pro", "pro", None),
        ("2014-03-11", "2014-03-11", None),
        ("", "", None),
        (43, 43, "int"),
        (0, 0, "int"),
        (2**63 - 1, 2**63 - 1, "int"),
        (-(2**63), -(2**63), "int"),
        (9.99, 9.99, None),
        (1.0, 1.0, None),
        (True, True, None),
        (False, False, None),
        (MOMENT, "2014-03-11T13:19:23Z", "date"),
        (MOMENT.replace(microsecond=5000), "2014-03-11T13:19:23.005000Z", "date"),
        (date(2014, 3, 11), "2014-03-11", "date"),
        (date(1, 1, 1), "0001-01-01", "date"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z", "date"),
        (Decimal("9.99"), 9.99, None),
        (Decimal(3), 3.0, None),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007", None),
        (["a", "b"], ["a", "b"], None),
        ([], [], None),
        ([1, 2], [1, 2], "ints"),
        ([1.5, 2.5], [1.5, 2.5], None),
        ([1, 2.5], [1, 2.5], None),
        ([1, Decimal("2.5")], [1, 2.5], None),
        ([True, False], [True, False], None),
        ([date(2014, 3, 11), MOMENT], ["2014-03-11", "2014-03-11T13:19:23Z"], "dates"),
        (["a", UUID(int=7)], ["a", "00000000-0000-0000-0000-000000000007"], None),
    ],
)
def test_declares_types_that_json_lacks(value: Any, encoded: Any, declared: str | None) -> None:
    """Undeclared ints would become reals, and dates strings."""
    body = body_of(plan_of({"t": value}))

    assert body["properties"] == {"t": encoded}
    assert type(body["properties"]["t"]) is type(encoded)
    assert body.get("schema") == (None if declared is None else {"properties": {"t": declared}})


def test_records_only_coerced_values() -> None:
    """Strings, numbers and bools are sent unchanged."""
    same = {"s": "x", "i": 1, "r": 1.5, "b": True, "l": ["x", "y"]}

    plan = plan_of({**same, "d": MOMENT, "e": MOMENT.date(), "n": Decimal("9.99"), "u": UUID(int=7)})

    assert plan.adjustments == (
        Adjustment("traits.d", "coerced", "date-as-iso8601"),
        Adjustment("traits.e", "coerced", "date-as-iso8601"),
        Adjustment("traits.n", "coerced", "decimal-as-real"),
        Adjustment("traits.u", "coerced", "uuid-as-text"),
    )


def test_a_nested_int_is_declared_by_its_dotted_path() -> None:
    """The server API uses dotted paths; the browser API nests instead."""
    body = body_of(plan_of({"location": {"code": 43, "deep": {"days": [1]}}, "plan": "pro"}))

    assert body["properties"] == {"location": {"code": 43, "deep": {"days": [1]}}, "plan": "pro"}
    assert body["schema"] == {"properties": {"location.code": "int", "location.deep.days": "ints"}}


@pytest.mark.parametrize(
    ("value", "declared", "encoded"),
    [
        ("x", "str", "x"),
        (3, "int", 3),
        (3, "real", 3),
        (1.5, "real", 1.5),
        (True, "bool", True),
        (date(2014, 3, 11), "date", "2014-03-11"),
        ("2014-03-11T13:19:23Z", "date", "2014-03-11T13:19:23Z"),
        ("2023-03-14T20:30:19+0000", "date", "2023-03-14T20:30:19+0000"),
        (UUID(int=7), "str", "00000000-0000-0000-0000-000000000007"),
        (["x"], "strs", ["x"]),
        ([], "ints", []),
        ([1, 2], "reals", [1, 2]),
        ([1, 2], "ints", [1, 2]),
        ([True], "bools", [True]),
        (["2014-03-11"], "dates", ["2014-03-11"]),
    ],
)
def test_sends_declared_types(value: Any, declared: str, encoded: Any) -> None:
    """It does not matter what Fullstory would infer."""
    body = body_of(plan_of({"a": {"t": value}}, {"a.t": declared}))

    assert body["properties"] == {"a": {"t": encoded}}
    assert body["schema"] == {"properties": {"a.t": declared}}


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        ("x", "int"),
        ("3", "int"),
        (1.5, "int"),
        (1.0, "int"),
        (True, "int"),
        (1, "bool"),
        (1, "str"),
        ("yesterday", "date"),
        (20140311, "date"),
        ("x", "strs"),
        (["x"], "str"),
        ([1, "x"], "ints"),
        ([[1]], "ints"),
        ([1.5], "ints"),
        (["x"], "dates"),
    ],
)
def test_a_value_must_have_its_declared_type(value: Any, declared: str) -> None:
    """Otherwise it is rejected or dropped: Fullstory's behaviour is not documented."""
    rejected = plan_of({"t": value}, {"t": declared})
    dropped = plan_of({"t": value}, {"t": declared}, backend=LENIENT)

    assert rejected.violations == (Violation("traits.t", "declared-type"),)
    assert dropped.adjustments == (Adjustment("traits.t", "dropped", "declared-type"),)
    assert body_of(dropped) == {"uid": "u1"}


def test_types_of_absent_traits_are_not_sent() -> None:
    """One schema may serve many users."""
    assert "schema" not in body_of(plan_of({"t": "x"}, {"other": "int", "t.u": "int"}))


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (REMOVE, "cannot-remove"),
        (2**63, "int-range"),
        (-(2**63) - 1, "int-range"),
        ([2**63], "int-range"),
        (Decimal("1e400"), "real-range"),
        ([Decimal("1e400"), 1.5], "real-range"),
        ([[1], [2]], "list-of-scalars"),
        ([{"a": 1}], "list-of-scalars"),
        ([1, "x"], "list-of-one-type"),
        ([1, True], "list-of-one-type"),
        (["x", date(2014, 3, 11)], "list-of-one-type"),
    ],
)
def test_an_unsupported_value_is_rejected_or_dropped(value: Any, rule: str) -> None:
    """No type is declared for it."""
    rejected = plan_of({"t": value})
    dropped = plan_of({"t": value, "u": "x"}, backend=LENIENT)

    assert Violation("traits.t", rule) in rejected.violations
    assert rejected.request is None
    assert Adjustment("traits.t", "dropped", rule) in dropped.adjustments
    assert body_of(dropped) == {"uid": "u1", "properties": {"u": "x"}}


def test_removing_a_declared_trait_violates_cannot_remove() -> None:
    """REMOVE has no type that could be wrong."""
    assert plan_of({"t": REMOVE}, {"t": "int"}).violations == (Violation("traits.t", "cannot-remove"),)


@pytest.mark.parametrize("value", [Decimal("1." + "0" * 30 + "1"), Decimal("1e-400"), Decimal(2**53 + 1)])
def test_a_decimal_beyond_real_precision_is_rejected(value: Decimal) -> None:
    """With adapt, the nearest real is sent and the loss recorded."""
    rejected = plan_of({"t": value})
    lenient = plan_of({"t": value}, backend=LENIENT)

    assert rejected.violations == (Violation("traits.t", "real-precision"),)
    assert lenient.adjustments == (Adjustment("traits.t", "truncated", "real-precision"),)
    assert body_of(lenient)["properties"] == {"t": float(value)}


@pytest.mark.parametrize(
    "name", ["plan", "Plan_2", "a", "signed_up_date", "signed_up_d_str", "typeSuffixed_bool", "a" * 512]
)
def test_a_valid_name_is_sent_unchanged(name: str) -> None:
    """Names with the type suffixes of older APIs are valid names too."""
    assert body_of(plan_of({name: "x"}))["properties"] == {name: "x"}


@pytest.mark.parametrize(
    ("name", "new_name"),
    [
        ("first-name", "first_name"),
        ("first name", "first_name"),
        ("a.b", "a_b"),
        ("größe", "gr__e"),
        ("1st", "p_1st"),
        ("_x", "p__x"),
        ("", "p_"),
        ("日", "p__"),
        ("plan\n", "plan_"),
        ("a" * 200 + "-", "a" * 200 + "_"),
    ],
)
def test_an_invalid_name_is_rejected_or_renamed(name: str, new_name: str) -> None:
    """The adjustment has the new name."""
    rejected = plan_of({"ok": {name: 1}})
    renamed = plan_of({"ok": {name: 1}}, backend=LENIENT)

    assert [violation.rule for violation in rejected.violations] == ["property-name"]
    assert [(each.kind, each.rule) for each in renamed.adjustments] == [("renamed", "property-name")]
    assert body_of(renamed)["properties"] == {"ok": {new_name: 1}}
    assert body_of(renamed)["schema"] == {"properties": {f"ok.{new_name}": "int"}}


def test_records_the_new_dotted_name() -> None:
    """The parents' names are the ones sent."""
    plan = plan_of({"a b": {"c-d": "x"}}, backend=LENIENT)

    assert plan.adjustments == (
        Adjustment("traits.a b", "renamed", "property-name", "a_b"),
        Adjustment("traits.a b.c-d", "renamed", "property-name", "a_b.c_d"),
    )


@pytest.mark.parametrize("backend", [STRICT, LENIENT])
def test_types_refer_to_the_given_names(backend: Fullstory) -> None:
    """They are sent with the new names."""
    plan = plan_of({"a b": 3}, {"a b": "real"}, backend=backend)

    if plan.request:
        assert body_of(plan)["schema"] == {"properties": {"a_b": "real"}}
    assert (plan.request is None) == (backend is STRICT)


@pytest.mark.parametrize(
    ("traits", "path"),
    [
        ({"a_b": 1, "a b": 2}, "traits.a b"),
        ({"a b": 1, "a-b": 2}, "traits.a-b"),
        ({"x": {"a_b": 1, "a.b": 2}}, "traits.x.a.b"),
        ({"a b": {"c": 1}, "a_b": {"d": 2}}, "traits.a_b"),
    ],
)
def test_a_name_collision_is_always_a_violation(traits: dict[str, Any], path: str) -> None:
    """We cannot choose which value to lose."""
    assert plan_of(traits, backend=LENIENT).violations == (Violation(path, "name-collision"),)


def test_measures_the_whole_dotted_name() -> None:
    """512 characters include all parents and dots."""
    just, over = {"a" * 255: {"b" * 256: "x"}}, {"a" * 256: {"b" * 256: "x"}}

    rejected, dropped = plan_of(over), plan_of(over, backend=LENIENT)

    assert body_of(plan_of(just))["properties"] == just
    assert [(v.rule, v.limit, v.actual, v.unit) for v in rejected.violations] == [
        ("property-name-length", 512, 513, "characters")
    ]
    assert [(each.kind, each.rule) for each in dropped.adjustments] == [("dropped", "property-name-length")]
    assert body_of(dropped) == {"uid": "u1"}


@pytest.mark.parametrize("unit", ["a", "é", "日", "😀"])
def test_measures_values_in_bytes(unit: str) -> None:
    """8,192 bytes are allowed."""
    most = unit * (8192 // len(unit.encode()))

    rejected, cut = plan_of({"t": most + unit}), plan_of({"t": most + unit}, backend=LENIENT)

    assert body_of(plan_of({"t": most}))["properties"] == {"t": most}
    size = len((most + unit).encode())
    assert rejected.violations == (Violation("traits.t", "property-value-size", 8192, size, "UTF-8 bytes"),)
    assert cut.adjustments == (Adjustment("traits.t", "truncated", "property-value-size"),)
    assert body_of(cut)["properties"] == {"t": most}


def test_a_long_list_is_dropped_as_a_whole() -> None:
    """It is measured as JSON; half of it would be another list."""
    most = ["a" * 97] * 81 + ["a" * 88]
    assert len(orjson.dumps(most)) == 8192

    rejected, dropped = plan_of({"t": [*most, ""]}), plan_of({"t": [*most, ""]}, backend=LENIENT)

    assert body_of(plan_of({"t": most}))["properties"] == {"t": most}
    assert rejected.violations == (Violation("traits.t", "property-value-size", 8192, 8195, "UTF-8 bytes"),)
    assert dropped.adjustments == (Adjustment("traits.t", "dropped", "property-value-size"),)
    assert body_of(dropped) == {"uid": "u1"}


def test_a_large_object_is_dropped_as_a_whole() -> None:
    """It is measured as JSON; types of its values are not declared then."""
    large = {f"t{number}": "a" * 4000 for number in range(3)} | {"n": 1}

    rejected, dropped = plan_of({"o": large}), plan_of({"o": large, "u": "x"}, backend=LENIENT)

    assert [violation.rule for violation in rejected.violations] == ["property-value-size"]
    assert [(each.path, each.kind) for each in dropped.adjustments] == [("traits.o", "dropped")]
    assert body_of(dropped) == {"uid": "u1", "properties": {"u": "x"}}


@pytest.mark.parametrize(
    ("field", "sent_as", "most", "rule"),
    [("name", "display_name", 256, "display-name-length"), ("email", "email", 128, "email-length")],
)
def test_measures_name_and_email_in_characters(field: Any, sent_as: str, most: int, rule: str) -> None:
    """An emoji is one character, and the maximum is allowed."""
    just: Any = {field: "😀" * most}
    over: Any = {field: "😀" * (most + 1)}

    rejected = STRICT.plan(UserTraits("u1", **over))

    assert body_of(STRICT.plan(UserTraits("u1", **just)))[sent_as] == "😀" * most
    assert rejected.violations == (Violation(field, rule, most, most + 1, "characters"),)


def test_truncates_a_long_name_and_drops_a_long_email() -> None:
    """Half an e-mail address is another address."""
    plan = LENIENT.plan(UserTraits("u1", name="n" * 300, email="e" * 300))

    assert body_of(plan) == {"uid": "u1", "display_name": "n" * 256}
    assert plan.adjustments == (
        Adjustment("name", "truncated", "display-name-length"),
        Adjustment("email", "dropped", "email-length"),
    )


@pytest.mark.parametrize("backend", [STRICT, LENIENT])
def test_a_long_uid_is_always_a_violation(backend: Fullstory) -> None:
    """A shortened id is another id."""
    assert body_of(backend.plan(UserTraits("é" * 256)))["uid"] == "é" * 256
    assert backend.plan(UserTraits("é" * 257)).violations == (
        Violation("user_id", "uid-length", 256, 257, "characters"),
    )


def test_five_hundred_properties_are_allowed() -> None:
    """With adapt, the last ones beyond 500 are dropped."""
    most = {f"t{number}": "x" for number in range(499)} | {"o": {"a": "x"}}

    rejected = plan_of({**most, "u": 1})
    dropped = plan_of({**most, "u": "x", "v": {"w": 1}}, backend=LENIENT)

    assert body_of(plan_of(most))["properties"] == most
    assert rejected.violations == (Violation("traits", "property-count", 500, 501, "traits"),)
    assert body_of(dropped)["properties"] == most
    assert [(each.path, each.rule) for each in dropped.adjustments] == [
        ("traits.u", "property-count"),
        ("traits.v", "property-count"),
    ]


def test_counts_nested_properties_one_by_one() -> None:
    """An object itself does not count."""
    traits = {"o": {f"t{number}": "x" for number in range(300)}, "p": {f"t{number}": "x" for number in range(300)}}

    rejected, dropped = plan_of(traits), plan_of(traits, backend=LENIENT)

    assert rejected.violations == (Violation("traits", "property-count", 500, 600, "traits"),)
    assert sum(len(each) for each in body_of(dropped)["properties"].values()) == 500
    assert len(dropped.adjustments) == 100


def test_reports_all_violations_at_once() -> None:
    """They can be fixed in one round."""
    user = UserTraits("u" * 257, email="e" * 129, traits={"a-b": 1, "c": "x" * 9000, "d": REMOVE})

    rules = [violation.rule for violation in STRICT.plan(user).violations]

    assert rules == ["uid-length", "email-length", "property-name", "property-value-size", "cannot-remove"]


@pytest.mark.parametrize(
    "parents",
    [("p" * 128, "p" * 128, "p" * 125), ("p" * 128, "p" * 128, "p" * 126), ("p" * 128, "p" * 128, "p" * 127)],
)
@pytest.mark.parametrize("name", ["n" * 127, "n" * 128, "n" * 129])
def test_the_name_limit_holds_for_any_nesting(parents: tuple[str, ...], name: str) -> None:
    """Valid parts may share the length in any way."""
    traits: dict[str, Any] = {name: 1}
    for parent in reversed(parents):
        traits = {parent: traits}
    path = ".".join([*parents, name])

    plan = plan_of(traits)

    assert bool(plan.violations) == (len(path) > 512)
    if not plan.violations:
        assert body_of(plan)["schema"] == {"properties": {path: "int"}}


def test_validity_does_not_depend_on_the_cache() -> None:
    """A full cache is emptied and filled again."""
    for start in range(0, 12_000, 3_000):
        names = [f"t{number}" for number in range(start, start + 3_000)]
        assert are_valid_names(names)
        assert not are_valid_names([*names, "a-b"])
    assert not are_valid_names([f"t{number}" for number in range(5_000)])
    assert is_valid_name("t1")
    assert not is_valid_name("a-b")
    assert are_valid_names(["a" * 128])
    assert not are_valid_names(["a" * 129])


def test_encodes_more_names_than_the_cache_holds() -> None:
    """It only takes longer."""
    traits = {f"n{number}": number for number in range(5_000)}

    plan = plan_of(traits)

    assert plan.violations == (Violation("traits", "property-count", 500, 5000, "traits"),)
