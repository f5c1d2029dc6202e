"""Mappings applied to rows."""

import copy
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity import REMOVE, ConfigurationError, InvalidTraitsError, UserTraits
from replay_identity.mapping import CompiledMapping, FieldRule, RowMapping
from replay_identity.testing import texts, trait_maps, trait_names

CANARY = "canary-7Q"
NAIVE = datetime(2026, 11, 21, 12)  # noqa: DTZ001
NOON = NAIVE.replace(tzinfo=UTC)


def user_of(row: dict[str, Any], mapping: RowMapping, *, has_datetimes: bool = False) -> UserTraits:
    """Return the user that *mapping* makes from *row*."""
    return CompiledMapping.compile(mapping, has_datetimes=has_datetimes).to_user(copy.deepcopy(row))


def mapped(row: dict[str, Any], **settings: Any) -> UserTraits:
    """Return the user that a mapping with *settings* makes from *row*."""
    return user_of(row, RowMapping(**settings))


def rules(**fields: FieldRule) -> dict[str, FieldRule]:
    """Return rules; a double underscore stands for a dot."""
    return {name.replace("__", "."): rule for name, rule in fields.items()}


def test_finds_user_fields_at_their_paths() -> None:
    """Fields that have a default name, but are not used, are traits."""
    row = {
        "account": {"id": "u1", "seats": 3},
        "mail": "a@b.c",
        "who": "Ada",
        "id": "7",
        "updated": "2026-11-21T12:00Z",
    }

    user = mapped(row, user_id="account.id", name="who", email="mail", observed_at="updated")

    assert user == UserTraits(
        "u1", name="Ada", email="a@b.c", traits={"account": {"seats": 3}, "id": "7"}, observed_at=NOON
    )


def test_finds_user_fields_by_default_names() -> None:
    """Fields are renamed and cast first."""
    row = {"id": 7, "nick": "Ada", "email": "a@b.c"}

    user = mapped(row, fields={"id": FieldRule(cast="str"), "nick": FieldRule(rename="name", cast="str")})

    assert user == UserTraits("7", name="Ada", email="a@b.c")


def test_one_field_may_give_two_user_fields() -> None:
    """In many files the email address is the id."""
    assert mapped({"mail": "a@b.c"}, user_id="mail", email="mail") == UserTraits("a@b.c", email="a@b.c")


def test_swaps_the_names_of_two_fields() -> None:
    """All renames happen at once, so no value is overwritten."""
    fields = {"a": FieldRule(rename="b"), "b": FieldRule(rename="a")}

    assert mapped({"a": 1, "b": 2}, fields=fields) == UserTraits(traits={"a": 2, "b": 1})


def test_dotted_paths_read_and_create_objects() -> None:
    """A path also finds a flat dotted name. The rest of an object follows its own rule."""
    fields = rules(
        a__b=FieldRule(rename="c.d", cast="int"),
        a=FieldRule(rename="rest"),
        e__f=FieldRule(cast="int"),
        g__h=FieldRule(cast="int"),
        i__j=FieldRule(cast="int"),
    )
    row: dict[str, Any] = {"a": {"b": "1", "x": 2}, "e.f": "3", "g": "no object", "i": {}}

    expected = {"rest": {"x": 2}, "c": {"d": 1}, "e": {"f": 3}, "g": "no object"}
    assert mapped(row, fields=fields).traits == expected


def test_casts_a_field_inside_an_object_with_a_rule() -> None:
    """It returns to its place in the object."""
    fields = rules(a__b=FieldRule(cast="int"), a=FieldRule())

    assert mapped({"a": {"b": "1", "x": 2}}, fields=fields, unlisted="drop").traits == {"a": {"b": 1, "x": 2}}


def test_casts_declare_types() -> None:
    """Under the new names. User fields have no types, and `any` and `json` declare none."""
    fields = rules(
        a=FieldRule(rename="x.y", cast="int"),
        b=FieldRule(cast="epoch"),
        c=FieldRule(cast="json"),
        d=FieldRule(cast="strs"),
        id=FieldRule(cast="str"),
        mail=FieldRule(cast="str"),
    )

    user = mapped({"id": 1, "a": "1", "b": 0, "c": "[]", "d": [], "mail": "m"}, email="mail", fields=fields)

    assert user.types == {"x.y": "int", "b": "date", "d": "strs"}
    assert user.traits["c"] == user.traits["d"] == ()


def test_defaults_fill_absent_fields() -> None:
    """They are cast, and users do not share one object."""
    fields = rules(
        a=FieldRule(default="5", cast="int"),
        b=FieldRule(default="x"),
        c=FieldRule(default={"d": 1}),
        e=FieldRule(default="x", null="remove"),
    )
    mapping = CompiledMapping.compile(RowMapping(fields={**fields, "f": FieldRule(rename="c.f")}))
    rows: list[dict[str, Any]] = [{}, {"a": None, "b": "y", "f": 2, "e": None}, {"c": {}, "e": 1}, {}]

    users = [mapping.to_user(row) for row in rows]

    assert [user.traits for user in users] == [
        {"a": 5, "b": "x", "c": {"d": 1}, "e": "x"},
        {"a": 5, "b": "y", "c": {"d": 1, "f": 2}, "e": REMOVE},
        {"a": 5, "b": "x", "e": 1},
        {"a": 5, "b": "x", "c": {"d": 1}, "e": "x"},
    ]


def test_a_null_is_ignored_or_removes() -> None:
    """This holds at every depth. A field's setting overrides the row's; user fields cannot be removed."""
    row = {"id": "u1", "name": None, "mail": None, "a": None, "b": None, "c": {"d": None}, "e": None}
    fields = {"b": FieldRule(null="absent"), "e": FieldRule(cast="int")}

    removed = mapped(row, email="mail", null="remove", fields=fields)

    assert removed == UserTraits("u1", traits={"a": REMOVE, "c": {"d": REMOVE}, "e": REMOVE}, types={"e": "int"})
    assert mapped({"user_id": "u1", "id": None}, null="remove") == UserTraits("u1")
    only_b = {"b": FieldRule(null="remove")}
    assert mapped(row, fields=only_b) == UserTraits("u1", traits={"b": REMOVE})


def test_a_renamed_user_field_cannot_be_removed() -> None:
    """Its null is ignored, and the next default name is used."""
    fields = {"nick": FieldRule(rename="name", null="remove")}

    assert mapped({"nick": None, "display_name": "Ada"}, fields=fields) == UserTraits(name="Ada")


def test_drops_unlisted_fields() -> None:
    """But not user fields."""
    row = {"id": "u1", "display_name": "Ada", "email": "e", "plan": "pro", "a": {"b": 1, "c": 2}, "x": 1}
    fields = rules(plan=FieldRule(), a__b=FieldRule())

    user = mapped(row, unlisted="drop", fields=fields)

    assert user == UserTraits("u1", name="Ada", email="e", traits={"plan": "pro", "a": {"b": 1}})
    assert mapped(row, unlisted="drop", user_id="x", fields={"x": FieldRule(cast="str")}).user_id == "1"


def test_datetimes_from_duckdb_get_the_time_zone() -> None:
    """Listed or not, at every depth. Without a time zone they are rejected."""
    row = {"a": NAIVE, "b": {"c": NAIVE}, "d": NOON, "e": date(2026, 11, 21)}

    user = user_of(row, RowMapping(timezone="UTC", fields={"a": FieldRule()}), has_datetimes=True)

    assert user.traits == {"a": NOON, "b": {"c": NOON}, "d": NOON, "e": date(2026, 11, 21)}
    with pytest.raises(InvalidTraitsError, match=r"^b\.c: the datetime has no time zone"):
        user_of({"b": {"c": NAIVE}}, RowMapping(), has_datetimes=True)


@pytest.mark.parametrize(
    ("row", "settings", "problem"),
    [
        ({"a": CANARY}, {"fields": {"a": FieldRule(cast="int")}}, "a: expected a whole number"),
        ({"a": {"b": CANARY}}, {"fields": {"a.b": FieldRule(cast="int")}}, "a.b: expected a whole number"),
        (
            {"a": CANARY, "b": 1},
            {"fields": {"a": FieldRule(rename="b")}},
            "b: is given twice: another field is renamed to it",
        ),
        (
            {"a": 1, "b": CANARY},
            {"fields": {"a": FieldRule(rename="b.c")}},
            "b.c: cannot be nested in b, which has a value of its own",
        ),
        (
            {"a": {"b": 1}, "a.b": CANARY},
            {"fields": {"a.b": FieldRule()}},
            "a.b: is given twice: as one dotted name and as a nested field",
        ),
        (
            {"a": "2026-11-21"},
            {"observed_at": "a"},
            "a: expected a date with a time of day, got a date alone",
        ),
        (
            {"a": CANARY},
            {"observed_at": "a"},
            "a: expected an ISO 8601 date, such as 2026-11-21 or 2026-11-21T08:30:00Z",
        ),
        ({"a": [None]}, {"null": "remove"}, "traits.a[0]: None has no meaning inside a list; leave it out"),
    ],
)
def test_names_the_field_that_is_wrong(row: dict[str, Any], settings: dict[str, Any], problem: str) -> None:
    """The value is not quoted."""
    with pytest.raises(InvalidTraitsError) as caught:
        mapped(row, **settings)

    assert str(caught.value) == problem


def test_observed_at_may_be_seconds_or_absent() -> None:
    """It may also be a datetime."""
    seconds = {"t": FieldRule(cast="epoch")}
    local = NOON.astimezone(timezone(timedelta(hours=3)))

    assert mapped({"t": NOON.timestamp()}, observed_at="t", fields=seconds).observed_at == NOON
    assert mapped({"t": local}, observed_at="t").observed_at == NOON
    assert mapped({}, observed_at="t").observed_at is None


@given(row=st.one_of(trait_maps(), st.dictionaries(st.sampled_from(["id", "uid", "name", "email", "a"]), texts())))
def test_an_empty_mapping_changes_nothing(row: dict[str, Any]) -> None:
    """The user or the error is the same as without a mapping."""

    def result_of(to_user: Callable[[dict[str, Any]], UserTraits]) -> UserTraits | str:
        try:
            return to_user(copy.deepcopy(row))
        except InvalidTraitsError as error:
            return str(error)

    if any(not isinstance(row.get(key, "u1"), str) or row.get(key) == "" for key in ("user_id", "uid", "id")):
        return  # An id from a row may be a number, and the error about an id names its field.

    assert result_of(CompiledMapping.compile(RowMapping()).to_user) == result_of(UserTraits.from_mapping)


@given(row=trait_maps(), name=trait_names(), other=trait_names())
def test_renaming_back_restores_the_row(row: dict[str, Any], name: str, other: str) -> None:
    """The new name must be free."""
    own = {"user_id", "uid", "id", "name", "display_name", "email"}
    row = {key: value for key, value in row.items() if key not in own and "." not in key}
    if "." in name or "." in other or not name or not other or other in row or {name, other} & own or name == other:
        return
    forth = RowMapping(fields={name: FieldRule(rename=other)})
    back = RowMapping(fields={other: FieldRule(rename=name)})

    once = user_of(row, forth).traits

    assert user_of(dict(once), back) == UserTraits(traits=row)


@given(
    row=trait_maps(),
    field=trait_names(),
    rule=st.builds(
        FieldRule,
        rename=st.none() | trait_names().filter(lambda name: all(name.split("."))),
        cast=st.sampled_from(["any", "str", "int", "real", "bool", "date", "epoch", "json", "ints", "dates"]),
        default=st.none() | st.sampled_from(["1", 1, [1], {"a": 1}]),
        null=st.sampled_from(["inherit", "absent", "remove"]),
    ),
    null=st.sampled_from(["absent", "remove"]),
    unlisted=st.sampled_from(["keep", "drop"]),
)
def test_errors_never_quote_a_value(row: dict[str, Any], field: str, rule: FieldRule, null: Any, unlisted: Any) -> None:
    """This holds for any mapping and any row."""
    row = {**row, "canary": CANARY, "id": CANARY}
    fields = {field: rule, "canary": FieldRule(cast="str")}
    problem = ""
    try:
        user_of(row, RowMapping(null=null, unlisted=unlisted, fields=fields))
    except (ConfigurationError, InvalidTraitsError) as error:
        problem = str(error)

    assert CANARY not in problem
