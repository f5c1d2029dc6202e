import importlib
import io
import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity import UserTraits
from replay_identity.errors import SourceError
from replay_identity.mapping import FieldRule, RowMapping
from replay_identity.sources import BadRow, Row, Rows, SourceNotes, read_query, read_rows, read_users
from replay_identity.sources.conversion import RowConverter

# Without type stubs.
pl: Any = importlib.import_module("polars")

SPELLINGS = {
    "user_id": ["User ID", "userId", "USER-ID", "User_Id"],
    "name": ["Name", "NAME"],
    "email": ["E-Mail", "eMail"],
}


def read(text: str, *, mapping: RowMapping | None = None, anonymous: bool = False) -> Rows[Row | BadRow]:
    """Return the rows of CSV, or of JSON Lines if the text begins as an object."""
    is_json = text.startswith("{")
    source = io.BytesIO(text.encode())
    return read_users(source, format="jsonl" if is_json else "csv", mapping=mapping, anonymous=anonymous)


def refused(text: str, *, mapping: RowMapping | None = None) -> str:
    """Return why the whole source is refused."""
    with pytest.raises(SourceError) as caught:
        list(read(text, mapping=mapping))
    return caught.value.problem


@given(*(st.sampled_from(spellings) for spellings in SPELLINGS.values()))
def test_own_fields_have_many_spellings(user_id: str, name: str, email: str) -> None:
    """Case, spaces, underscores and hyphens do not matter, and the notes say what became what."""
    csv = read(f"{user_id},{name},{email},plan\nu1,Ada,ada@example.com,pro\n")
    json = read(f'{{"{user_id}": "u1", "{name}": "Ada", "{email}": "ada@example.com", "plan": "pro"}}')
    user = UserTraits("u1", name="Ada", email="ada@example.com", traits={"plan": "pro"})

    for rows, line in ((csv, 2), (json, 1)):
        assert list(rows) == [Row(line, user)]
        assert rows.notes.own_fields == {user_id: "user_id", name: "name", email: "email"}


def test_exact_names_win_over_other_spellings() -> None:
    """The other column is a trait, and the notes say so."""
    rows = read("id,email,Email\nu1,a@example.com,b@example.com\n")

    assert list(rows) == [Row(2, UserTraits("u1", email="a@example.com", traits={"Email": "b@example.com"}))]
    assert rows.notes.look_alikes == {"Email"}


def test_a_spelled_user_id_wins_over_an_id() -> None:
    """As user_id does over id; what the id is not is in the notes."""
    rows = read('{"id": "7", "userId": "u1"}')

    assert list(rows) == [Row(1, UserTraits("u1", traits={"id": "7"}))]
    assert rows.notes.look_alikes == {"id"}


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("Email,EMAIL,id", "Email and EMAIL: each could be email; set email in a mapping (--mapping)"),
        ("User ID,user-id", "User ID and user-id: each could be user_id; set user_id in a mapping (--mapping)"),
        (
            "external_id,plan",
            'has no column for the user id; found external_id, plan; name it in a mapping: user_id = "…" (--mapping)',
        ),
        (
            "ada@example.com,7 Oak Street",
            (
                "has no column for the user id; found 2 columns, but the first line looks like a row instead of a "
                'header; name it in a mapping: user_id = "…" (--mapping)'
            ),
        ),
    ],
)
def test_what_cannot_be_known_is_refused(header: str, problem: str) -> None:
    """The error names the columns, unless they look like values."""
    assert refused(f"{header}\nx,y,z\n") == problem


def test_ambiguous_fields_of_one_row_make_it_bad() -> None:
    """Other rows of JSON Lines have other fields."""
    rows = list(read('{"id": "u1", "Email": "a", "EMAIL": "b"}\n{"id": "u2", "Email": "a"}'))

    assert [type(row) for row in rows] == [BadRow, Row]


def test_a_long_list_of_columns_is_cut() -> None:
    """An error stays readable."""
    assert "column19 and 5 more;" in refused(",".join(f"column{number}" for number in range(25)) + "\n")


def test_a_rule_applies_under_any_spelling() -> None:
    """A column with a rule is still the user's own field."""
    mapping = RowMapping(fields={"Email": FieldRule(trim=True), "ID": FieldRule(cast="str")})

    rows = read("ID,Email\nu1, ada@example.com\n", mapping=mapping)

    assert list(rows) == [Row(2, UserTraits("u1", email="ada@example.com"))]
    assert rows.notes.own_fields == {"ID": "id", "Email": "email"}


@pytest.mark.parametrize("rule", [FieldRule(rename="contact"), FieldRule(drop=True)])
def test_a_rule_may_make_an_own_field_a_trait(rule: FieldRule) -> None:
    """Or drop it. Then it is not in the notes."""
    rows = read('{"id": "u1", "Email": "ada@example.com"}', mapping=RowMapping(fields={"Email": rule}))

    assert list(rows) == [Row(1, UserTraits("u1", traits={"contact": "ada@example.com"} if rule.rename else {}))]
    assert rows.notes.own_fields == {}


def test_a_setting_takes_the_field_away_from_its_name() -> None:
    """The column of that name is then a trait."""
    rows = list(read("id,Email,Work\nu1,a@example.com,b@example.com\n", mapping=RowMapping(email="Work")))

    assert rows == [Row(2, UserTraits("u1", email="b@example.com", traits={"Email": "a@example.com"}))]


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        (
            RowMapping(fields={"snn": FieldRule(drop=True)}),
            "the mapping names the column snn, which it lacks; did you mean ssn?",
        ),
        (RowMapping(email="E-Mail"), "the mapping names the column E-Mail, which it lacks; did you mean Email?"),
        (RowMapping(user_id="quux"), "the mapping names the column quux, which it lacks; found id, ssn, Email"),
    ],
)
def test_a_mapping_that_names_an_absent_column_is_refused(mapping: RowMapping, problem: str) -> None:
    """Otherwise what it should drop would be sent."""
    assert refused("id,ssn,Email\nu1,1,a\n", mapping=mapping) == problem


@pytest.mark.parametrize(
    "mapping",
    [
        RowMapping(fields={"plan": FieldRule(default="free")}),
        RowMapping(fields={"company": FieldRule(drop=True)}),
        RowMapping(fields={"snn": FieldRule(drop=True)}, strict=False),
        RowMapping(fields={"company.name": FieldRule(drop=True)}),
    ],
)
def test_some_absent_columns_are_meant(mapping: RowMapping) -> None:
    """Those with a default, parents of other columns, and all of a mapping that is not strict."""
    assert len(list(read("id,company.name\nu1,Acme\n", mapping=mapping))) == 1


@pytest.mark.parametrize("name", ["SSN", "S-S-N", "s_sn"])
def test_a_misspelt_column_beside_the_named_one_is_refused(name: str) -> None:
    """It would be sent, although the rule was meant for both."""
    text = f"id,ssn,{name}\nu1,1,2\n"
    drop = FieldRule(drop=True)

    assert refused(text, mapping=RowMapping(fields={"ssn": drop})) == (
        f"has the column {name}, which the mapping does not name, although it names ssn; "
        "name both of them, or set strict = false"
    )
    for allowed in (RowMapping(fields={"ssn": drop, name: drop}), RowMapping(fields={"ssn": drop}, strict=False)):
        assert [type(row) for row in read(text, mapping=allowed)] == [Row]


@pytest.mark.parametrize("path", ["ssn", "ssn.number"])
def test_a_misspelt_field_of_some_rows_is_in_the_notes(path: str) -> None:
    """Those rows are read before it is known, so the exit code says it."""
    text = '{"id": "u1", "ssn": {"number": "1"}}\n{"id": "u2", "SSN": "2"}'
    rows = read(text, mapping=RowMapping(fields={path: FieldRule(drop=True)}))

    assert [type(row) for row in rows] == [Row, Row]
    assert rows.notes.lines() == ["SSN is not in the mapping, although ssn is; name it, too"]
    assert rows.notes.as_dict()["misspelt"] == {"SSN": "ssn"}
    assert rows.notes.has_problem


def test_a_name_that_no_row_spells_right_is_named_once() -> None:
    """As a field that no row has."""
    rows = read('{"id": "u1", "SSN": "1"}', mapping=RowMapping(fields={"ssn": FieldRule(drop=True)}))

    assert len(list(rows)) == 1
    assert rows.notes.lines() == ["the mapping names ssn, which no row has; did you mean SSN?"]


def test_fields_that_no_row_has_are_in_the_notes() -> None:
    """Rows of JSON Lines differ, so it is known only at their end."""
    rows = read('{"id": "u1", "ssn": "1"}\n{"id": "u2"}', mapping=RowMapping(fields={"snn": FieldRule(drop=True)}))

    assert len(list(rows)) == 2
    assert rows.notes.unused == {"snn": "ssn"}
    assert rows.notes.lines() == ["the mapping names snn, which no row has; did you mean ssn?"]


def test_fields_of_one_file_are_not_missed_in_others(tmp_path: Path) -> None:
    """Only a field that no row of any file has is one."""
    for name in ("a", "b", "c"):
        row = '{"id": "u1"}' if name == "c" else f'{{"id": "{name}", "{name}": 1}}'
        (tmp_path / f"{name}.jsonl").write_text(row, encoding="utf-8")
    mapping = RowMapping(fields={name: FieldRule(drop=True) for name in ("a", "b", "x")})
    rows = read_users(str(tmp_path / "*.jsonl"), mapping=mapping)

    assert len(list(rows)) == 3
    assert rows.notes.unused == {"x": None}


def test_a_source_without_rows_lacks_nothing() -> None:
    """An empty export is not a mistake of the mapping."""
    mapping = RowMapping(fields={"plan": FieldRule(drop=True)})
    rows = read_users(io.BytesIO(b""), format="jsonl", mapping=mapping)

    assert list(rows) == []
    assert rows.notes.unused == {}


def test_many_sets_of_names_are_read_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names come from the data."""
    monkeypatch.setattr("replay_identity.sources.conversion._MAX_SHAPES", 3)
    lines = "".join(f'{{"ID": "u{number}", "f{number}": 1}}\n' for number in range(10))

    assert [row.user.user_id for row in read(lines) if isinstance(row, Row)] == [f"u{number}" for number in range(10)]


def test_bad_rows_of_several_files_name_their_file(tmp_path: Path) -> None:
    """Their lines are counted in each file."""
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("id,plan\n,pro\n", encoding="utf-8")

    rows = list(read_users([tmp_path / "a.csv", tmp_path / "b.csv"]))

    assert [str(row) for row in rows] == [
        f"{tmp_path}/{name}, line 2: id: the id is empty" for name in ("a.csv", "b.csv")
    ]
    assert list(read_users(str(tmp_path / "*.csv"))) == rows


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ('"_id": {"$oid": "canary-7Q"}', "_id.$oid"),
        ('"id": {"value": "canary-7Q"}', "id.value"),
        ('"id": {"a": 1, "b": 2}', "id.\u2026"),
        ('"id": {}', "id.\u2026"),
    ],
)
@pytest.mark.parametrize("mapping", [None, RowMapping(where={"plan": "a"})])
def test_an_object_as_id_is_explained_once(field: str, path: str, mapping: RowMapping | None) -> None:
    """The mapping that finds the id is in the first bad row."""
    other, line = f'{{{field}, "plan": "b"}}\n', f'{{{field}, "plan": "a"}}\n'
    text = (other if mapping else "") + line * 2

    first, second = read(text, mapping=mapping)

    assert isinstance(first, BadRow)
    assert isinstance(second, BadRow)
    assert second.problem == "id: expected an id as text or as a whole number"
    hint = f'name the field in it: user_id = "{path}" (--mapping)'
    assert first.problem == f"{second.problem}, got an object; {hint}"


def test_a_mapping_finds_the_id_in_an_object() -> None:
    """As the error for its absence says."""
    for field, path in (('"_id": {"$oid": "u1"}', "_id.$oid"), ('"id": {"value": "u1"}', "id.value")):
        (row,) = read(f"{{{field}}}", mapping=RowMapping(user_id=path))

        assert isinstance(row, Row)
        assert row.user.user_id == "u1"


PERSON = {"ssn": "1", "city": "X"}


@pytest.mark.parametrize(
    "mapping",
    [
        RowMapping(fields={"person.snn": FieldRule(drop=True)}),
        RowMapping(fields={"person.City": FieldRule(drop=True)}),
        RowMapping(email="person.mail.0.value"),
        RowMapping(name=("person.city", "person.citi")),
        RowMapping(lift="person", fields={"snn": FieldRule(drop=True)}),
        RowMapping(fields={"person": FieldRule(cast="json"), "person.snn": FieldRule(drop=True)}),
    ],
)
def test_fields_that_no_object_has_are_in_the_notes(mapping: RowMapping) -> None:
    """In every format: what is in an object is known only at the end."""
    named = next(path for path in mapping.field_paths if path.endswith(("snn", "City", "value", "citi")))
    sources = [
        read_rows([{"id": "u1", "person": dict(PERSON)}], mapping=mapping),
        read_rows(pl.DataFrame({"id": ["u1"], "person": [PERSON]}), mapping=mapping),
        read(f'{{"id": "u1", "person": {json.dumps(PERSON)}}}', mapping=mapping),
    ]
    if "person" in (*mapping.fields, mapping.lift):
        cell = json.dumps(PERSON).replace('"', '""')
        sources.append(read(f'id,person\nu1,"{cell}"\n', mapping=mapping))

    for rows in sources:
        assert [type(row) for row in rows] == [Row]
        assert list(rows.notes.unused) == [named]


def test_a_field_that_only_rows_left_out_have_is_in_the_notes() -> None:
    """A misspelt rule applies to none of the rows that are read."""
    mapping = RowMapping(where={"k": "no"}, fields={"snn": FieldRule(drop=True)})
    rows = read('{"id": "u1", "k": "yes", "snn": "1"}\n{"id": "u2", "k": "no", "ssn": "2"}', mapping=mapping)

    assert len(list(rows)) == 1
    assert rows.notes.unused == {"snn": "ssn"}


@pytest.mark.parametrize("text", ["id,seats\nu1,43\n", '{"id": "u1", "seats": "43"}'])
def test_a_default_for_a_misspelt_field_is_not_given_to_all(text: str) -> None:
    """A default is for a field that some rows lack, not for one whose name is almost that of another."""
    mapping = RowMapping(fields={"seat": FieldRule(cast="int", default=1)})

    if text.startswith("{"):
        rows = read(text, mapping=mapping)
        assert len(list(rows)) == 1
        assert rows.notes.unused == {"seat": "seats"}
    else:
        assert refused(text, mapping=mapping) == (
            "the mapping names the column seat, which it lacks; did you mean seats?"
        )
    assert len(list(read(text, mapping=attrs.evolve(mapping, strict=False)))) == 1


@pytest.mark.parametrize("text", ["ID,Email,plan\nu1,a@x.com,\nu2,b@x.com,pro\n", '{"ID": "u1", "Email": "a@x.com"}'])
@pytest.mark.parametrize("where", [{"Email": "a@x.com"}, {"ID": "u1"}, {"ID": ["u1", "u3"], "Email": "a@x.com"}])
def test_a_filter_does_not_take_an_own_field_away(text: str, where: dict[str, object]) -> None:
    """Under another spelling, it is still the user's own field."""
    rows = read(text, mapping=RowMapping(where=where))

    assert list(rows) == [Row(1 if text.startswith("{") else 2, UserTraits("u1", email="a@x.com"))]


def test_a_filter_finds_rows_without_a_value(tmp_path: Path) -> None:
    """An empty text stands for what is absent, null or empty, which CSV cannot tell apart."""
    mapping = RowMapping(where={"gone": ""}, strict=False)
    texts = ["id,gone\nu1,\nu2,x\n", '{"id": "u1"}\n{"id": "u2", "gone": "x"}', '{"id": "u1", "gone": null}']
    for text in (*texts, '{"id": "u1", "gone": ""}'):
        assert [row.user.user_id for row in read(text, mapping=mapping) if isinstance(row, Row)] == ["u1"]

    path = tmp_path / "users.csv"
    path.write_text("id,gone\nu1,\nu2,x\n", encoding="utf-8")
    assert list(read_users(path, mapping=mapping).read_ids()) == ["u1"]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_the_ids_of_a_filter_on_an_own_field_are_found(tmp_path: Path, kind: str) -> None:
    """By the same spelling as in the rows."""
    path = tmp_path / f"users.{kind}"
    texts = {"csv": "ID,Email\nu1,a\nu2,b\n", "jsonl": '{"ID": "u1", "Email": "a"}\n{"ID": "u2", "Email": "b"}'}
    path.write_text(texts[kind], encoding="utf-8")

    assert list(read_users(path, mapping=RowMapping(where={"Email": "b"})).read_ids()) == ["u2"]


@pytest.mark.parametrize(
    ("mapping", "user"),
    [
        (RowMapping(fields={"p": FieldRule(cast="json"), "p.ssn": FieldRule(drop=True)}), {"p": {"city": "X"}}),
        (
            RowMapping(fields={"p": FieldRule(cast="json"), "p.city": FieldRule(rename="town")}),
            {"p": {"ssn": "1"}, "town": "X"},
        ),
        (
            RowMapping(
                fields={"p": FieldRule(cast="json"), "p.ssn": FieldRule(cast="int"), "p.city": FieldRule(drop=True)}
            ),
            {"p": {"ssn": 1}},
        ),
    ],
)
def test_rules_apply_inside_a_text_with_json(mapping: RowMapping, user: dict[str, Any]) -> None:
    """As inside an object."""
    cell = json.dumps(PERSON).replace('"', '""')
    for text in (f'id,p\nu1,"{cell}"\n', json.dumps({"id": "u1", "p": json.dumps(PERSON)})):
        rows = read(text, mapping=mapping)
        assert [row.user.traits for row in rows if isinstance(row, Row)] == [user]
        assert not rows.notes.has_problem


def test_the_id_may_be_inside_a_text_with_json(tmp_path: Path) -> None:
    """It is found beforehand, too."""
    path = tmp_path / "users.csv"
    path.write_text('p\n"{""id"": ""u1""}"\n"{"\nnull\n', encoding="utf-8")
    rows = read_users(path, mapping=RowMapping(user_id="p.id", fields={"p": FieldRule(cast="json")}))

    assert list(rows.read_ids()) == ["u1"]
    assert [str(row) if isinstance(row, BadRow) else row.user.user_id for row in rows] == [
        "u1",
        "line 3: p: expected JSON",
        "line 4: has no user id; expected one in p.id",
    ]


def test_a_source_without_columns_says_so() -> None:
    """As an empty frame has none."""
    with pytest.raises(SourceError, match="has no column for the user id; found no columns; name it in a mapping"):
        RowConverter("the rows", None, SourceNotes()).columns([])


def test_a_row_that_repeats_the_header_is_never_a_user(tmp_path: Path) -> None:
    """As when CSV files were joined before they were read into a table."""
    names = {"Id": ["Id", "u1"], "plan": ["plan", "pro"]}
    frame = pl.DataFrame(names)
    frame.write_parquet(tmp_path / "users.parquet")
    query = "SELECT * FROM (VALUES ('Id', 'plan'), ('u1', 'pro')) AS t(\"Id\", plan)"

    for rows in (read_rows(frame), read_users(tmp_path / "users.parquet"), read_query(query)):
        assert list(rows) == [
            BadRow(1, 1, "repeats the header; if files were joined, pass them one by one"),
            Row(2, UserTraits("u1", traits={"plan": "pro"})),
        ]


@pytest.mark.parametrize("cast", ["int", "str", "json", "user-id"])
def test_an_empty_id_is_said_to_be_empty(cast: Any) -> None:
    """Whatever its cast expects."""
    (row,) = read("id,plan\n,pro\n", mapping=RowMapping(fields={"id": FieldRule(cast=cast)}))

    assert row == BadRow(2, 2, "id: the id is empty")
