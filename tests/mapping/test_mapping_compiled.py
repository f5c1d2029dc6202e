"""Mappings applied to rows."""

import copy
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from replay_identity import REMOVE, ConfigurationError, InvalidTraitsError, UserTraits
from replay_identity.mapping import CompiledMapping, FieldRule, RowMapping
from replay_identity.testing import texts, trait_maps, trait_names

CANARY = "canary-7Q"
LEFT_OUT = '; set on_error = "absent" to leave it out'
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


def test_the_first_of_two_default_names_counts() -> None:
    """The other one is a trait."""
    assert mapped({"display_name": "A", "name": "Ada"}) == UserTraits(name="Ada", traits={"display_name": "A"})


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
    row = {"a": NAIVE, "b": {"c": NAIVE}, "d": NOON, "e": date(2026, 11, 21), "f": None}

    user = user_of(row, RowMapping(timezone="UTC", fields={"a": FieldRule()}), has_datetimes=True)

    assert user.traits == {"a": NOON, "b": {"c": NOON}, "d": NOON, "e": date(2026, 11, 21)}
    with pytest.raises(InvalidTraitsError, match=r"^b\.c: the datetime has no time zone"):
        user_of({"b": {"c": NAIVE}}, RowMapping(), has_datetimes=True)


@pytest.mark.parametrize(
    ("row", "settings", "problem"),
    [
        ({"a": CANARY}, {"fields": {"a": FieldRule(cast="int")}}, f"a: expected a whole number{LEFT_OUT}"),
        ({"a": {"b": CANARY}}, {"fields": {"a.b": FieldRule(cast="int")}}, f"a.b: expected a whole number{LEFT_OUT}"),
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
            f"a: expected an ISO 8601 date, such as 2026-11-21 or 2026-11-21T08:30:00Z{LEFT_OUT}",
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
    if (
        "." in name
        or "." in other
        or not name.strip()
        or not other.strip()
        or other in row
        or {name, other} & own
        or name == other
    ):
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
        rename=st.none() | trait_names().filter(lambda name: name.strip() and all(name.split("."))),
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


def test_an_emptied_object_is_absent() -> None:
    """At any depth, so that a field can take its name; objects that were empty before, or are not empty, stay."""
    fields = rules(
        seats__n=FieldRule(rename="seats", cast="int"), a__b__c=FieldRule(rename="a"), d__e=FieldRule(drop=True)
    )
    row = {"seats": {"n": "5"}, "a": {"b": {"c": 1}}, "d": {"e": 1}, "f": {}}

    assert mapped(row, fields=fields).traits == {"seats": 5, "a": 1}
    absent = rules(a__b=FieldRule(drop=True), a=FieldRule(default="x"))
    assert mapped({"a": {"b": 1}}, fields=absent).traits == {"a": "x"}
    with pytest.raises(InvalidTraitsError, match=r"^seats: is given twice"):
        mapped({"seats": {"n": "5", "other": 1}}, fields=rules(seats__n=FieldRule(rename="seats")))


def test_a_path_may_lead_into_a_list() -> None:
    """The list stays as it is."""
    row = {"id": "u1", "emails": [{"value": "a@b.c"}, {"value": "d@e.f"}], "tags": ["x"], "matrix": {"0": "zero"}}
    fields = rules(tags__0=FieldRule(rename="first"), emails__1__value=FieldRule(rename="second"), tags__7=FieldRule())

    user = mapped(row, email="emails.0.value", fields={**fields, "matrix.0": FieldRule(rename="zero")})

    assert user.email == "a@b.c"
    assert user.traits == {
        "emails": ({"value": "a@b.c"}, {"value": "d@e.f"}),
        "tags": ("x",),
        "first": "x",
        "second": "d@e.f",
        "zero": "zero",
    }
    for path in ("emails.x", "emails.²", "emails.-1", "emails.0.value.0", f"emails.{'9' * 5000}"):
        assert mapped(row, name=path, fields={"emails": FieldRule(drop=True)}).name is None


def test_nothing_is_dropped_from_a_list() -> None:
    """The list would keep the value, so the row is rejected; an object with such a name is not a list."""
    dropped = rules(emails__0__value=FieldRule(drop=True))

    with pytest.raises(InvalidTraitsError, match=r"^emails\.0\.value: is in a list, from which nothing can be dropped"):
        mapped({"emails": [{"value": CANARY}]}, fields=dropped)
    assert mapped({"emails": {"0": {"value": CANARY}}}, fields=dropped).traits == {}
    assert mapped({"emails": []}, fields=dropped).traits == {"emails": ()}


def test_joins_a_name_from_several_fields() -> None:
    """Absent, null and blank parts are skipped."""
    names = ["First Name", "who.last"]
    casts = {"First Name": FieldRule(cast="str")}

    assert mapped({"First Name": "Ada", "who": {"last": "Lovelace"}}, name=names) == UserTraits(name="Ada Lovelace")
    assert mapped({"First Name": " ", "who": {"last": "Lovelace"}}, name=names).name == "Lovelace"
    assert mapped({"First Name": None, "name": "x"}, name=names) == UserTraits(traits={"name": "x"})
    assert mapped({"First Name": 7}, name=names, fields=casts).name == "7"
    with pytest.raises(InvalidTraitsError, match=r"^First Name: expected a string; set the cast to str$"):
        mapped({"First Name": 7}, name=names)


@pytest.mark.parametrize("name", ["Phone No.", "Acct. Mgr", ".a", "a..b"])
def test_dots_that_separate_no_names_are_flat(name: str) -> None:
    """The field is found, renamed, and keeps its name."""
    assert mapped({name: "1"}, fields={name: FieldRule(cast="int")}).traits == {name: 1}
    assert mapped({name: "1"}, fields={name: FieldRule(rename="x")}).traits == {"x": "1"}
    assert mapped({"x": "1"}, fields={"x": FieldRule(rename=name)}).traits == {name: "1"}
    both = {"Phone No": FieldRule(cast="int"), "Phone No.": FieldRule(cast="int")}
    assert mapped({"Phone No": "1", "Phone No.": "2"}, fields=both).traits == {"Phone No": 1, "Phone No.": 2}


def test_flat_dots_do_not_nest() -> None:
    """Unless a new name says so."""
    fields = rules(a__b=FieldRule(cast="int"), c=FieldRule(rename="d.e"), a=FieldRule(cast="int"))

    user = mapped({"a.b": "1", "a": "2", "c": 3}, dots="flat", fields=fields)

    assert user.traits == {"a.b": 1, "a": 2, "d": {"e": 3}}


def test_lifts_the_fields_of_an_object() -> None:
    """Rules, own fields and nested traits are found in it."""
    row = {"uid": "u1", "x": 1, "data": {"traits": {"email": "a@b.c", "seats": "3", "address": {"city": "Ulm"}}}}
    fields = rules(seats=FieldRule(cast="int"), address__city=FieldRule(rename="city"))

    user = mapped(row, lift="data.traits", fields=fields)

    assert user == UserTraits("u1", email="a@b.c", traits={"x": 1, "seats": 3, "city": "Ulm"}, types={"seats": "int"})


@pytest.mark.parametrize("lifted", ['{"plan": "pro"}', {"plan": "pro"}])
def test_lifts_objects_written_as_json(lifted: object) -> None:
    """As columns of CSV and Parquet hold them."""
    assert mapped({"id": "u1", "traits": lifted}, lift="traits") == UserTraits("u1", traits={"plan": "pro"})


@pytest.mark.parametrize("row", [{"id": "u1"}, {"id": "u1", "traits": None}, {"id": "u1", "traits": {}}])
def test_nothing_to_lift_is_no_error(row: dict[str, Any]) -> None:
    """The object is absent, null or empty."""
    assert mapped(row, lift="traits") == UserTraits("u1")


@pytest.mark.parametrize(
    ("row", "settings", "problem"),
    [
        ({"plan": 1, "traits": {"plan": CANARY}}, {}, "plan: is given twice: beside traits, and in it"),
        (
            {"id": CANARY, "traits": {"id": "u2"}},
            {"unlisted": "lifted"},
            "id: is given twice: beside traits, and in it",
        ),
        (
            {"plan": 1, "traits": {"plan": CANARY}},
            {"unlisted": "lifted", "fields": {"plan": FieldRule()}},
            "plan: is given twice: beside traits, and in it",
        ),
        ({"traits": [CANARY]}, {}, "traits: expected an object whose fields to lift"),
        ({"traits": CANARY}, {}, "traits: expected JSON"),
        ({"traits": '["x"]'}, {}, "traits: expected an object whose fields to lift"),
    ],
)
def test_names_what_cannot_be_lifted(row: dict[str, Any], settings: dict[str, Any], problem: str) -> None:
    """The value is not quoted."""
    with pytest.raises(InvalidTraitsError) as caught:
        mapped(row, lift="traits", **settings)

    assert str(caught.value) == problem


def test_only_lifted_fields_may_become_traits() -> None:
    """Besides those with a rule. The id is found beside the object, the name in it before one beside it."""
    row = {
        "user_id": "u1",
        "id": "7",
        "name": "page",
        "type": "x",
        "context": {"ip": "1", "os": "2"},
        "traits": {"type": "y", "name": "Ada", "plan": "pro"},
    }
    fields = rules(context__ip=FieldRule(rename="ip"))

    user = mapped(row, lift="traits", unlisted="lifted", fields=fields)

    assert user == UserTraits("u1", name="Ada", traits={"type": "y", "plan": "pro", "ip": "1"})
    assert mapped({"id": "u1", "email": "e", "traits": {"display_name": "A"}}, lift="traits", unlisted="lifted") == (
        UserTraits("u1", name="A", email="e")
    )


@pytest.mark.parametrize(
    ("value", "selected"),
    [
        ("identify", True),
        ("Identify", False),
        (1, True),
        (1.0, True),
        (Decimal(1), True),
        (True, False),
        (False, True),
        (0, False),
        ("1", False),
        (date(2026, 11, 21), True),
        (NOON, False),
        (Decimal("sNaN"), False),
        (None, False),
        (["identify"], False),
    ],
)
def test_selects_rows_by_exact_values(value: object, selected: object) -> None:
    """Of one kind: a text is not a number, and true is not one."""
    where = {"message.type": ["identify", 1, False, date(2026, 11, 21)]}
    mapping = CompiledMapping.compile(RowMapping(where=where))

    assert mapping.selects({"message": {"type": value}}) is selected
    assert mapping.selects({"message.type": value}) is selected


def test_selects_rows_that_meet_every_condition() -> None:
    """A row without the field does not; the row is left as it is."""
    mapping = CompiledMapping.compile(RowMapping(where={"type": "RECORD", "tags.0": "x"}))
    row = {"type": "RECORD", "tags": ["x"]}

    assert mapping.selects(row)
    assert row == {"type": "RECORD", "tags": ["x"]}
    assert not mapping.selects({"type": "RECORD"})
    assert not mapping.selects({"type": "STATE", "tags": ["x"]})


def test_keeps_the_paths_that_no_row_had() -> None:
    """A null counts as seen, and a field with a default need not occur."""
    mapping = CompiledMapping.compile(
        RowMapping(
            user_id="key",
            name=["first", "last"],
            lift="traits",
            where={"type": "x"},
            fields=rules(snn=FieldRule(drop=True), a__b=FieldRule(), plan=FieldRule(default="free")),
        )
    )
    assert mapping.unseen == {"key", "first", "last", "traits", "type", "snn", "a.b"}

    mapping.selects({})
    mapping.to_user({"key": "u1", "first": None, "a": {}})
    assert mapping.unseen == {"last", "traits", "type", "snn", "a.b"}

    mapping.selects({"type": "y"})
    mapping.to_user({"key": "u1", "traits": {"last": "L", "a.b": 1}})
    assert mapping.unseen == {"snn"}

    mapping.to_user({"snn": 1})
    assert not mapping.unseen
    mapping.to_user({})


@pytest.mark.parametrize(
    ("row", "settings", "expected"),
    [
        ({"id": 7}, {}, "7"),
        ({"a": -(2**70)}, {"user_id": "a"}, str(-(2**70))),
        ({"id": 1.0}, {"fields": {"id": FieldRule(cast="int")}}, "1"),
        ({"user_id": "u1", "uid": None, "id": 7}, {}, "u1"),
        ({"uid": "u1", "id": None}, {"null": "remove"}, "u1"),
        ({"id": None}, {"user_id": "a"}, None),
        ({}, {}, None),
        ({"traits": {"id": 7}}, {"lift": "traits"}, "7"),
        ({"a": {"0": "u1"}}, {"user_id": "a.0"}, "u1"),
        ({"a": ["u1"]}, {"user_id": "a.0"}, "u1"),
        ({"uid": "u1"}, {"fields": {"id": FieldRule(cast="int")}}, "u1"),
        ({"uid": " u1\u200b"}, {"trim": True, "normalise": True}, "u1"),
    ],
)
def test_whole_numbers_are_ids(row: dict[str, Any], settings: dict[str, Any], expected: str | None) -> None:
    """As their digits; the first field present decides."""
    mapping = CompiledMapping.compile(RowMapping(**settings))

    assert mapping.find_user_id(copy.deepcopy(row)) == expected
    assert mapping.to_user(row).user_id == expected


@pytest.mark.parametrize(
    ("row", "settings", "path"),
    [
        ({"user_id": None, "id": "77"}, {}, "user_id"),
        ({"uid": "", "id": "77"}, {}, "uid"),
        ({"user_id": None}, {"null": "remove"}, "user_id"),
        ({"a": None, "id": "77"}, {"user_id": "a"}, "a"),
        ({"a": None, "id": "77"}, {"fields": {"a": FieldRule(rename="user_id")}}, "a"),
        ({"id": None}, {"fields": {"id": FieldRule(cast="str", null="remove")}}, "id"),
        ({"user_id": None, "id": "77"}, {"unlisted": "drop"}, "user_id"),
        ({"id": True}, {}, "id"),
        ({"id": 1.5}, {}, "id"),
        ({"id": 1.0}, {}, "id"),
        ({"id": ["u1"]}, {}, "id"),
        ({"traits": {"id": None}}, {"lift": "traits", "unlisted": "lifted"}, "id"),
    ],
)
def test_a_present_id_must_be_valid(row: dict[str, Any], settings: dict[str, Any], path: str) -> None:
    """Another field is not taken instead."""
    mapping = CompiledMapping.compile(RowMapping(**settings))

    for find in (mapping.to_user, mapping.find_user_id):
        with pytest.raises(InvalidTraitsError) as caught:
            find(copy.deepcopy(row))
        assert caught.value.path == path


IDS = st.none() | st.sampled_from(["", "u1", " U2 ", "NULL"]) | st.integers(0, 3) | st.booleans() | st.just(1.5)
ID_FIELDS = st.dictionaries(st.sampled_from(["user_id", "uid", "id", "key", "plan"]), IDS)


@given(
    fields=ID_FIELDS,
    traits=st.none() | ID_FIELDS,
    user_id=st.sampled_from([None, "key", "traits.id"]),
    settings=st.fixed_dictionaries(
        {
            "null": st.sampled_from(["absent", "remove"]),
            "unlisted": st.sampled_from(["keep", "drop"]),
            "nulls": st.sampled_from([(), ("NULL",)]),
            "trim": st.booleans(),
            "lower": st.booleans(),
            "where": st.sampled_from([{}, {"plan": "u1"}]),
            "fields": st.dictionaries(
                st.sampled_from(["id", "uid", "plan", "traits.uid"]),
                st.sampled_from(
                    [FieldRule(cast="int"), FieldRule(cast="str"), FieldRule(drop=True), FieldRule(rename="user_id")]
                ),
                max_size=1,
            ),
        }
    ),
    lift=st.sampled_from([None, "traits"]),
)
@example(
    fields={"user_id": "", "id": "u1"},
    traits=None,
    user_id="key",
    settings={"unlisted": "drop", "fields": {"id": FieldRule(rename="user_id")}},
    lift=None,
)
def test_finds_the_id_that_the_user_gets(
    fields: dict[str, Any], traits: Any, user_id: str | None, settings: dict[str, Any], lift: str | None
) -> None:
    """Whatever the row and the mapping; a row that is left out has none."""
    row = {**fields, "traits": traits}
    try:
        mapping = CompiledMapping.compile(RowMapping(user_id=user_id, lift=lift, **settings))
    except ConfigurationError:
        return
    try:
        expected = mapping.to_user(copy.deepcopy(row)).user_id
    except InvalidTraitsError:
        return

    assert mapping.find_user_id(copy.deepcopy(row)) == expected


@pytest.mark.parametrize("user_id", [float(2**53), -(2.0**53), 1.23e18])
def test_rejects_ids_that_a_float_may_have_changed(user_id: float) -> None:
    """Two people would become one."""
    mapping = CompiledMapping.compile(RowMapping(fields={"id": FieldRule(cast="int")}))

    assert mapping.to_user({"id": float(2**53 - 1)}).user_id == "9007199254740991"
    with pytest.raises(InvalidTraitsError, match=r"^id: is a number that a 64-bit float cannot hold exactly"):
        mapping.to_user({"id": user_id})


def test_a_list_of_names_is_not_empty() -> None:
    """There would be no name."""
    with pytest.raises(ConfigurationError, match=r"^name: is empty"):
        RowMapping(name=())
