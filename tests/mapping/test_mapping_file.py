"""Mappings read from TOML files."""

import pickle
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from replay_identity import ConfigurationError
from replay_identity.mapping import FieldRule, RowMapping, load_mapping

CANARY = "canary-7Q"


def load(tmp_path: Path, text: str) -> RowMapping:
    """Return the mapping that *text* describes."""
    path = tmp_path / "mapping.toml"
    path.write_text(text, encoding="utf-8")
    return load_mapping(path)


def problem(tmp_path: Path, text: str) -> str:
    """Return what is wrong with *text*, without the name of its file."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    assert CANARY not in str(caught.value)
    return str(caught.value).removeprefix(f"{tmp_path / 'mapping.toml'}: ")


def test_loads_every_setting(tmp_path: Path) -> None:
    """The how-to uses all of them."""
    mapping = load(
        tmp_path,
        """
        user_id = "account.id"
        name = "full_name"
        email = "contact.email"
        observed_at = "updated_at"
        null = "remove"
        unlisted = "drop"
        timezone = "UTC"
        nulls = ["NULL", ""]
        trim = true
        lower = true
        normalise = true
        strict = false
        dots = "flat"
        lift = "data"
        where = {type = "x", "a.b" = [1, true]}
        [fields."signupDate"]
        rename = "signed_up"
        cast = "date"
        [fields."internal_score"]
        drop = true
        [fields."plan"]
        default = "free"
        null = "absent"
        nulls = []
        trim = false
        lower = false
        normalise = false
        [fields."price"]
        cast = "real"
        on_error = "absent"
        decimal = ","
        thousands = "."
        strip = "€"
        [fields."born"]
        cast = "date"
        format = ["%d.%m.%Y", "%m/%d/%Y"]
        """,
    )

    assert mapping == RowMapping(
        user_id="account.id",
        name="full_name",
        email="contact.email",
        observed_at="updated_at",
        null="remove",
        unlisted="drop",
        timezone="UTC",
        nulls=("NULL", ""),
        trim=True,
        lower=True,
        normalise=True,
        strict=False,
        dots="flat",
        lift="data",
        where={"type": "x", "a.b": [1, True]},
        fields={
            "signupDate": FieldRule(rename="signed_up", cast="date"),
            "internal_score": FieldRule(drop=True),
            "plan": FieldRule(default="free", null="absent", nulls=[], trim=False, lower=False, normalise=False),
            "price": FieldRule(cast="real", on_error="absent", decimal=",", thousands=".", strip=["€"]),
            "born": FieldRule(cast="date", format=["%d.%m.%Y", "%m/%d/%Y"]),
        },
    )
    assert mapping.zone_info is UTC
    assert pickle.loads(pickle.dumps(mapping)) == mapping  # noqa: S301


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    """A byte order mark does not matter."""
    assert load(tmp_path, "\ufeff# nothing yet\n") == RowMapping()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[fields.signup]\ncast = 'canary-7Q'",
            "fields.signup.cast: expected one of any, str, int, real, bool, date, epoch",
        ),
        ("null = 'canary-7Q'", "null: expected one of absent, remove"),
        ("[fields.a]\nnull = 'canary-7Q'", "fields.a.null: expected one of inherit, absent, remove"),
        ("unlisted = 7", "unlisted: expected one of keep, drop, lifted"),
        ("user = 'canary-7Q'", "user: unknown setting; did you mean user_id? use one of user_id, name, email, "),
        ("NULLS = 'canary-7Q'", "NULLS: unknown setting; did you mean nulls? use one of user_id, name, email, "),
        ("[fileds.a]\ncast = 'int'", "fileds: unknown setting; did you mean fields? use one of user_id, name, email, "),
        ("[fields.a]\ntype = 'int'", "fields.a.type: unknown setting; use one of rename, cast, drop, default, null"),
        (
            "[fields.a]\nOn-Error = 'absent'",
            "fields.a.On-Error: unknown setting; did you mean on_error? use one of rename",
        ),
        ("fields = 7", "fields: expected a table"),
        ("[fields]\na = 7", "fields.a: expected a table"),
        ("user_id = 7", "user_id: expected a string"),
        ("user_id = ''", "user_id: is empty"),
        ("email = ' '", "email: is empty"),
        ("name = ['a', 'b', 'a']", "name: has a path twice; remove one of them"),
        ("[fields.a]\nrename = ' '", "fields.a.rename: is empty"),
        ("where = {a = nan}", "where.a: expected a string, number, boolean or date, or a list of these"),
        ("timezone = 'localtime'", "timezone: expected a name such as UTC or Europe/Berlin"),
        ("user_id = 'a'\n[fields.a]\ncast = 'real'", "fields.a.cast: expected one of any, int, json, str, user-id for"),
        ("email = 'a'\n[fields.a]\ncast = 'int'", "fields.a.cast: expected one of any, json, str for the field that"),
        ("[fields.a]\ncast = 'user-id'", "fields.a.cast: is user-id, but user_id is another field"),
        ("[fields.a]\ncast = 'none'\nrename = 'b'", "fields.a.rename: cannot be set with the cast none"),
        ("[fields.a]\ncast = 'none'\ndefault = false", "fields.a.default: cannot be set with the cast none"),
        ("[fields.a]\ncast = 'none'\non_error = 'absent'", "fields.a.on_error: cannot be set with the cast none"),
        ("[fields.'']", "fields.: is empty"),
        ("name = ['a', '']", "name: is empty"),
        ("[fields.a]\ndrop = 'yes'", "fields.a.drop: expected true or false"),
        (
            "[fields.a]\ndrop = true\ncast = 'int'",
            "fields.a.drop: the field is dropped, so no other setting can apply to it",
        ),
        ("nulls = 7", "nulls: expected a string or a list of strings"),
        ("name = ['a', 7]", "name: expected a string or a list of strings"),
        ("[fields.a]\nnulls = {}", "fields.a.nulls: expected a string or a list of strings"),
        ("[fields.a]\ncast = 'date'\nformat = [7]", "fields.a.format: expected a string or a list of strings"),
        ("[fields.a]\ncast = 'date'\nformat = '%Q'", "fields.a.format: %Q is not supported"),
        ("trim = 'yes'", "trim: expected true or false"),
        ("dots = 'canary-7Q'", "dots: expected one of nest, flat"),
        ("where = 'x'", "where: expected a table"),
        ("where = {a = []}", "where.a: has no value, so no row would be read"),
        ("where = {a = {b = 'canary-7Q'}}", "where.a: expected a string, number, boolean or date, or a list of these"),
        ("where = {a = [['canary-7Q']]}", "where.a: expected a string, number, boolean or date, or a list of these"),
        ("where = {'' = 1}", "where.: is empty"),
        ("unlisted = 'lifted'", "unlisted: is lifted, but lift is not set; set lift to the path of an object"),
        ("lift = ''", "lift: is empty"),
        ("lift = 'a'\n[fields.a]", "lift: is also the path of a field; remove the other setting"),
        ("lift = 'a'\nemail = 'a.mail'", "fields.a.mail: is lifted out of its object; call it mail"),
        ("[fields.id]\ncast = 'int'\non_error = 'absent'", "fields.id.on_error: cannot be absent for the id"),
        ("timezone = 'Mars/canary-7Q'", "timezone: expected a name such as UTC or Europe/Berlin"),
        ("timezone = '../canary-7Q'", "timezone: expected a name such as UTC or Europe/Berlin"),
        ("[fields.a]\ncast = 'int'\ndefault = 'canary-7Q'", "fields.a.default: expected a whole number"),
        ("[fields.a]\ndefault = nan", "fields.a.default: expected a finite number"),
        ("[fields.a]\ndefault = 2026-11-21T08:00:00", "fields.a.default: the datetime has no time zone"),
        ("[fields.a]\ndefault = 08:00:00", "fields.a.default: expected a trait value, got a time"),
        ("[fields.id]\ndefault = 'canary-7Q'", "fields.id.default: would give all users without an id the same id"),
        (
            "user_id = 'x'\n[fields.x]\ndefault = 'u'",
            "fields.x.default: would give all users without an id the same id",
        ),
        (
            "[fields.x]\nrename = 'uid'\ndefault = 'u'",
            "fields.x.default: would give all users without an id the same id",
        ),
        ("email = 'x'\n[fields.x]\nrename = 'y'", "fields.x.rename: cannot be set for the field that gives email"),
        ("email = 'x'\n[fields.x]\ndrop = true", "fields.x.drop: cannot be set for the field that gives email"),
        ("email = 'x'\n[fields.x]\nnull = 'remove'", "fields.x.null: cannot be remove for email, which is not a trait"),
        (
            "observed_at = 'x'\n[fields.x]\ncast = 'int'",
            "fields.x.cast: expected one of any, date, epoch, epoch-ms, epoch-s, excel-date for the field that gives",
        ),
        ("[fields.a]\nrename = 'c'\n[fields.b]\nrename = 'c'", "fields.b.rename: is also the name of a"),
        ("[fields.a]\n[fields.b]\nrename = 'a'", "fields.b.rename: is also the name of a"),
        (
            "[fields.a]\ncast = 'int'\n[fields.b]\nrename = 'a.b'",
            "fields.b: cannot be nested in a, which has a value of its own",
        ),
        ("null = =", "not valid TOML at line 1, column 8"),
        ("[fields", "not valid TOML"),
        ("a = " + "[" * 100_000, "nested too deeply"),
    ],
)
def test_names_mistakes_by_path(tmp_path: Path, text: str, expected: str) -> None:
    """No value is quoted."""
    assert problem(tmp_path, text).startswith(expected)


@pytest.mark.parametrize(
    "text",
    [
        "[fields.First Name]\ncast = 'int'",
        "[fields.E-Mail (work)]",
        "user_id = 'x'\n[fields.Größe]\n",
        "[fields.a+b]",
        "First Name = 'canary-7Q'",
    ],
)
def test_a_name_without_its_quotes_is_named(tmp_path: Path, text: str) -> None:
    """TOML needs them around all but letters without accents, digits, `_` and `-`."""
    hint = '; a name with blanks or signs is in quotes: [fields."First Name"]'

    assert problem(tmp_path, text).endswith(hint)
    assert not problem(tmp_path, '[fields."First Name"]\ncast = =').endswith(hint)


def test_the_id_is_suggested_for_its_short_name(tmp_path: Path) -> None:
    """As people call it."""
    assert problem(tmp_path, "id = 'canary-7Q'").startswith("id: unknown setting; did you mean user_id? ")


def test_reports_unreadable_files(tmp_path: Path) -> None:
    """A missing file, a directory, one that is not UTF-8, and an invalid name."""
    (tmp_path / "latin.toml").write_bytes(b"# \xff")

    for name, expected in [
        ("no.toml", "No such file"),
        ("", "Is a directory"),
        ("latin.toml", "not valid UTF-8"),
        ("\0", "ValueError"),
    ]:
        with pytest.raises(ConfigurationError, match=expected):
            load_mapping(tmp_path / name)


def test_copies_the_fields() -> None:
    """Changing the original dict later has no effect."""
    fields = {"a": FieldRule(drop=True)}
    mapping = RowMapping(fields=fields)

    fields.clear()

    assert mapping.fields == {"a": FieldRule(drop=True)}


def test_checks_mappings_built_in_python() -> None:
    """The errors are the same as for a file."""
    with pytest.raises(ConfigurationError, match=r"^null: expected one of absent, remove$"):
        RowMapping(null="gone")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("value", ["false", 0, None])
def test_a_switch_is_a_boolean(value: Any) -> None:
    """In Python, too, where any text would be true."""
    with pytest.raises(ConfigurationError, match=r"^strict: expected true or false$"):
        RowMapping(strict=value)
    if value is not None:
        with pytest.raises(ConfigurationError, match=r"^trim: expected true or false$"):
            FieldRule(trim=value)
