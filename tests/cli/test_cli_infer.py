"""`replay-identity infer`."""

import json
from pathlib import Path

import pytest
from cli.running_commands import Run, Vendors

from replay_identity.cli.row_report import MOST_BAD_ROWS
from replay_identity.emulator import Fault
from replay_identity.mapping import inference as inference_module
from replay_identity.mapping import load_mapping
from replay_identity.sources import BadRow, infer_mapping, read_users

ROWS = "user_id,seats,zip,plan\nu1,4711,10115,pro\nu2,secret7,20095,free\nu3,3,30159,\nu4,5,04109,pro\n"


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Give a file of texts."""
    (tmp_path / "users.csv").write_text(ROWS)
    return "users.csv"


def test_prints_the_mapping(run: Run, file: str) -> None:
    """The TOML goes to stdout, the findings to stderr, and no value to either."""
    ran = run("infer", file)

    assert ran.code == 0
    assert '# 4 users; int but for 1 (line 3: a9)\n[fields."seats"]\ncast = "str"\n' in ran.out
    assert "int but for 1 (line 3: a9)" in ran.err
    assert "secret" not in ran.out + ran.err
    assert "4711" not in ran.out + ran.err


def test_writes_a_new_file(run: Run, file: str, tmp_path: Path) -> None:
    """The file is a mapping that reads every row."""
    ran = run("infer", file, "--output", "mapping.toml")

    mapping = load_mapping(tmp_path / "mapping.toml")
    assert (ran.code, ran.out) == (0, "")
    assert mapping == infer_mapping(read_users(file)).mapping()
    assert not [row for row in read_users(file, mapping=mapping) if isinstance(row, BadRow)]


def test_writes_over_no_file(run: Run, file: str, tmp_path: Path) -> None:
    """A mapping that somebody has worked on is not lost; it is told before a long file is read."""
    (tmp_path / "mapping.toml").write_text("mine")

    ran = run("infer", file, "--output", "mapping.toml")

    assert ran.code == 2
    assert "--output" in run("infer", "nowhere.jsonl", "--output", "mapping.toml").err
    assert (tmp_path / "mapping.toml").read_text() == "mine"


def test_prints_json(run: Run, file: str) -> None:
    """A program gets it all in one document."""
    ran = run("infer", file, "--json")

    document = json.loads(ran.out)
    assert document["fields"][0] == {
        "path": "seats",
        "users": 4,
        "cast": "str",
        "conflicts": [{"cast": "int", "count": 1, "samples": [{"line": 3, "shape": "a9"}]}],
        "policy": None,
    }
    assert document["mapping"].startswith("# 4 users")
    assert (document["uninspected"], document["bad_row_count"], document["bad_rows"]) == (0, 0, [])


def test_prints_json_beside_the_file(run: Run, file: str, tmp_path: Path) -> None:
    """With both options there are both."""
    ran = run("infer", file, "--json", "--output", "mapping.toml")

    assert json.loads(ran.out)["mapping"] == (tmp_path / "mapping.toml").read_text()


def test_bad_rows_are_told(run: Run, tmp_path: Path) -> None:
    """The mapping is of the rows that are users; the first of the others are shown."""
    count = MOST_BAD_ROWS + 1
    (tmp_path / "users.jsonl").write_text("{\n" * count + '{"id": "u1", "seats": "3"}\n')

    ran = run("infer", "users.jsonl")

    assert ran.code == 1
    assert f"{count} rows are no users" in ran.err
    assert ran.out == '# 1 user\n[fields."seats"]\ncast = "int"\n'


def test_says_how_much_was_not_looked_at(run: Run, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names beyond those remembered do not go unnoticed."""
    monkeypatch.setattr(inference_module, "MOST_PATHS", 1)

    ran = run("infer", file)

    assert "7 values of further fields were not looked at." in ran.err


def test_a_row_needs_no_id(run: Run) -> None:
    """The types of traits do not depend on who has them."""
    ran = run("infer", "-", stdin=b'{"seats": "3"}\n')

    assert (ran.code, ran.out) == (0, '# 1 user\n[fields."seats"]\ncast = "int"\n')


@pytest.mark.usefixtures("vendors")
def test_a_vendor_that_shows_its_users_has_the_types(run: Run) -> None:
    """A text of digits that Fullstory has as a text stays one; a folder of that name is nobody's file."""
    Path("fullstory").mkdir()
    assert run("identify", "--to", "fullstory", "--user-id", "u1", "--trait", 'ref="12"', "--trait", "a.n=3").code == 0

    ran = run("infer", "fullstory")

    assert ran.code == 0
    assert ran.out == '# 1 user\n[fields."ref"]\ncast = "str"\n\n# 1 user\n[fields."a.n"]\ncast = "int"\n'


def test_a_vendor_that_cannot_be_read_is_told(vendors: Vendors, run: Run) -> None:
    """Nothing is written."""
    vendors.fullstory.faults.add(Fault(status=403, method="GET"))

    ran = run("infer", "fullstory", "--output", "mapping.toml")

    assert ran.code == 78
    assert "fullstory: cannot be read" in ran.err
    assert not Path("mapping.toml").exists()


@pytest.mark.usefixtures("vendors")
def test_a_vendor_that_shows_no_users_is_wrong_usage(run: Run) -> None:
    """A file of its export is what there is."""
    ran = run("infer", "logrocket")

    assert ran.code == 2
    assert "no way to show its users" in ran.err


def test_a_file_that_is_not_there_is_told_without_any_settings(run: Run) -> None:
    """There is no backend of that name."""
    ran = run("infer", "nowhere.jsonl")

    assert ran.code == 2
    assert "nowhere.jsonl" in ran.err
