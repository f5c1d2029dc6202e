import json
from pathlib import Path

import pytest
from support.commands import RunCommand
from support.vendors import Vendors


def write(name: str, text: str) -> str:
    """Write a file of users into the current directory and return its name."""
    Path(name).write_text(text, encoding="utf-8")
    return name


def test_says_which_column_became_what(run: RunCommand, vendors: Vendors) -> None:
    """Once, and in every command that reads a file."""
    file = write("users.csv", "User ID,E-Mail,id\nu1,ada@example.com,7\nu2,bob@example.com,8\n")

    for arguments in (
        ["check", file],
        ["infer", file],
        ["identify", file],
        ["sync", file],
        ["sync", file, "--dry-run"],
    ):
        result = run(*arguments)
        assert result.err.count("Note: column User ID is read as user_id\n") == 1
        assert result.err.count("Note: column id is a trait, not the user's own field\n") == 1
    assert vendors.logrocket.users["u1"].email == "ada@example.com"


def test_a_field_that_no_row_has_exits_with_1(run: RunCommand, vendors: Vendors) -> None:
    """What should be dropped under another spelling was sent."""
    del vendors
    file = write("users.jsonl", '{"id": "u1", "ssn": "1"}\n')
    mapping = write("m.toml", "[fields.snn]\ndrop = true\n")
    lenient = write("lenient.toml", "strict = false\n[fields.snn]\ndrop = true\n")

    for command in ("check", "infer", "identify", "sync"):
        result = run(command, file, "--mapping", mapping)
        assert result.code == 1
        assert "Note: the mapping names snn, which no row has" in result.err
        assert run(command, file, "--mapping", lenient).code == 0


def test_warns_before_the_first_sync_alone(run: RunCommand, vendors: Vendors) -> None:
    """Later runs change nothing about what the vendors have already."""
    del vendors
    file = write("users.csv", "id,email,seats\nu1,ada@example.com,3\nU1, bob@example.com,4\n")
    warnings = [
        "Warning: 2 ids may be only 1 user: nothing but case, blanks or characters of no width tells them apart",
        "Warning: 1 row with a blank in the e-mail address",
        "Warning: 1 column of text that looks like another type: seats (integer); run infer first",
    ]

    dry, first, second = (run("sync", file, *options) for options in (["--dry-run"], [], []))
    check = run("check", file)

    for result in (dry, first, check):
        assert [line for line in result.err.splitlines() if line.startswith("Warning")] == warnings
    assert "Warning" not in second.err
    assert len(json.loads(run("check", file, "--json").out)["source"]["warnings"]) == 3


def test_what_cannot_be_read_twice_is_inspected_meanwhile(run: RunCommand, vendors: Vendors) -> None:
    """Its rows are read only once, so the warnings come after the run."""
    result = run("sync", "-", "--format", "csv", stdin="id,seats\nu1,3\n")

    assert result.code == 0
    assert [line for line in result.err.splitlines() if line.startswith("Warning")] == [
        "Warning: 1 column of text that looks like another type: seats (integer); run infer first"
    ]
    assert list(vendors.logrocket.users) == ["u1"]


def test_an_unreadable_rest_does_not_end_the_inspection(run: RunCommand, vendors: Vendors) -> None:
    """The run itself reports it."""
    file = write("users.json", '[{"id": "u1", "a": 1},')

    result = run("sync", file)

    assert result.code == 2
    assert result.err.count("users.json") == 1
    assert list(vendors.logrocket.users) == ["u1"]


def test_reads_several_files_and_patterns(run: RunCommand, vendors: Vendors) -> None:
    """Each has its own header, and a bad row names its file."""
    write("users-1.csv", "id,plan\nu1,pro\n")
    write("users-2.csv", "plan,id\nfree,u2\n,\npro,\n")

    result = run("sync", "users-*.csv")
    same = run("check", "users-1.csv", "users-2.csv")

    assert result.code == same.code == 1
    assert vendors.logrocket.users["u2"].traits == {"plan": "free"}
    assert "users-2.csv: 4" in result.out
    assert "users-2.csv: 4" in same.out
    assert run("infer", "users-1.csv", "users-2.csv").code == 1


@pytest.mark.parametrize("delimiter", ["tab", "\\t", "\t"])
def test_a_tab_can_be_typed(run: RunCommand, delimiter: str) -> None:
    """Shells and keyboards make it hard."""
    file = write("users.csv", "id\tplan\nu1\ta,b\n")

    assert run("check", file, "--delimiter", delimiter).code == 0


def test_a_preset_reads_the_export_of_a_tool(run: RunCommand) -> None:
    """Without a mapping of one's own."""
    file = write("users.jsonl", '{"type": "identify", "userId": "u1", "traits": {"plan": "pro"}}\n{"type": "track"}\n')

    result = run("check", file, "--preset", "segment", "--json")

    assert json.loads(result.out)["source"]["left_out"] == 1
    assert json.loads(result.out)["users"] == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["check"], "name a file, or pass --sql with a query"),
        (["check", "a.csv", "--mapping", "m.toml", "--preset", "segment"], "pass only one of them"),
        (["check", "a.db", "b.db", "--sql", "SELECT 1"], "a query runs on one database"),
        (["check", "--sql", "SELECT 1", "--encoding", "utf-8"], "a query names its files"),
        (["infer", "fullstory", "--delimiter", ";"], "cannot be read"),
    ],
)
def test_options_that_do_not_fit_are_refused(run: RunCommand, arguments: list[str], problem: str) -> None:
    """The error says what to do instead."""
    result = run(*arguments)

    assert result.code == 2
    assert problem in result.err


@pytest.mark.parametrize("command", ["check", "identify", "infer", "sync"])
def test_every_command_takes_a_query(run: RunCommand, vendors: Vendors, command: str) -> None:
    """Without a file, it reads those that it names."""
    del vendors
    write("users.csv", "id;plan\nu1;pro\n")

    assert run(command, "--sql", "SELECT * FROM read_csv('users.csv', delim=';')").code == 0
