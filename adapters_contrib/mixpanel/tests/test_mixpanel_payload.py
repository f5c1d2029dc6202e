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
from replay_identity.emulator.http import JsonValue
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
        (Decimal("1e254"), 1e254, "decimal-as-number"),
        (10**254 + 1, "1" + "0" * 253 + "1", "int-beyond-53-bits"),
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


@pytest.mark.parametrize(
    "name", ["$first_name", "$last_name", "$phone", "$avatar", "$created", "name", "email", "a.b", "é"]
)
def test_names_for_applications_are_sent(name: str) -> None:
    """The names that Mixpanel shows, and all that do not begin with a dollar sign."""
    plan = STRICT.plan(UserTraits("u1", traits={name: "x", f"{name}_2": "y"} if name[0] != "$" else {name: "x"}))

    assert set_by(plan)[name] == "x"
    assert plan.adjustments == ()


def test_the_application_sets_when_it_created_a_user() -> None:
    """Mixpanel does not fill ``$created`` in; it has the form of its type Date."""
    moment = datetime(2026, 11, 21, 8, 30, tzinfo=timezone(timedelta(hours=2)))

    assert set_by(STRICT.plan(UserTraits("u1", traits={"$created": moment}))) == {"$created": "2026-11-21T06:30:00"}


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


@pytest.mark.parametrize("number", [10**255, -(10**254), Decimal(10**255 + 1), Decimal("1e400"), Decimal("-1e400")])
def test_a_number_is_never_truncated(number: Any) -> None:
    """Without its last digits it would be another number."""
    user = UserTraits("u1", traits={"n": number, "kept": 1})

    assert {violation.rule for violation in STRICT.plan(user).violations} == {"text-length"}
    assert set_by(LENIENT.plan(user)) == {"kept": 1}
    assert LENIENT.plan(user).adjustments == (Adjustment("traits.n", "dropped", "text-length"),)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x" * 256, "x" * 255),
        ("é" * 128, "é" * 127),
        ("x" * 254 + "é", "x" * 254),
        ("x" * 252 + "😀", "x" * 252),
        ("x" * 254 + "e\u0301", "x" * 254),
    ],
)
def test_long_text_is_cut_between_characters(text: str, kept: str) -> None:
    """At 255 bytes of UTF-8, wherever the text is; an e-mail address is dropped."""
    user = UserTraits("u1", name=text, email=text, traits={"t": text, "l": [text, text, 1], "o": {"in": {"t": text}}})

    plan = LENIENT.plan(user)

    assert set_by(plan) == {"$name": kept, "t": kept, "l": [kept, kept, 1], "o": {"in": {"t": kept}}}
    assert plan.adjustments == (
        Adjustment("name", "truncated", "text-length"),
        Adjustment("email", "dropped", "text-length"),
        *(Adjustment(f"traits.{path}", "truncated", "text-length") for path in ("t", "l", "o.in.t")),
    )
    paths = ["name", "email", "traits.t", "traits.l", "traits.o.in.t"]
    assert [violation.path for violation in STRICT.plan(user).violations] == paths


def test_text_of_255_bytes_is_sent() -> None:
    """In every place."""
    text = "😀" * 63 + "é" + "x"
    user = UserTraits("u1", name=text, email=text, traits={"t": text, "l": [text], "c": [{"t": text}]})

    plan = STRICT.plan(user)

    assert set_by(plan) == {"$name": text, "$email": text, "t": text, "l": [text], "c": [{"t": text}]}
    assert (plan.adjustments, plan.violations) == ((), ())


def nested(depth: int, leaf: Any = 1) -> Any:
    """Return objects in objects, *depth* of them."""
    return {"k": nested(depth - 1, leaf)} if depth else leaf


def test_an_object_has_at_most_255_keys() -> None:
    """At every level, and in lists; the last keys are dropped."""
    full = {f"k{index}": index for index in range(255)}
    over = {**full, "last": 1}
    user = UserTraits("u1", traits={"o": over, "in": {"o": over}, "l": [over]})

    assert STRICT.plan(user).violations == tuple(
        Violation(path, "object-keys", 255, 256, "traits") for path in ("traits.o", "traits.in.o", "traits.l")
    )
    assert set_by(LENIENT.plan(user)) == {"o": full, "in": {"o": full}, "l": [full]}
    assert LENIENT.plan(user).adjustments == tuple(
        Adjustment(path, "dropped", "object-keys") for path in ("traits.o.last", "traits.in.o.last", "traits.l.last")
    )
    assert STRICT.plan(UserTraits("u1", traits={"o": full, "in": {"o": full}, "l": [full]})).violations == ()


def test_objects_are_nested_at_most_three_deep() -> None:
    """What is deeper is dropped."""
    user = UserTraits("u1", traits={"o": {**nested(4), "kept": 1}})

    assert STRICT.plan(UserTraits("u1", traits={"o": nested(3)})).violations == ()
    assert STRICT.plan(user).violations == (Violation("traits.o.k.k.k", "object-depth"),)
    assert set_by(LENIENT.plan(user)) == {"o": {"kept": 1}}
    assert LENIENT.plan(user).adjustments == (Adjustment("traits.o.k.k.k", "dropped", "object-depth"),)


def listed(item: Any, lists: int) -> Any:
    """Return *item* in as many lists as asked."""
    return [1, listed(item, lists - 1)] if lists else item


@pytest.mark.parametrize("inner", [{"a": 1}, ["a"], []])
@pytest.mark.parametrize("lists", [1, 2])
def test_objects_in_a_list_are_flat(inner: Any, lists: int) -> None:
    """Nothing nested is sent in them, and an item of which nothing is left is not sent either."""
    whole, kept = listed({"b": 1, "in": inner}, lists), listed({"b": 1}, lists)
    user = UserTraits("u1", traits={"l": whole, "e": [2, {"in": inner}], "n": [{"in": inner}]})

    paths = ("traits.l.in", "traits.e.in", "traits.n.in")
    assert STRICT.plan(user).violations == tuple(Violation(path, "nested-in-list") for path in paths)
    assert set_by(LENIENT.plan(user)) == {"l": kept, "e": [2]}
    assert LENIENT.plan(user).adjustments == tuple(Adjustment(path, "dropped", "nested-in-list") for path in paths)


def test_a_broken_rule_of_a_list_is_named_once() -> None:
    """All items share one path; the first that breaks it counts."""
    user = UserTraits("u1", traits={"l": ["x" * length for length in range(250, 300)]})

    assert STRICT.plan(user).violations == (Violation("traits.l", "text-length", 255, 256, "UTF-8 bytes"),)
    assert len(LENIENT.plan(user).adjustments) == 1


def test_an_empty_item_of_a_list_is_sent() -> None:
    """It is a value."""
    traits: dict[str, Any] = {"l": [{}, [], ""]}

    assert set_by(STRICT.plan(UserTraits("u1", traits=traits))) == traits


def test_a_large_list_is_dropped_as_a_whole() -> None:
    """Half a list is another list."""
    user = UserTraits("u1", traits={"kept": 1, "list": [date(2026, 11, 21)] * 30_000})

    assert [violation.rule for violation in STRICT.plan(user).violations] == ["property-value-size"]
    assert set_by(LENIENT.plan(user)) == {"kept": 1}
    assert LENIENT.plan(user).adjustments == (Adjustment("traits.list", "dropped", "property-value-size"),)


def sized_list(size: int) -> list[str]:
    """Return a list that takes *size* bytes as compact JSON."""
    whole, rest = divmod(size - 1, 203)
    return ["x" * 200] * (whole - 1) + ["y" * 100, "z" * (100 + rest - 3)]


def test_a_list_is_measured_as_compact_json() -> None:
    """256,000 bytes are valid, one more is not."""
    within, over = sized_list(256_000), sized_list(256_001)

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
    traits = {name: sized_list(240_000) for name in "dcba"}
    rest = size - len(orjson.dumps({"$token": "token-1", "$distinct_id": "u1", "$set": {**traits, "z": 0}})) + 1
    return UserTraits("u1", traits={**traits, "z": sized_list(rest)})


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
    traits = {name: sized_list(1000 * size) for name, size in zip("abcdef", (200, 250, 251, 252, 10, 254), strict=True)}
    user = UserTraits("u1", name="N" * 255, traits=traits)

    plan = LENIENT.plan(user)

    assert plan.adjustments == (Adjustment("traits.f", "dropped", "update-size"),)
    assert set_by(plan) == {"$name": "N" * 255, **{name: traits[name] for name in "abcde"}}
    assert max(sizes(plan)) <= MB


def test_the_name_can_be_the_largest_property() -> None:
    """It is dropped like any other."""
    plan = LENIENT.plan(UserTraits("u" * (MB - 300), name="N" * 255, traits={"a": 1}))

    assert plan.adjustments == (Adjustment("name", "dropped", "update-size"),)
    assert set_by(plan) == {"a": 1}


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
    plan = LENIENT.plan(UserTraits("u" * (MB - 200), traits={"t": "x" * 250}))

    assert plan.adjustments == (Adjustment("traits.t", "dropped", "update-size"),)
    assert plan.violations == (Violation("traits", "nothing-left"),)


@pytest.mark.parametrize("backend", [STRICT, LENIENT], ids=["reject", "adapt"])
@pytest.mark.parametrize("value", ["v", REMOVE])
def test_an_id_that_fills_an_update_is_rejected(backend: Mixpanel, value: Any) -> None:
    """A truncated id would be another user."""
    plan = backend.plan(UserTraits("u" * MB, traits={"t": value}))

    assert [(violation.path, violation.rule) for violation in plan.violations] == [("user_id", "update-size")]
    assert plan.request is None


def around(maximum: int, smallest: int = 0) -> st.SearchStrategy[int]:
    """Return a strategy for numbers on both sides of *maximum*, and small ones."""
    return st.integers(maximum - 2, maximum + 2) | st.integers(smallest, 3)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Return texts on both sides of 255 bytes, of characters of one to four bytes."""
    character, size = draw(st.sampled_from("xé€😀")), draw(around(255))
    return character * (size // len(character.encode())) + draw(st.sampled_from(["", "e\u0301", "é", "😀"]))


LEAVES: st.SearchStrategy[Any] = (
    texts() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.booleans() | st.just(10**255)
)


@st.composite
def objects(draw: st.DrawFn) -> dict[str, Any]:
    """Return objects on both sides of 255 keys."""
    leaf = draw(LEAVES)
    return {f"k{index}": leaf for index in range(draw(around(255, 1)))}


VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES | objects(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3),
    max_leaves=6,
)


@st.composite
def users_at_limits(draw: st.DrawFn) -> UserTraits:
    """Return users on both sides of every limit of a property."""
    names = st.sampled_from(["a", "b", "c", "$created", "n" * 255, "é" * 255, "n" * 256])
    values: st.SearchStrategy[Any] = VALUES | st.integers(255_998, 256_002).map(sized_list)
    traits: dict[str, Any] = draw(st.dictionaries(names, values, max_size=6))
    if draw(st.booleans()):
        traits |= {f"t{index}": index for index in range(draw(around(2000 - len(traits))))}
    name, email = draw(st.none() | texts()), draw(st.none() | texts())
    return UserTraits("u1", name=name, email=email, traits=traits)


def is_within(value: JsonValue, levels: int = 0, *, is_item: bool = False, in_item: bool = False) -> bool:
    """Return True if *value* is within the limits of texts and objects."""
    if isinstance(value, str):
        return len(value.encode()) <= 255
    if isinstance(value, list):
        return not in_item and all(is_within(item, levels, is_item=True) for item in value)
    if isinstance(value, dict):
        is_allowed = not in_item and levels < 3 and len(value) <= 255
        return is_allowed and all(is_within(item, levels + 1, in_item=is_item) for item in value.values())
    return value is not None


@given(user=user_traits() | users_at_limits(), token=st.sampled_from(["t", "x" * 32]))
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
            for value in update.get("$set", {}).values():
                assert is_within(value)
                assert not isinstance(value, list | dict) or len(orjson.dumps(value)) <= 256_000


@given(user=users_at_limits())
def test_every_loss_is_on_record(user: UserTraits) -> None:
    """What is not rejected is sent whole; what adapting changes, it records, and it loses nothing else."""
    strict, lenient = STRICT.plan(user), LENIENT.plan(user)

    is_lossy = any(adjustment.kind in {"truncated", "dropped"} for adjustment in lenient.adjustments)
    assert bool(strict.violations) == is_lossy
    if not is_lossy:
        assert updates_of(strict) == updates_of(lenient)


@given(user=user_traits())
def test_no_property_is_set_and_removed(user: UserTraits) -> None:
    """So the result does not depend on the order in which Mixpanel applies them."""
    updates = updates_of(LENIENT.plan(user))

    operations = [next(iter(update.keys() - {"$token", "$distinct_id"})) for update in updates]
    assert operations == sorted(set(operations))
    if len(updates) == 2:
        assert updates[0]["$set"].keys().isdisjoint(updates[1]["$unset"])
