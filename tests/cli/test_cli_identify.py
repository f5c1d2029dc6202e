"""`replay-identity identify`."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from cli.running_commands import Run, Vendors, Write

from replay_identity import Broken, IdentifyReport, Misconfigured, Router, UserTraits
from replay_identity.cli.identify import value_of
from replay_identity.cli.row_report import RowReport
from replay_identity.emulator import Fault
from replay_identity.errors import SourceError
from replay_identity.sources import BadRow, Row


def test_one_user_goes_to_every_backend(run: Run, vendors: Vendors) -> None:
    """Each option says one thing about them; a dotted name is nested."""
    ran = run(
        "identify", "--user-id", "u1", "--name", "Ada", "--email", "a@b.example",
        "--trait", "seats=43", "--trait", "company.size=11-50", "--trait", "note=a=b",
    )  # fmt: skip

    stored = vendors.fullstory.by_uid("u1")
    assert ran.code == 0
    assert ran.out.count("Accepted") == 2
    assert stored is not None
    assert (stored.display_name, stored.email) == ("Ada", "a@b.example")
    assert stored.properties == {"seats": 43, "company": {"size": "11-50"}, "note": "a=b"}
    assert vendors.logrocket.users["u1"].traits == {"seats": "43", "company.size": "11-50", "note": "a=b"}


def test_one_user_as_json_is_one_document_without_the_vendors_id(run: Run, vendors: Vendors) -> None:
    """What was adjusted is in it, and no value."""
    ran = run("identify", "--user-id", "canary-7Q", "--trait", "seats=43", "--json")

    (vendor_id,) = vendors.fullstory.users
    assert ran.document == {
        "status": "ok",
        "outcomes": [
            {
                "backend": "fullstory",
                "outcome": "Accepted",
                "explanation": "accepted",
                "retryable": False,
                "adjustments": [],
                "verified": False,
            },
            {
                "backend": "logrocket",
                "outcome": "Accepted",
                "explanation": "accepted, 1 adjusted",
                "retryable": False,
                "adjustments": [{"path": "traits.seats", "kind": "coerced", "rule": "strings-only", "sent_as": None}],
                "verified": True,
            },
        ],
    }
    assert "canary-7Q" not in ran.out
    assert vendor_id not in ran.out


def test_a_trait_is_removed_where_the_vendor_can(run: Run, vendors: Vendors) -> None:
    """Fullstory cannot, and says so."""
    run("identify", "--user-id", "u1", "--trait", "plan=pro", "--to", "logrocket")

    ran = run("identify", "--user-id", "u1", "--remove", "plan")

    assert ran.code == 1
    assert "cannot-remove" in ran.out
    assert vendors.logrocket.users["u1"].traits == {}


def test_only_the_backends_named_are_asked(run: Run, vendors: Vendors) -> None:
    """An unknown name is wrong usage."""
    assert run("identify", "--user-id", "u1", "--to", "fullstory").code == 0
    assert not vendors.logrocket.requests

    ran = run("identify", "--user-id", "u1", "--to", "fulstory")

    assert ran.code == 2
    assert "there are fullstory, logrocket" in ran.err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("43", 43),
        ("4.5", 4.5),
        ("true", True),
        ("null", None),
        ('"43"', "43"),
        ("18446744073709551617", 2**64 + 1),
        ("pro", "pro"),
        ("", ""),
        ("[1]", "[1]"),
        ('{"a": 1}', '{"a": 1}'),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("[" * 9000, "[" * 9000),
    ],
)
def test_a_value_is_a_json_scalar_or_else_a_text(text: str, value: object) -> None:
    """So that a number can be told from a text that looks like one."""
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["users.jsonl", "--user-id", "canary-7Q"],
        ["users.jsonl", "canary-7Q"],
        ["--user-id", "u1", "--trait", "canary-7Q"],
        ["--user-id", "u1", "--trait", "=canary-7Q"],
        ["--user-id", "u1", "--trait", "a=canary-7Q", "--trait", "a.b=1"],
        ["--user-id", "u1", "--trait", "a=canary-7Q", "--remove", "a"],
        ["--user-id", "", "--name", "canary-7Q"],
        ["missing.jsonl"],
        ["users.txt"],
    ],
)
def test_wrong_usage_is_told_without_quoting_it(run: Run, vendors: Vendors, arguments: list[str]) -> None:
    """Nothing is sent."""
    Path("users.jsonl").write_text('{"id": "u1"}', encoding="utf-8")

    ran = run("identify", *arguments)

    assert ran.code == 2
    assert ran.err
    assert "canary-7Q" not in ran.out + ran.err
    assert not vendors.fullstory.requests


def test_every_user_of_a_file_is_sent_in_order(run: Run, vendors: Vendors, write: Write) -> None:
    """So that the last of two rows about one user is what stands."""
    file = write([{"id": "u1", "plan": "free"}, {"id": "u2"}, {"id": "u1", "plan": "pro"}])

    ran = run("identify", file)

    stored = vendors.fullstory.by_uid("u1")
    assert ran.code == 0
    assert ran.out.startswith("3 users")
    assert stored is not None
    assert stored.properties == {"plan": "pro"}


def test_standard_input_is_read_where_the_file_is_a_dash(run: Run, vendors: Vendors) -> None:
    """In the format that is asked for."""
    assert run("identify", "-", "--format", "csv", stdin=b"id,plan\nu1,pro\n").code == 0
    assert vendors.logrocket.users["u1"].traits == {"plan": "pro"}


def test_a_file_as_json_is_a_line_for_each_row_and_a_summary(run: Run, vendors: Vendors, write: Write) -> None:
    """A row is named by its line, and never by its user."""
    del vendors
    file = write([{"id": "canary-7Q", "plan": "pro"}, b"[\n", {"id": "canary-7Q", "a-b": "canary-7Q"}])

    ran = run("identify", file, "--json")

    first, bad, rejected, last = (orjson.loads(line) for line in ran.out.splitlines())
    assert ran.code == 1
    assert [outcome["outcome"] for outcome in first["outcomes"]] == ["Accepted", "Accepted"]
    assert bad == {"line": 2, "last_line": 2, "problem": "is cut off; write one JSON object per line"}
    assert rejected["line"] == 3
    assert rejected["outcomes"][0]["violations"][0]["rule"] == "property-name"
    assert last["summary"]["users"] == 2
    assert last["summary"]["bad_rows"] == [bad]
    assert "canary-7Q" not in ran.out + ran.err


def test_a_bad_row_alone_is_a_refusal(run: Run, vendors: Vendors, write: Write) -> None:
    """The exit code must not say that all is well."""
    del vendors

    assert run("identify", write([{"id": "u1", "plan": "pro"}, b"{\n"])).code == 1


def test_the_tables_say_what_became_of_whom(run: Run, vendors: Vendors, write: Write) -> None:
    """They fit into 80 columns."""
    del vendors
    rows: list[object] = [{"id": f"u{number}", "name": "Ada", "seats": number} for number in range(5)]
    file = write([*rows, {"id": "u9", "name": "é" * 300}, *[b"{\n"] * 25])

    ran = run("identify", file)

    lines = ran.lines
    assert ran.code == 1
    assert "6 users" in lines
    assert "fullstory 5 0 0 1 0 0" in lines
    assert "logrocket 6 5 0 0 0 0" in lines
    assert "name display-name-length 256 characters 300 1" in lines
    assert "traits.seats coerced strings-only 5" in lines
    assert "25 rows are no users" in lines
    assert "26 is cut off; write one JSON object per line" in lines
    assert "27 is cut off; write one JSON object per line" not in lines
    assert "… and 5 more" in lines
    assert max(map(len, ran.out.splitlines())) <= 80


def test_more_than_ten_lines_of_a_table_are_counted(run: Run, vendors: Vendors, write: Write) -> None:
    """The most frequent come first, and losses before them."""
    del vendors
    file = write([{"id": "u1", **{f"t{number:02}": number for number in range(12)}, "zoo": "x" * 2000}])

    ran = run("identify", file, "--adapt", "--to", "logrocket")

    lines = ran.lines
    assert lines.index("traits.zoo truncated trait-value-length 1") < lines.index("traits.t00 coerced strings-only 1")
    assert "… and 3 more" in lines
    assert "traits.t11 coerced strings-only 1" not in lines


def test_adapting_mends_what_breaks_a_limit(run: Run, vendors: Vendors) -> None:
    """The loss is on record."""
    ran = run("identify", "--user-id", "u1", "--trait", "a-b=1", "--adapt", "--json")

    stored = vendors.fullstory.by_uid("u1")
    assert ran.code == 0
    assert stored is not None
    assert stored.properties == {"a_b": 1}
    assert '"kind":"renamed"' in ran.out


@pytest.mark.usefixtures("vendors")
def test_a_loss_is_named_in_the_table_of_one_user(run: Run) -> None:
    """Whoever sends one user by hand sees at once what was given up."""
    ran = run("identify", "--user-id", "u1", "--trait", "a-b=1", "--adapt", "--to", "fullstory")

    assert "accepted, 1 adjusted, 1 with loss" in ran.out
    assert "traits.a-b renamed: property-name" in ran.out


def test_a_vendor_that_is_down_leaves_users_pending(run: Run, vendors: Vendors) -> None:
    """The other one has them, and the exit code asks to come back."""
    vendors.fullstory.faults.add(Fault(status=503))
    Path("s.toml").write_text("[retry]\nattempts = 1\n", encoding="utf-8")

    ran = run("identify", "-", "--settings", "s.toml", stdin=b'{"id": "u1"}')

    lines = ran.lines
    assert ran.code == 75
    assert "fullstory 0 0 0 0 1 0" in lines
    assert any(line.startswith("Unavailable HTTP 503") for line in lines)


def test_wrong_keys_end_the_run(run: Run, vendors: Vendors, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million users would be refused one by one."""
    monkeypatch.setenv("FULLSTORY_API_KEY", "na1.canary-7Q")
    file = write([{"id": "u1", "plan": "a"}] * 5)

    both = run("identify", file)
    alone = run("identify", file, "--to", "fullstory")

    assert both.code == alone.code == 78
    assert both.out.startswith("5 users")
    assert alone.out.startswith("1 user")
    assert alone.err == "Stopped: no backend has good settings\n"
    assert "canary-7Q" not in both.out + both.err + alone.out + alone.err
    assert len(vendors.logrocket.requests) == 5


def test_a_file_that_cannot_be_read_on_says_what_was_done(
    run: Run, vendors: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The users before it are counted."""
    del vendors

    def interrupted(*_: object, **__: object) -> Any:
        yield Row(1, UserTraits("u1"))
        yield BadRow(2, 2, "is not JSON")
        raise SourceError("users.jsonl", "cannot be read: OSError")

    monkeypatch.setattr("replay_identity.cli.identify.read_users", interrupted)

    ran = run("identify", "users.jsonl")

    assert ran.code == 2
    assert ran.out.startswith("1 user")
    assert ran.err == "Stopped: users.jsonl: cannot be read: OSError\n"


@pytest.mark.slow
def test_ctrl_c_ends_the_run_with_a_summary(vendors: Vendors, write: Write) -> None:
    """The exit code is the one that shells know."""
    file = write([{"id": f"u{number}"} for number in range(100_000)])
    command = [sys.executable, "-c", "from replay_identity.cli import main; main()", "identify", file, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        *_, last = process.stdout
        told = process.stderr.read()

    summary = orjson.loads(last)["summary"]
    assert process.returncode == 130
    assert told == b"Stopped: interrupted; the user under way may have been sent\n"
    assert 0 < summary["users"] < 100_000
    assert len(vendors.fullstory.requests) >= summary["users"]


@pytest.mark.slow
def test_a_reader_that_leaves_ends_the_run_quietly(vendors: Vendors, write: Write) -> None:
    """As `| head -1` does."""
    del vendors
    file = write([{"id": f"u{number}"} for number in range(100_000)])
    command = [sys.executable, "-c", "from replay_identity.cli import main; main()", "identify", file, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()

    assert (process.returncode, told) == (141, b"")


def test_a_person_who_watches_sees_the_progress(run: Run, vendors: Vendors, write: Write) -> None:
    """It goes to stderr, and only to a terminal."""
    del vendors
    file = write([{"id": f"u{number}"} for number in range(60)])

    watched = run("identify", file, env={"FORCE_COLOR": "1"})

    assert "identified" in watched.err
    assert "users/s" in watched.err
    assert "identified" not in watched.out
    assert run("identify", file).err == ""


def test_a_survey_stops_at_ctrl_c() -> None:
    """What was counted stays counted."""
    row_report = RowReport()

    def ask(user: UserTraits) -> Sequence[Misconfigured]:
        raise KeyboardInterrupt(user)

    row_report.run([Row(1, UserTraits("u1"))], ask, lambda _row, _outcomes: None)

    assert row_report.exit_code == 130
    assert row_report.stats.users == 0


def test_a_report_of_an_adapters_bug_counts_as_refused(
    run: Run, vendors: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ours to mend, and sending again would not help."""
    del vendors
    report = IdentifyReport((Broken("fullstory", "KeyError"),))

    def identify(_router: Router, _user: UserTraits) -> IdentifyReport:
        return report

    monkeypatch.setattr(Router, "identify", identify)

    assert run("identify", "--user-id", "u1").code == 1
