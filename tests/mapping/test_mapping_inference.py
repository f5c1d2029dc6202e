"""The types of fields, found in their values."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from replay_identity import REMOVE, Fullstory, InvalidTraitsError, LogRocket, UserTraits
from replay_identity._values import MAX_DEPTH, iso8601
from replay_identity.mapping import (
    CastConflict,
    CompiledMapping,
    Inference,
    InferencePolicy,
    PropertyInference,
    SampleValue,
)
from replay_identity.mapping import inference as inference_module
from replay_identity.mapping.inference import MAX_SHAPE_LENGTH, shape
from replay_identity.traits import TraitType

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MANY = 20

FULLSTORY = Fullstory("na1.documentation")
LOGROCKET = LogRocket("org:app:documentation")


def inferred(users: Iterable[UserTraits]) -> Inference:
    """Return what *users* tell, who stand on the lines from 1 on."""
    inference = Inference()
    for line, user in enumerate(users, 1):
        inference.add(user, line)
    return inference


def of_values(values: Sequence[Any], name: str = "trait") -> PropertyInference:
    """Return what is found out about a trait that has these *values*."""
    return inferred(UserTraits(traits={name: value}) for value in values).properties[name]


@pytest.mark.parametrize(
    ("values", "cast"),
    [
        (["true", "FALSE", True], "bool"),
        (["yes", "no"], "str"),
        (["0", "1"], "int"),
        (["42", "-7", 3], "int"),
        (["042", "7"], "str"),
        (["4.2", "7"], "real"),
        ([1.0, 2.0], "real"),
        ([Decimal("19.90")], "real"),
        (["2026-11-21", "2026-11-21T08:30:00Z", NOON, date(2026, 11, 21)], "date"),
        (["2026-11-21 08:30"], "str"),
        (["0001-01-01T00:00:00+14:00"], "str"),
        (['["a", "b"]', ["c"], []], "strs"),
        (["[1, 2]", [3]], "ints"),
        (["[1, 2.5]", [3]], "reals"),
        (["[true]", [False], "[]"], "bools"),
        (['["2026-11-21"]', [NOON]], "dates"),
        (["[]"], "strs"),
        (['["1", "2"]'], "strs"),
        (['["a", 1]'], "str"),
        (["[oops"], "str"),
        ([r'["\ud800"]'], "str"),
        ([["a", 1]], "any"),
        ([["a"], "b"], "any"),
        (["pro", 7], "str"),
        ([""], "str"),
        (["", "7"], "str"),
        ([UUID(int=5)], "str"),
        ([2**63], "real"),
    ],
)
def test_takes_the_first_type_that_fits_every_value(values: list[Any], cast: str) -> None:
    """Bool before int before real before date before lists before str, and nothing where none fits."""
    assert of_values(values).cast == cast


@pytest.mark.parametrize(
    ("values", "cast", "policy"),
    [
        (["1234567890", "7"], "str", "long-digits"),
        (["-1234567890"], "str", "long-digits"),
        (["1234567890", "7.5"], "str", "long-digits"),
        (["123456789"], "int", None),
        ([1234567890123], "int", None),
        (["1234567890", "pro"], "str", None),
    ],
)
def test_long_whole_numbers_in_texts_are_no_numbers(values: list[Any], cast: str, policy: str | None) -> None:
    """Nobody computes with ten digits; a number that JSON has as one is believed."""
    found = of_values(values)

    assert (found.cast, found.policy) == (cast, policy)


@pytest.mark.parametrize("name", ["zip", "home_zip", "phoneNumber", "user-id", "userID", "plan.code", "UUID"])
def test_what_is_called_an_identifier_is_no_number(name: str) -> None:
    """A postal code of digits is a text, and so is an id."""
    found = of_values(["10115", "7"], name)

    assert (found.cast, found.policy) == ("str", "identifier-by-name")


@pytest.mark.parametrize(("name", "values"), [("paid", ["7"]), ("zip.seats", ["7"]), ("zip", [7]), ("code", ["7.5"])])
def test_what_is_not_called_so_or_no_whole_text_is_a_number(name: str, values: list[Any]) -> None:
    """Only words of the last name count, and only whole numbers in texts."""
    assert of_values(values, name).cast in {"int", "real"}


def test_declared_types_are_believed() -> None:
    """A type that all values have declared is taken whatever the name or the length."""
    users = [UserTraits(traits={"zip": text}, types={"zip": "int"}) for text in ("12345678901", "7")]

    assert inferred(users).properties["zip"].cast == "int"


@pytest.mark.parametrize(
    ("values", "types"),
    [
        (["x"], ["int"]),
        (["x", "7", "8"], ["int"] * 3),
        (["a", "b"], ["int", None]),
        (["7", "x"], ["int", None]),
        (["7", "8", "x"], ["int", "real", "str"]),
    ],
)
def test_declared_types_that_cannot_be_are_not(values: list[Any], types: list[Any]) -> None:
    """A type that not all values have declared, or some cannot be, is not taken."""
    users = [
        UserTraits(traits={"t": value}, types={} if declared is None else {"t": declared})
        for value, declared in zip(values, types, strict=True)
    ]

    assert inferred(users).properties["t"].cast == "str"


def test_tells_what_stands_against_a_better_type() -> None:
    """By line and shape, never by value; a worse type that as much stands against is not worth a word."""
    found = of_values(["1", "2", "3", "4", "5", "7-8", "n/a"])

    assert found == PropertyInference(
        7, "str", (CastConflict("int", 2, (SampleValue(6, "9-9"), SampleValue(7, "a/a"))),)
    )
    assert str(found) == "7 users; int except 2 (line 6: 9-9, line 7: a/a)"


def test_tells_of_both_types_where_less_stands_against_the_second() -> None:
    """A half is no whole number, but a real."""
    found = of_values([*map(str, range(MANY)), "1.5", "x"])

    assert [(conflict.cast, conflict.count) for conflict in found.conflicts] == [("int", 2), ("real", 1)]


def test_shows_a_few_of_many() -> None:
    """The first three are enough."""
    found = of_values([*map(str, range(MANY)), *["x"] * 4])

    assert found.caveats == "int except 4 (line 21: a, line 22: a, line 23: a, …)"


def test_says_nothing_of_types_that_hardly_anything_fits() -> None:
    """One number among texts does not make these suspicious."""
    found = of_values(["a", "b", "1"])

    assert str(found) == "3 users"


def test_counts_one_user() -> None:
    """The note of a field with one user is English."""
    assert str(of_values(["a"])) == "1 user"


def test_the_note_names_the_policy() -> None:
    """It is seen why a column of digits is no number."""
    assert str(of_values(["1234567890"])) == "1 user; long-digits"


def test_does_not_give_up_on_a_type_at_once() -> None:
    """The first value may be the odd one."""
    assert of_values(["x", *map(str, range(MANY))]).caveats == "int except 1 (line 1: a)"


@pytest.mark.parametrize(("parts", "cast"), [(MAX_DEPTH - 2, "int"), (MAX_DEPTH - 1, "any")])
def test_a_path_can_have_a_rule_as_far_as_values_may_be_nested(parts: int, cast: str) -> None:
    """A list in the last object needs one more level."""
    path = ".".join(["a"] * parts)

    assert inferred([UserTraits(traits={path: "1"})]).properties[path].cast == cast


def test_gives_up_on_a_type_that_hardly_anything_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million texts are not asked a million times whether they are numbers."""
    monkeypatch.setattr(inference_module, "_MAX_MISMATCHES", 1)

    found = of_values(["a", "b", "1", "2", "3", "4", "5", "6"])

    assert found == PropertyInference(8, "str")


def test_forgets_further_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no end to names, but to the memory."""
    monkeypatch.setattr(inference_module, "MAX_PATHS", 1)

    inference = inferred([UserTraits(traits={"a": "1"}), UserTraits(traits={"b": "2", "x.y": "4", "a": {"c": "3"}})])

    assert inference.uninspected == 3
    assert inference.properties == {"a": PropertyInference(1, "any", policy=InferencePolicy.HAS_NESTED_FIELDS)}


def test_a_path_with_others_in_it_has_no_cast() -> None:
    """A value in one row and an object in the next are both kept."""
    users = [UserTraits(traits={"a": "1", "x.y": "5"}), UserTraits(traits={"a.b": "2", "x.y.z": "3"})]

    mapping = inferred(users).mapping()

    assert {path: rule.cast for path, rule in mapping.fields.items()} == {"x.y": "any", "a.b": "int", "x.y.z": "int"}


@pytest.mark.parametrize(
    "traits",
    [
        {"a.b": "1", "a": {"b": "2"}},
        {"a.b": "1", "a": "2"},
        {"a": {"b.c": "1"}},
        {"a.b": {"c": "1"}},
        {"a..b": "1"},
        {"": "1"},
        {"name.first": "1"},
        {".".join("abcdefghijklmnopqrstuvwxyzabcdef"): "1"},
    ],
)
def test_leaves_alone_what_no_rule_can_be_made_for(traits: dict[str, Any]) -> None:
    """A rule that would not find its field, or find it twice, is worse than none."""
    inference = inferred([UserTraits(traits=traits)])

    assert not inference.mapping().fields
    assert {found.policy for found in inference.properties.values()} == {InferencePolicy.NOT_ADDRESSABLE}


def test_a_null_beside_its_own_dotted_name_is_not_seen() -> None:
    """Policy `null-beside`: the row was a user without the mapping, and the mapping names the problem."""
    row = {"user_id": "u1", "a": None, "a.b": "1"}
    mapping = CompiledMapping.compile(inferred([UserTraits.from_mapping(row)]).mapping())

    with pytest.raises(InvalidTraitsError, match=r"^a\.b: cannot be nested in a, which has a value of its own"):
        mapping.to_user(row)


def test_the_users_own_fields_and_removals_are_no_traits() -> None:
    """Ids and names are texts in any case."""
    user = UserTraits("u1", traits={"id": "7", "name": "8", "email": "9", "gone": REMOVE})

    assert not inferred([user]).properties


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Ada-42", "a-9"),
        ("+49 (30) 123", "+9 (9) 9"),
        ("a--b__", "a-a_"),
        ("Zürich\n", "a·a·"),
        ("a1" * 99, "a9" * 8),
        ("", "(empty)"),
        (True, "(boolean)"),
        (4.2, "(number)"),
        (NOON, "(date)"),
        (["a"], "(list)"),
        (UUID(int=5), "(other)"),
    ],
)
def test_shows_a_shape(value: object, expected: str) -> None:
    """Letters, digits and whatever is not ASCII are told apart from the rest, and not from each other."""
    assert shape(value) == expected


@given(st.text())
def test_a_shape_holds_no_letter_or_digit_of_the_value(text: str) -> None:
    """Whatever is in the text, its shape has none of it but signs."""
    shown = shape(text)

    assert len(shown) <= MAX_SHAPE_LENGTH
    assert shown == "(empty)" or not {char for char in shown if char.isalnum()} - {"a", "9"}


NAMES = st.sampled_from(["a", "b", "c", "zip", "id", "name", "uid", ""]) | st.text(max_size=3)
DOTTED = st.lists(NAMES, min_size=1, max_size=3).map(".".join)
TEXTS = (
    st.text(max_size=8)
    | st.sampled_from(["true", "False", "yes", "007", "1e5", "-0", "[]", "2026-11-21", "2026-02-30", "12345678901"])
    | st.integers().map(str)
    | st.floats().map(str)
    | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)
    | st.dates().map(date.isoformat)
    | st.lists(st.integers() | st.text(max_size=2) | st.booleans() | st.floats(), max_size=3).map(json.dumps)
    | st.lists(st.dates().map(date.isoformat), max_size=3).map(json.dumps)
)
ROWS = st.dictionaries(
    DOTTED, st.recursive(TEXTS, lambda inner: st.dictionaries(DOTTED, inner, min_size=1)), max_size=4
)


@pytest.mark.slow
@given(st.lists(ROWS, max_size=6))
def test_the_mapping_makes_no_bad_row_of_the_rows_it_was_made_for(rows: list[dict[str, Any]]) -> None:
    """What was a user without the mapping is one with it, and no value is lost."""
    good: list[tuple[dict[str, Any], UserTraits]] = []
    for row in rows:
        try:
            good.append((row, UserTraits.from_mapping(row)))
        except InvalidTraitsError:
            continue

    mapping = CompiledMapping.compile(inferred(user for _, user in good).mapping())

    for row, user in good:
        mapped = mapping.to_user(json.loads(json.dumps(row)))
        assert (mapped.user_id, mapped.name, mapped.email) == (user.user_id, user.name, user.email)
        assert len(flat(mapped.traits)) == len(flat(user.traits))


def flat(traits: Any, parents: str = "") -> list[str]:
    """Return the dotted paths of *traits*, twice where there are two."""
    paths: list[str] = []
    for name, value in traits.items():
        paths += flat(value, f"{parents}{name}.") if isinstance(value, dict) else [parents + name]
    return paths


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b.c", "b.d"]), TEXTS, max_size=3), max_size=6))
def test_texts_of_logrocket_mean_the_same_when_they_are_sent_again(rows: list[dict[str, Any]]) -> None:
    """Texts stay to the letter, truths but for capitals, numbers and moments are the same."""
    inference = inferred(UserTraits("u1", traits=row) for row in rows)
    mapping = CompiledMapping.compile(inference.mapping())

    for row in rows:
        again = sent(LOGROCKET, mapping.to_user({"user_id": "u1", **row})).get("traits", {})
        for path, text in row.items():
            assert same(inference.properties[path].cast, text, again[path])


def same(cast: str, before: str, after: str) -> bool:
    """Tell whether two texts mean the same."""
    match cast:
        case "bool":
            return before.lower() == after
        case "int" | "real":
            return Decimal(before) == Decimal(after)
        case "date":
            return datetime.fromisoformat(before) == datetime.fromisoformat(after)
        case "str":
            return before == after
        case "reals":
            # Whole numbers stand for reals here, and the nearest real is the same.
            return bool(json.loads(before, parse_int=float) == json.loads(after, parse_int=float))
        case "dates":
            return [*map(datetime.fromisoformat, json.loads(before))] == [
                *map(datetime.fromisoformat, json.loads(after))
            ]
        case _:
            return bool(json.loads(before) == json.loads(after))


def sent(backend: Fullstory | LogRocket, user: UserTraits) -> dict[str, Any]:
    """Return the body that *backend* would send; a user whom its limits refuse is of no interest here."""
    plan = backend.plan(user)
    assume(plan.request is not None)
    assert plan.request is not None
    body: dict[str, Any] = json.loads(plan.request.body or b"{}")
    return body


INTS = st.integers(-(2**63), 2**63 - 1)
REALS = st.floats(allow_nan=False, allow_infinity=False)
# In UTC, as we write it: LogRocket keeps any other text, and it is the same moment, but another text.
DATES = (st.dates() | st.datetimes(timezones=st.just(UTC))).map(iso8601)
VALUES: dict[TraitType, st.SearchStrategy[Any]] = {
    "str": st.text(max_size=20),
    "int": INTS,
    "real": REALS | st.integers(-(2**53), 2**53),
    "bool": st.booleans(),
    "date": DATES,
    "strs": st.lists(st.text(max_size=5), max_size=3),
    "ints": st.lists(INTS, max_size=3),
    "reals": st.lists(REALS, max_size=3),
    "bools": st.lists(st.booleans(), max_size=3),
    "dates": st.lists(DATES, max_size=3),
}
# Neither the user's own fields nor one in another, since a property is a value or an object, not both.
PATHS = st.sampled_from(["plan", "zip", "seats", "since", "address.zip", "address.city.name", "a.id", "a.b", "x_y"])


@st.composite
def typed_users(draw: st.DrawFn) -> list[UserTraits]:
    """Draw users whose properties have one declared type each, as Fullstory keeps them."""
    types = draw(st.dictionaries(PATHS, st.sampled_from(get_args(TraitType)), min_size=1))
    users: list[UserTraits] = []
    for _ in range(draw(st.integers(1, 4))):
        traits: dict[str, Any] = {}
        for path in draw(st.sets(st.sampled_from(sorted(types)))):
            *parents, name = path.split(".")
            inner = traits
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[name] = draw(VALUES[types[path]])
        users.append(UserTraits("u1", traits=traits, types=types))
    return users


@given(typed_users())
def test_types_survive_the_way_through_logrocket(users: list[UserTraits]) -> None:
    """What Fullstory had is what it is sent after LogRocket has made texts of it all."""
    mapping = CompiledMapping.compile(inferred(users).mapping())

    for user in users:
        texts = LOGROCKET.plan(user)
        if texts.request is None and texts.violations:
            continue
        flat_traits: dict[str, str] = (
            {} if texts.request is None else json.loads(texts.request.body or b"{}").get("traits", {})
        )
        again = sent(FULLSTORY, mapping.to_user({"user_id": "u1", **flat_traits}))
        original = sent(FULLSTORY, user)
        assert again.get("properties") == original.get("properties")
        assert again.get("schema") == original.get("schema")
