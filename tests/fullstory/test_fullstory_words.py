from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest

from replay_identity import REMOVE, Adjustment, Fullstory, UserTraits, Violation
from replay_identity.adapters.protocols import Plan
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


def test_a_user_is_sent_under_fullstorys_own_names() -> None:
    """Nothing is sent that was not given."""
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
    ("value", "word", "declared"),
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
def test_a_value_keeps_its_type(value: Any, word: Any, declared: str | None) -> None:
    """What JSON cannot tell is declared: ints, which would become reals, and dates, which would become strings."""
    body = body_of(plan_of({"t": value}))

    assert body["properties"] == {"t": word}
    assert type(body["properties"]["t"]) is type(word)
    assert body.get("schema") == (None if declared is None else {"properties": {"t": declared}})


def test_only_what_is_written_differently_is_on_record() -> None:
    """A string, a number and a bool are sent as they are."""
    same = {"s": "x", "i": 1, "r": 1.5, "b": True, "l": ["x", "y"]}

    plan = plan_of({**same, "d": MOMENT, "e": MOMENT.date(), "n": Decimal("9.99"), "u": UUID(int=7)})

    assert plan.adjustments == (
        Adjustment("traits.d", "coerced", "date-as-iso8601"),
        Adjustment("traits.e", "coerced", "date-as-iso8601"),
        Adjustment("traits.n", "coerced", "decimal-as-real"),
        Adjustment("traits.u", "coerced", "uuid-as-text"),
    )


def test_a_nested_int_is_declared_by_its_dotted_path() -> None:
    """A flattened path selector, as the server has it; the browser API nests instead."""
    body = body_of(plan_of({"location": {"code": 43, "deep": {"days": [1]}}, "plan": "pro"}))

    assert body["properties"] == {"location": {"code": 43, "deep": {"days": [1]}}, "plan": "pro"}
    assert body["schema"] == {"properties": {"location.code": "int", "location.deep.days": "ints"}}


@pytest.mark.parametrize(
    ("value", "declared", "word"),
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
def test_a_declared_type_is_declared(value: Any, declared: str, word: Any) -> None:
    """Whether Fullstory would infer it or not."""
    body = body_of(plan_of({"a": {"t": value}}, {"a.t": declared}))

    assert body["properties"] == {"a": {"t": word}}
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
def test_a_value_that_is_not_of_its_declared_type_is_refused(value: Any, declared: str) -> None:
    """Or dropped: what Fullstory would make of it is not documented."""
    rejected = plan_of({"t": value}, {"t": declared})
    dropped = plan_of({"t": value}, {"t": declared}, backend=LENIENT)

    assert rejected.violations == (Violation("traits.t", "declared-type"),)
    assert dropped.adjustments == (Adjustment("traits.t", "dropped", "declared-type"),)
    assert body_of(dropped) == {"uid": "u1"}


def test_types_of_traits_that_are_not_sent_are_not_declared() -> None:
    """A schema may be longer than one user's traits."""
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
def test_what_fullstory_cannot_hold_is_refused(value: Any, rule: str) -> None:
    """Or dropped, and nothing is declared for it."""
    rejected = plan_of({"t": value})
    dropped = plan_of({"t": value, "u": "x"}, backend=LENIENT)

    assert Violation("traits.t", rule) in rejected.violations
    assert rejected.request is None
    assert Adjustment("traits.t", "dropped", rule) in dropped.adjustments
    assert body_of(dropped) == {"uid": "u1", "properties": {"u": "x"}}


def test_removing_a_trait_of_a_declared_type_says_that_nothing_can_be_removed() -> None:
    """REMOVE is of no type, so that is not what is wrong with it."""
    assert plan_of({"t": REMOVE}, {"t": "int"}).violations == (Violation("traits.t", "cannot-remove"),)


@pytest.mark.parametrize("value", [Decimal("1." + "0" * 30 + "1"), Decimal("1e-400"), Decimal(2**53 + 1)])
def test_a_decimal_that_no_real_is_equal_to_is_refused(value: Decimal) -> None:
    """Or sent as the nearest, and that is on record as a loss."""
    rejected = plan_of({"t": value})
    mended = plan_of({"t": value}, backend=LENIENT)

    assert rejected.violations == (Violation("traits.t", "real-precision"),)
    assert mended.adjustments == (Adjustment("traits.t", "truncated", "real-precision"),)
    assert body_of(mended)["properties"] == {"t": float(value)}


@pytest.mark.parametrize(
    "name", ["plan", "Plan_2", "a", "signed_up_date", "signed_up_d_str", "typeSuffixed_bool", "a" * 512]
)
def test_a_legal_name_is_sent_as_it_is(name: str) -> None:
    """Letters, digits and underscores, and suffixes of old are no suffixes any more."""
    assert body_of(plan_of({name: "x"}))["properties"] == {name: "x"}


@pytest.mark.parametrize(
    ("name", "mended"),
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
def test_an_illegal_name_is_refused(name: str, mended: str) -> None:
    """Or made legal, which is on record with the new name."""
    rejected = plan_of({"ok": {name: 1}})
    renamed = plan_of({"ok": {name: 1}}, backend=LENIENT)

    assert [violation.rule for violation in rejected.violations] == ["property-name"]
    assert [(each.kind, each.rule) for each in renamed.adjustments] == [("renamed", "property-name")]
    assert body_of(renamed)["properties"] == {"ok": {mended: 1}}
    assert body_of(renamed)["schema"] == {"properties": {f"ok.{mended}": "int"}}


def test_the_new_name_is_on_record() -> None:
    """Dotted with its parents as they are sent."""
    plan = plan_of({"a b": {"c-d": "x"}}, backend=LENIENT)

    assert plan.adjustments == (
        Adjustment("traits.a b", "renamed", "property-name", "a_b"),
        Adjustment("traits.a b.c-d", "renamed", "property-name", "a_b.c_d"),
    )


@pytest.mark.parametrize("backend", [STRICT, LENIENT])
def test_a_type_is_declared_by_the_name_that_was_given(backend: Fullstory) -> None:
    """And sent under the name that is sent."""
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
def test_two_names_that_become_one_are_always_a_violation(traits: dict[str, Any], path: str) -> None:
    """Which of the two would be lost is not for us to say."""
    assert plan_of(traits, backend=LENIENT).violations == (Violation(path, "name-collision"),)


def test_a_dotted_name_is_measured_whole() -> None:
    """Five hundred and twelve characters with all parents and dots."""
    just, over = {"a" * 255: {"b" * 256: "x"}}, {"a" * 256: {"b" * 256: "x"}}

    rejected, dropped = plan_of(over), plan_of(over, backend=LENIENT)

    assert body_of(plan_of(just))["properties"] == just
    assert [(v.rule, v.limit, v.actual, v.unit) for v in rejected.violations] == [
        ("property-name-length", 512, 513, "characters")
    ]
    assert [(each.kind, each.rule) for each in dropped.adjustments] == [("dropped", "property-name-length")]
    assert body_of(dropped) == {"uid": "u1"}


@pytest.mark.parametrize("unit", ["a", "é", "日", "😀"])
def test_a_value_is_measured_in_bytes(unit: str) -> None:
    """8,192 of them are allowed."""
    most = unit * (8192 // len(unit.encode()))

    rejected, cut = plan_of({"t": most + unit}), plan_of({"t": most + unit}, backend=LENIENT)

    assert body_of(plan_of({"t": most}))["properties"] == {"t": most}
    size = len((most + unit).encode())
    assert rejected.violations == (Violation("traits.t", "property-value-size", 8192, size, "UTF-8 bytes"),)
    assert cut.adjustments == (Adjustment("traits.t", "truncated", "property-value-size"),)
    assert body_of(cut)["properties"] == {"t": most}


def test_a_list_is_measured_as_json_and_kept_whole() -> None:
    """Half a list would be another one."""
    most = ["a" * 97] * 81 + ["a" * 88]
    assert len(orjson.dumps(most)) == 8192

    rejected, dropped = plan_of({"t": [*most, ""]}), plan_of({"t": [*most, ""]}, backend=LENIENT)

    assert body_of(plan_of({"t": most}))["properties"] == {"t": most}
    assert rejected.violations == (Violation("traits.t", "property-value-size", 8192, 8195, "UTF-8 bytes"),)
    assert dropped.adjustments == (Adjustment("traits.t", "dropped", "property-value-size"),)
    assert body_of(dropped) == {"uid": "u1"}


def test_a_nested_object_is_measured_as_json_and_kept_whole() -> None:
    """It is one property's value; its parts are not declared when it is not sent."""
    large = {f"t{number}": "a" * 4000 for number in range(3)} | {"n": 1}

    rejected, dropped = plan_of({"o": large}), plan_of({"o": large, "u": "x"}, backend=LENIENT)

    assert [violation.rule for violation in rejected.violations] == ["property-value-size"]
    assert [(each.path, each.kind) for each in dropped.adjustments] == [("traits.o", "dropped")]
    assert body_of(dropped) == {"uid": "u1", "properties": {"u": "x"}}


@pytest.mark.parametrize(
    ("field", "sent_as", "most", "rule"),
    [("name", "display_name", 256, "display-name-length"), ("email", "email", 128, "email-length")],
)
def test_name_and_email_are_measured_in_characters(field: Any, sent_as: str, most: int, rule: str) -> None:
    """An emoji is one, and the maximum is allowed."""
    just: Any = {field: "😀" * most}
    over: Any = {field: "😀" * (most + 1)}

    rejected = STRICT.plan(UserTraits("u1", **over))

    assert body_of(STRICT.plan(UserTraits("u1", **just)))[sent_as] == "😀" * most
    assert rejected.violations == (Violation(field, rule, most, most + 1, "characters"),)


def test_a_long_name_is_cut_and_a_long_address_dropped() -> None:
    """Half an e-mail address is another one."""
    plan = LENIENT.plan(UserTraits("u1", name="n" * 300, email="e" * 300))

    assert body_of(plan) == {"uid": "u1", "display_name": "n" * 256}
    assert plan.adjustments == (
        Adjustment("name", "truncated", "display-name-length"),
        Adjustment("email", "dropped", "email-length"),
    )


@pytest.mark.parametrize("backend", [STRICT, LENIENT])
def test_a_long_uid_is_always_a_violation(backend: Fullstory) -> None:
    """An id cut is another id."""
    assert body_of(backend.plan(UserTraits("é" * 256)))["uid"] == "é" * 256
    assert backend.plan(UserTraits("é" * 257)).violations == (
        Violation("user_id", "uid-length", 256, 257, "characters"),
    )


def test_five_hundred_properties_are_allowed() -> None:
    """One more is not; the last ones are dropped where we adapt."""
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


def test_nested_properties_are_counted_one_by_one() -> None:
    """An object is what is in it."""
    traits = {"o": {f"t{number}": "x" for number in range(300)}, "p": {f"t{number}": "x" for number in range(300)}}

    rejected, dropped = plan_of(traits), plan_of(traits, backend=LENIENT)

    assert rejected.violations == (Violation("traits", "property-count", 500, 600, "traits"),)
    assert sum(len(each) for each in body_of(dropped)["properties"].values()) == 500
    assert len(dropped.adjustments) == 100


def test_every_broken_rule_is_reported_at_once() -> None:
    """One round is enough to mend them all."""
    user = UserTraits("u" * 257, email="e" * 129, traits={"a-b": 1, "c": "x" * 9000, "d": REMOVE})

    rules = [violation.rule for violation in STRICT.plan(user).violations]

    assert rules == ["uid-length", "email-length", "property-name", "property-value-size", "cannot-remove"]


@pytest.mark.parametrize(
    "parents",
    [("p" * 128, "p" * 128, "p" * 125), ("p" * 128, "p" * 128, "p" * 126), ("p" * 128, "p" * 128, "p" * 127)],
)
@pytest.mark.parametrize("name", ["n" * 127, "n" * 128, "n" * 129])
def test_a_dotted_name_may_be_as_long_as_one_alone(parents: tuple[str, ...], name: str) -> None:
    """However its parts, each of them legal, share the length."""
    traits: dict[str, Any] = {name: 1}
    for parent in reversed(parents):
        traits = {parent: traits}
    path = ".".join([*parents, name])

    plan = plan_of(traits)

    assert bool(plan.violations) == (len(path) > 512)
    if not plan.violations:
        assert body_of(plan)["schema"] == {"properties": {path: "int"}}


def test_what_is_legal_stays_so_however_many_names_are_seen() -> None:
    """Names are forgotten when they are many, and read again."""
    for start in range(0, 12_000, 3_000):
        names = [f"t{number}" for number in range(start, start + 3_000)]
        assert are_valid_names(names)
        assert not are_valid_names([*names, "a-b"])
    assert not are_valid_names([f"t{number}" for number in range(5_000)])
    assert is_valid_name("t1")
    assert not is_valid_name("a-b")
    assert are_valid_names(["a" * 128])
    assert not are_valid_names(["a" * 129])


def test_a_user_of_more_names_than_are_remembered_is_worded_all_the_same() -> None:
    """It takes longer, and that is all."""
    traits = {f"n{number}": number for number in range(5_000)}

    plan = plan_of(traits)

    assert plan.violations == (Violation("traits", "property-count", 500, 5000, "traits"),)
