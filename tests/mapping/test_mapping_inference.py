"""Types of fields, inferred from their values."""

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
from replay_identity._paths import leaves
from replay_identity._values import MAX_DEPTH, iso8601
from replay_identity.mapping import (
    CastConflict,
    CompiledMapping,
    FieldRule,
    Inference,
    InferencePolicy,
    PropertyInference,
    RowMapping,
    SampleValue,
)
from replay_identity.mapping import inference as inference_module
from replay_identity.mapping.cleaning import means_null
from replay_identity.mapping.inference import MAX_SHAPE_LENGTH, shape
from replay_identity.mapping.toml import rule_settings
from replay_identity.traits import TraitType

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MANY = 20

FULLSTORY = Fullstory("na1.documentation")
LOGROCKET = LogRocket("org:app:documentation")


def inferred(users: Iterable[UserTraits]) -> Inference:
    """Return the inference from *users*, who are on lines 1, 2, and so on."""
    inference = Inference()
    for line, user in enumerate(users, 1):
        inference.add(user, line)
    return inference


def of_values(values: Sequence[Any], name: str = "trait") -> PropertyInference:
    """Return what is inferred about a trait with these *values*."""
    return inferred(UserTraits(traits={name: value}) for value in values).properties[name]


@pytest.mark.parametrize(
    ("values", "cast"),
    [
        (["true", "FALSE", True], "bool"),
        (["Yes", "no", "t"], "bool"),
        (["0", "1"], "int"),
        (["42", "-7", 3], "int"),
        (["042", "7"], "str"),
        (["4.2", "7"], "real"),
        ([1.0, 2.0], "real"),
        ([Decimal("19.90")], "real"),
        (["2026-11-21", "2026-11-21T08:30:00Z", NOON, date(2026, 11, 21)], "date"),
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
        (["", "7"], "int"),
        ([UUID(int=5)], "str"),
        ([2**63], "real"),
    ],
)
def test_chooses_the_first_cast_that_fits_all(values: list[Any], cast: str) -> None:
    """Casts are tried in the documented order; if none fits, it is `any`."""
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
def test_long_integers_in_strings_stay_strings(values: list[Any], cast: str, policy: str | None) -> None:
    """Ten digits are hardly a quantity. A JSON number stays a number."""
    found = of_values(values)

    assert (found.cast, found.policy) == (cast, policy)


@pytest.mark.parametrize("name", ["zip", "home_zip", "phoneNumber", "user-id", "userID", "plan.code", "UUID"])
def test_identifiers_stay_strings(name: str) -> None:
    """Such as a postal code of digits."""
    found = of_values(["10115", "7"], name)

    assert (found.cast, found.policy) == ("str", "identifier-by-name")


@pytest.mark.parametrize(("name", "values"), [("paid", ["7"]), ("zip.seats", ["7"]), ("zip", [7]), ("code", ["7.5"])])
def test_other_names_may_be_numbers(name: str, values: list[Any]) -> None:
    """Only words of the last name count, and only integers in strings."""
    assert of_values(values, name).cast in {"int", "real"}


def test_uses_declared_types() -> None:
    """The name and the length of the values do not matter."""
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
def test_ignores_inconsistent_declared_types(values: list[Any], types: list[Any]) -> None:
    """All values must declare the same type and fit it."""
    users = [
        UserTraits(traits={"t": value}, types={} if declared is None else {"t": declared})
        for value, declared in zip(values, types, strict=True)
    ]

    assert inferred(users).properties["t"].cast == "str"


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (["43", "NULL", "n/a", "", "\\N"], FieldRule(cast="int", nulls=["", "NULL", "\\N", "n/a"])),
        (["2026-11-21", "0000-00-00"], FieldRule(cast="date", nulls="0000-00-00")),
        ([3, "N/A"], FieldRule(cast="int", nulls="N/A")),
        ([" 43", "7 "], FieldRule(cast="int", trim=True)),
        (["43\u200b", "\ufeff"], FieldRule(cast="int", normalise=True, nulls="")),
        (["Y", "N", "-"], FieldRule(cast="bool", nulls="-")),
        (["t", "f"], FieldRule(cast="bool")),
        (["on", "OFF", "1"], FieldRule(cast="bool")),
        (["13/02/2026", "01/02/2026"], FieldRule(cast="date", format="%d/%m/%Y")),
        (["02/13/2026"], FieldRule(cast="date", format="%m/%d/%Y")),
        (["13/02/2026", "2026-02-01"], FieldRule(cast="date", format=["%Y-%m-%d", "%d/%m/%Y"])),
        (["31.12.2026 10:00 UTC"], FieldRule(cast="date", format="%d.%m.%Y %H:%M UTC")),
        (["2026/01/02"], FieldRule(cast="date", format="%Y/%m/%d")),
        (["1 May 2026", "2 June 2026"], FieldRule(cast="date", format=["%d %B %Y", "%d %b %Y"])),
        (["12,50", "1,234"], FieldRule(cast="real", decimal=",")),
        (["1.234,50"], FieldRule(cast="real", decimal=",", thousands=".")),
        (["1,234", "1,234.50"], FieldRule(cast="real", thousands=",")),
        (["1,234,567"], FieldRule(cast="int", thousands=",")),
        (["1 234"], FieldRule(cast="int", thousands=" ")),
        (["1'234.5"], FieldRule(cast="real", thousands="'")),
        (["1.234", "4.2"], FieldRule(cast="real")),
        (["{a,b}", "{}"], FieldRule(cast="strs")),
        (["{1,2}", "{3}"], FieldRule(cast="ints")),
        (["{1.5,2}"], FieldRule(cast="reals")),
        (["{t,f}"], FieldRule(cast="bools")),
        (["{7,1234567890}"], FieldRule(cast="strs")),
    ],
)
def test_writes_the_settings_that_are_certain(values: list[Any], rule: FieldRule) -> None:
    """The rule reads every value."""
    found = of_values(values)

    assert found.rule == rule
    assert not found.choices


def dates(*formats: Any, **settings: Any) -> list[FieldRule]:
    """Return a rule for each choice of formats."""
    return [FieldRule(cast="date", format=each, **settings) for each in formats]


DECIMAL: Any = {"decimal": ",", "thousands": "."}


@pytest.mark.parametrize(
    ("values", "policy", "choices"),
    [
        (["01/02/2026", "NULL"], "day-or-month", dates("%d/%m/%Y", "%m/%d/%Y", nulls="NULL")),
        (["01.02.2026"], "day-or-month", dates("%d.%m.%Y", "%m.%d.%Y")),
        (["13/02/2026", "01.02.2026"], "day-or-month", dates(["%d.%m.%Y", "%d/%m/%Y"], ["%d/%m/%Y", "%m.%d.%Y"])),
        (["13/02/2026", "02/13/2026"], "mixed-day-and-month", dates("%d/%m/%Y", "%m/%d/%Y", on_error="absent")),
        (["2026-11-21 08:30"], "no-time-zone", dates(())),
        (["2026-11-21T08:30:00", "2026-11-21T08:30:00Z"], "no-time-zone", dates(())),
        (['["2026-11-21 08:30"]'], "no-time-zone", [FieldRule(cast="dates")]),
        (["21 Nov 2026 08:30"], "no-time-zone", dates("%d %b %Y %H:%M")),
        (["01/02/26"], "two-digit-year", []),
        (["21-Nov-26"], "two-digit-year", []),
        (
            ["1,234"],
            "decimal-or-thousands",
            [FieldRule(cast="real", decimal=","), FieldRule(cast="int", thousands=",")],
        ),
        (["1.234"], "decimal-or-thousands", [FieldRule(cast="real"), FieldRule(cast="int", **DECIMAL)]),
        (["$5.00"], "currency-or-percent", [FieldRule(cast="real", strip="$")]),
        (["€5", "7 USD"], "currency-or-percent", [FieldRule(cast="int", strip=["USD", "€"])]),
        (["43%"], "currency-or-percent", [FieldRule(cast="int", strip="%")]),
        (
            ["€ 1.234"],
            "decimal-or-thousands",
            [FieldRule(cast="real", strip="€"), FieldRule(cast="int", strip="€", **DECIMAL)],
        ),
        (["1700000000"], "number-or-date", [FieldRule(cast="epoch"), FieldRule(cast="int")]),
        (["1700000000123"], "number-or-date", [FieldRule(cast="epoch"), FieldRule(cast="int")]),
        (["45293", "45300"], "number-or-date", [FieldRule(cast="excel-date"), FieldRule(cast="int")]),
        (["45293.5"], "number-or-date", [FieldRule(cast="excel-date"), FieldRule(cast="real")]),
        (["20261121"], "number-or-date", [*dates("%Y%m%d"), FieldRule(cast="int")]),
        (["yes"], "one-boolean", [FieldRule(cast="bool")]),
        (["N", "off"], "one-boolean", [FieldRule(cast="bool")]),
        (["{a}"], "list-or-text", [FieldRule(cast="strs")]),
        (["{1}"], "list-or-text", [FieldRule(cast="ints")]),
        (["{}"], "list-or-text", [FieldRule(cast="strs")]),
    ],
)
def test_leaves_to_a_person_what_is_uncertain(values: list[Any], policy: str, choices: list[FieldRule]) -> None:
    """The reason names what to choose from, and the mapping has a place for the cast."""
    inference = inferred(UserTraits(traits={"trait": value}) for value in values)
    found = inference.properties["trait"]

    assert (found.cast, found.policy, list(found.choices)) == ("any", policy, choices)
    assert found.looks_like == (choices[0].cast if choices else "date")
    assert all(rule_settings(rule) in found.caveats for rule in choices)
    assert inference.mapping() == RowMapping(fields={"trait": FieldRule()})


@pytest.mark.parametrize(
    ("values", "needed"),
    [(["2026-11-21 08:30"], True), (["45293.5"], True), (["01/02/2026 08:30"], True), (["01/02/2026"], False)],
)
def test_the_reason_names_a_missing_time_zone(values: list[Any], needed: bool) -> None:  # noqa: FBT001  # A case.
    """It is a setting of the mapping, not of the field."""
    assert of_values(values).caveats.endswith(", and timezone for the mapping") == needed


@pytest.mark.parametrize(
    ("values", "name", "cast"),
    [
        (["29221"], "born", "any"),
        (["29221"], "seats", "int"),
        (["70000"], "born", "int"),
        (["45293", "7"], "since", "int"),
        (["12345678"], "seats", "int"),
        (["1700000000"], "phone", "str"),
        (["030 123"], "phone", "str"),
        (["30 123"], "phone", "str"),
        (["30 123 456 789"], "contact", "str"),
        (["ABC 123", "7"], "plate", "str"),
        (["USD 5 EUR"], "price", "str"),
        (["1.2.30"], "version", "str"),
        (["2026"], "year", "int"),
        (["no", "de"], "country", "str"),
        (["{name}", "x"], "greeting", "str"),
        (['{"a": 1}', "{"], "object", "str"),
        (["31.02.2026"], "since", "str"),
        (["9" * 200], "big", "str"),
        ([f"{day}.{hour}" for day in range(1, 3) for hour in "ab"], "code", "str"),
    ],
)
def test_other_texts_look_like_no_date_or_number(values: list[Any], name: str, cast: str) -> None:
    """Or only in a field of another name."""
    assert of_values(values, name).cast == cast


def test_many_formats_or_currencies_are_text() -> None:
    """So that the memory is bounded."""
    dates = [f"1{a}Jan{b}2026" for a in " -./," for b in " -./,"]
    units = [f"{unit}5" for unit in ("$", "€", "£", "¥", "₹", "₽", "₺", "₩", "₪", "USD", "EUR", "GBP", "CHF")]

    assert of_values(dates).cast == of_values(units).cast == "str"


def test_texts_that_may_mean_null_are_named() -> None:
    """In a field of texts they may be texts as well."""
    found = of_values(["pro", "NULL", ""])

    assert (found.cast, found.looks_like) == ("str", "str")
    assert found.caveats == 'null-texts: set cast = "str", nulls = ["NULL"]'


def test_shows_values_that_reject_a_better_cast() -> None:
    """They are shown by line and shape, never by value. A worse cast with as many conflicts is not shown."""
    found = of_values(["1", "2", "3", "4", "5", "7-8", "b/a"])

    assert found == PropertyInference(
        7, FieldRule(cast="str"), (CastConflict("int", 2, (SampleValue(6, "9-9"), SampleValue(7, "a/a"))),)
    )
    assert str(found) == "7 users; int except 2 (line 6: 9-9, line 7: a/a)"


def test_shows_both_casts_if_the_second_fits_better() -> None:
    """One half is not an integer, but it is a real."""
    found = of_values([*map(str, range(MANY)), "1.5", "x"])

    assert [(conflict.cast, conflict.count) for conflict in found.conflicts] == [("int", 2), ("real", 1)]


def test_shows_three_samples_at_most() -> None:
    """An ellipsis stands for the rest."""
    found = of_values([*map(str, range(MANY)), *["x"] * 4])

    assert found.caveats == "int except 4 (line 21: a, line 22: a, line 23: a, …)"


def test_hides_casts_that_rarely_fit() -> None:
    """One number among strings is not a conflict."""
    found = of_values(["a", "b", "1"])

    assert str(found) == "3 users"


def test_uses_the_singular_for_one_user() -> None:
    """The comment of a field counts users."""
    assert str(of_values(["a"])) == "1 user"


def test_the_comment_names_the_policy() -> None:
    """It explains why a column of digits is not a number."""
    assert str(of_values(["9234567890"])) == "1 user; long-digits"


def test_tolerates_a_mismatch_in_the_first_value() -> None:
    """The first value may be the exception."""
    assert of_values(["x", *map(str, range(MANY))]).caveats == "int except 1 (line 1: a)"


@pytest.mark.parametrize(("parts", "cast"), [(MAX_DEPTH - 2, "int"), (MAX_DEPTH - 1, "any")])
def test_limits_the_depth_of_rules(parts: int, cast: str) -> None:
    """A list in the innermost object needs one more level."""
    path = ".".join(["a"] * parts)

    assert inferred([UserTraits(traits={path: "1"})]).properties[path].cast == cast


def test_stops_trying_casts_that_rarely_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be slow to try each cast on a million strings."""
    monkeypatch.setattr(inference_module, "_MAX_MISMATCHES", 1)

    found = of_values(["a", "b", "1", "2", "3", "4", "5", "6"])

    assert found == PropertyInference(8, FieldRule(cast="str"))


def test_bounds_the_number_of_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of further fields are counted as uninspected."""
    monkeypatch.setattr(inference_module, "MAX_PATHS", 1)

    inference = inferred([UserTraits(traits={"a": "1"}), UserTraits(traits={"b": "2", "x.y": "4", "a": {"c": "3"}})])

    assert inference.uninspected == 3
    assert inference.properties == {"a": PropertyInference(1, policy=InferencePolicy.HAS_NESTED_FIELDS)}


def test_a_field_with_nested_fields_has_no_cast() -> None:
    """A value in one row and an object in another are both kept."""
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
        {"a": {"": "1"}},
        {"": "1"},
        {"name.first": "1"},
        {".".join("abcdefghijklmnopqrstuvwxyzabcdef"): "1"},
    ],
)
def test_makes_no_rule_for_unaddressable_fields(traits: dict[str, Any]) -> None:
    """A rule would miss the value or find two."""
    inference = inferred([UserTraits(traits=traits)])

    assert not inference.mapping().fields
    assert {found.policy for found in inference.properties.values()} == {InferencePolicy.NOT_ADDRESSABLE}


def test_does_not_notice_a_null_next_to_nested_fields() -> None:
    """Policy `null-and-nested`: the mapping rejects this row."""
    row = {"user_id": "u1", "a": None, "a.b": "1"}
    mapping = CompiledMapping.compile(inferred([UserTraits.from_mapping(row)]).mapping())

    with pytest.raises(InvalidTraitsError, match=r"^a\.b: cannot be nested in a, which has a value of its own"):
        mapping.to_user(row)


def test_ignores_user_fields_and_removals() -> None:
    """Ids, names and email addresses are strings in any case."""
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
def test_shows_the_shape_of_a_value(value: object, expected: str) -> None:
    """Each run of letters, digits or other characters is shown once."""
    assert shape(value) == expected


@given(st.text())
def test_a_shape_reveals_no_letter_or_digit(text: str) -> None:
    """It keeps only ASCII punctuation."""
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
UNTIDY_TEXTS = st.sampled_from(
    [
        *("NULL", "\\N", "-", "0000-00-00", " 43", "7\u200b", " ", "yes", "no", "Y", "n", "on", "1", "0"),
        *("01/02/2026", "13/02/2026", "02/13/2026", "01.02.2026", "1 May 2026", "2026-1-2", "31/12/2026 23:59 UTC"),
        *("2026-11-21 08:30", "0001-01-01T00:00:00+14:00", "01/01/0001 00:00 +1400", "29/02/2026"),
        *("12,50", "1,234", "1.234", "1.234,50", "1 234", "1'234", "9.007.199.254.740.993", "$5", "5 €", "-3%"),
        *("{a,b}", "{}", "{1,2}", "{1}", "{t,f}", "{NULL,a}", '{"a": 1}', "1700000000", "45293", "20261121"),
    ]
)
ROWS = st.dictionaries(
    DOTTED, st.recursive(TEXTS | UNTIDY_TEXTS, lambda inner: st.dictionaries(DOTTED, inner, min_size=1)), max_size=4
)


@pytest.mark.slow
@given(st.lists(ROWS, max_size=6))
def test_the_mapping_accepts_the_rows_it_came_from(rows: list[dict[str, Any]]) -> None:
    """No value is lost."""
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
        assert len(flat(mapped.traits)) == len(flat(user.traits)) - len(nulls(user, mapped))


def flat(traits: Any, parents: str = "") -> dict[str, Any]:
    """Return the values of *traits* by dotted path."""
    found: dict[str, Any] = {}
    for names, value in leaves(traits):
        found[f"{parents}{'.'.join(names)}"] = value
    return found


def nulls(before: UserTraits, after: UserTraits) -> list[str]:
    """Return the paths of texts that are no longer there because they mean null."""
    found, left = flat(before.traits), flat(after.traits)
    return [path for path, value in found.items() if path not in left and means_null(value.strip())]


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b.c", "b.d"]), TEXTS, max_size=3), max_size=6))
def test_strings_from_logrocket_keep_their_meaning(rows: list[dict[str, Any]]) -> None:
    """They are sent to LogRocket again."""
    inference = inferred(UserTraits("u1", traits=row) for row in rows)
    mapping = CompiledMapping.compile(inference.mapping())

    for row in rows:
        again = sent(LOGROCKET, mapping.to_user({"user_id": "u1", **row})).get("traits", {})
        for path, text in row.items():
            if path not in again:
                assert means_null(text)
                continue
            assert same(inference.properties[path].cast, text, again[path])


def same(cast: str, before: str, after: str) -> bool:
    """Return True if two strings have the same meaning."""
    match cast:
        case "bool":
            return before.lower() == after
        case "int" | "real":
            return Decimal(before) == Decimal(after)
        case "date":
            return datetime.fromisoformat(before) == datetime.fromisoformat(after)
        case "str" | "any":
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
    """Return the body that *backend* would send; skip a rejected user."""
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
    """Draw users whose properties have one declared type each, as in Fullstory."""
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
def test_types_survive_a_detour_through_logrocket(users: list[UserTraits]) -> None:
    """Fullstory gets the same types back, although LogRocket stores strings."""
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
