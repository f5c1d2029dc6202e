"""`replay-identity infer`."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.commands import RunCommand
from support.vendors import Vendors

from replay_identity.cli.row_report import MAX_BAD_ROWS
from replay_identity.emulator import Fault
from replay_identity.mapping import inference as inference_module
from replay_identity.mapping import load_mapping
from replay_identity.sources import BadRow, Row, infer_mapping, read_users

ROWS = "user_id,seats,zip,plan\nu1,4711,10115,pro\nu2,secret7,20095,free\nu3,3,30159,\nu4,5,04109,pro\n"


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Write a CSV file, in which every value is a string, and return its name."""
    (tmp_path / "users.csv").write_text(ROWS)
    return "users.csv"


def test_it_prints_the_mapping(run: RunCommand, file: str) -> None:
    """The mapping goes to stdout, the reasons to stderr, and values to neither."""
    result = run("infer", file)

    assert result.code == 0
    assert '[fields."seats"]\ncast = "str"\n' in result.out
    assert "line 3: a9" in result.out
    assert "line 3: a9" in result.message
    assert "secret" not in result.out + result.err
    assert "4711" not in result.out + result.err


def test_it_writes_a_new_file(run: RunCommand, file: str, tmp_path: Path) -> None:
    """The mapping in it reads every row."""
    result = run("infer", file, "--output", "mapping.toml")

    mapping = load_mapping(tmp_path / "mapping.toml")
    assert (result.code, result.out) == (0, "")
    assert mapping == infer_mapping(read_users(file)).mapping()
    assert not [row for row in read_users(file, mapping=mapping) if isinstance(row, BadRow)]


def test_an_existing_file_is_not_overwritten(run: RunCommand, file: str, tmp_path: Path) -> None:
    """It may contain edits; the error comes before the source is read."""
    (tmp_path / "mapping.toml").write_text("mine")

    result = run("infer", file, "--output", "mapping.toml")

    assert result.code == 2
    assert "--output" in run("infer", "nowhere.jsonl", "--output", "mapping.toml").err
    assert (tmp_path / "mapping.toml").read_text() == "mine"


def test_it_prints_json(run: RunCommand, file: str) -> None:
    """One document contains the fields and the mapping."""
    result = run("infer", file, "--json")

    document = json.loads(result.out)
    assert document["fields"][0] == {
        "path": "seats",
        "users": 4,
        "cast": "str",
        "conflicts": [{"cast": "int", "count": 1, "samples": [{"line": 3, "shape": "a9"}]}],
        "policy": None,
        "settings": 'cast = "str"',
        "choices": [],
    }
    assert document["mapping"].startswith("# 4 users")
    assert (document["uninspected"], document["bad_row_count"], document["bad_rows"]) == (0, 0, [])


def test_it_prints_json_and_writes_a_file(run: RunCommand, file: str, tmp_path: Path) -> None:
    """Both contain the same mapping."""
    result = run("infer", file, "--json", "--output", "mapping.toml")

    assert json.loads(result.out)["mapping"] == (tmp_path / "mapping.toml").read_text()


def test_bad_rows_are_reported(run: RunCommand, tmp_path: Path) -> None:
    """They do not affect the mapping; the first ones are listed."""
    count = MAX_BAD_ROWS + 1
    (tmp_path / "users.jsonl").write_text("{\n" * count + '{"id": "u1", "seats": "3"}\n')

    result = run("infer", "users.jsonl")

    assert result.code == 1
    assert f"{count} invalid rows" in result.err
    assert result.out == '# 1 user\n[fields."seats"]\ncast = "int"\n'


def test_values_of_further_fields_are_counted(run: RunCommand, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a limited number of fields is inspected."""
    monkeypatch.setattr(inference_module, "MAX_PATHS", 1)

    result = run("infer", file, "--json")

    assert result.document["uninspected"] == 7
    assert "7 values of further fields" in run("infer", file).message


def test_a_row_needs_no_id(run: RunCommand) -> None:
    """The types of traits do not depend on ids."""
    result = run("infer", "-", stdin=b'{"seats": "3"}\n')

    assert (result.code, result.out) == (0, '# 1 user\n[fields."seats"]\ncast = "int"\n')


@pytest.mark.usefixtures("vendors")
def test_a_readable_vendor_declares_the_types(run: RunCommand) -> None:
    """A string of digits stays a string; a folder with the backend's name is ignored."""
    Path("fullstory").mkdir()
    assert run("identify", "--to", "fullstory", "--user-id", "u1", "--trait", 'ref="12"', "--trait", "a.n=3").code == 0

    result = run("infer", "fullstory")

    assert result.code == 0
    assert result.out == '# 1 user\n[fields."ref"]\ncast = "str"\n\n# 1 user\n[fields."a.n"]\ncast = "int"\n'


def test_an_unreadable_vendor_has_an_exit_code(vendors: Vendors, run: RunCommand) -> None:
    """No mapping is written."""
    vendors.fullstory.faults.add(Fault(status=403, method="GET"))

    result = run("infer", "fullstory", "--output", "mapping.toml")

    assert result.code == 78
    assert "fullstory: cannot be read" in result.err
    assert not Path("mapping.toml").exists()


@pytest.mark.usefixtures("vendors")
def test_a_vendor_that_lists_no_users_is_wrong_usage(run: RunCommand) -> None:
    """The error suggests an export."""
    result = run("infer", "logrocket")

    assert result.code == 2
    assert "export them" in result.message


def test_a_missing_file_needs_no_settings(run: RunCommand) -> None:
    """A name with a suffix cannot be a backend."""
    result = run("infer", "nowhere.jsonl")

    assert result.code == 2
    assert "nowhere.jsonl" in result.err


GIVEN = """\
user_id = "Kunde"
timezone = "Europe/Berlin"
nulls = ["-"]
[fields."Plan Name"]
rename = "plan"
[fields.secret]
drop = true
[fields.props]
cast = "json"
[fields.Seats]
rename = "seats"
"""
TABLE = """\
Kunde,Plan Name,Seats,joined,props,secret,score
k1,pro,43,2024-01-02 03:04:05,"{""n"": ""5""}",canary,NULL
k2,free,-,2024-02-13 03:04:05,"{""n"": ""7""}",canary,-
k3,free,-,2024-02-13 03:04:05,"{""n"": ""7""}",canary,5
"""
SEGMENT = """\
{"type": "identify", "userId": "u1", "traits": {"plan": "pro", "seats": "43"}}
{"type": "track", "userId": "u1", "event": "x", "properties": {"a": 1}}
"""


@pytest.mark.usefixtures("vendors")
@pytest.mark.parametrize(
    ("name", "content", "options", "traits"),
    [
        (
            "a.csv",
            TABLE,
            ["--mapping", "given.toml"],
            {"plan": "pro", "seats": 43, "joined": datetime(2024, 1, 2, 2, 4, 5, tzinfo=UTC), "props": {"n": 5}},
        ),
        ("a.jsonl", SEGMENT, ["--preset", "segment"], {"plan": "pro", "seats": 43}),
    ],
)
def test_the_given_mapping_is_extended(
    run: RunCommand, name: str, content: str, options: list[str], traits: dict[str, object]
) -> None:
    """What it drops stays out, and its names are kept, so that the result reads the same file."""
    Path("given.toml").write_text(GIVEN, encoding="utf-8")
    Path(name).write_text(content, encoding="utf-8")

    assert run("infer", name, *options, "--output", "all.toml").code == 0

    rows = list(read_users(name, mapping=load_mapping("all.toml")))
    assert next(row.user.traits for row in rows if isinstance(row, Row)) == traits
    assert not [row for row in rows if isinstance(row, BadRow)]
    # Once more, it changes nothing.
    assert run("infer", name, "--mapping", "all.toml", "--output", "again.toml").code == 0
    assert load_mapping("again.toml") == load_mapping("all.toml")
