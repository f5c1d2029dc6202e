"""`replay-identity identify`."""

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
import pytest
from support.commands import RunCommand, WriteRows, start_command
from support.vendors import Vendors

from replay_identity import Broken, IdentifyReport, Misconfigured, Router, UserTraits
from replay_identity.cli.identify import parse_value
from replay_identity.cli.row_report import RowReport
from replay_identity.emulator import Fault
from replay_identity.errors import SourceError
from replay_identity.sources import BadRow, Row, Rows


def test_one_user_goes_to_every_backend(run: RunCommand, vendors: Vendors) -> None:
    """Each option sets one field; a dotted name is nested."""
    result = run(
        "identify", "--user-id", "u1", "--name", "Ada", "--email", "a@b.example",
        "--trait", "seats=43", "--trait", "company.size=11-50", "--trait", "note=a=b",
    )  # fmt: skip

    stored = vendors.fullstory.by_uid("u1")
    assert result.code == 0
    assert result.out.count("Accepted") == 2
    assert stored is not None
    assert (stored.display_name, stored.email) == ("Ada", "a@b.example")
    assert stored.properties == {"seats": 43, "company": {"size": "11-50"}, "note": "a=b"}
    assert vendors.logrocket.users["u1"].traits == {"seats": "43", "company.size": "11-50", "note": "a=b"}


def test_one_user_as_json_is_one_document(run: RunCommand, vendors: Vendors) -> None:
    """It contains the adjustments, but no value and no id of the vendor."""
    result = run("identify", "--user-id", "canary-7Q", "--trait", "seats=43", "--json")

    (vendor_id,) = vendors.fullstory.users
    assert result.document == {
        "status": "ok",
        "outcomes": [
            {
                "backend": "fullstory",
                "outcome": "Accepted",
                "explanation": "accepted",
                "retryable": False,
                "adjustments": [],
                "verified": False,
                "request_id": None,
            },
            {
                "backend": "logrocket",
                "outcome": "Accepted",
                "explanation": "accepted, 1 adjusted",
                "retryable": False,
                "adjustments": [{"path": "traits.seats", "kind": "coerced", "rule": "strings-only", "sent_as": None}],
                "verified": True,
                "request_id": None,
            },
        ],
    }
    assert "canary-7Q" not in result.out
    assert vendor_id not in result.out


def test_traits_are_removed_if_the_vendor_can(run: RunCommand, vendors: Vendors) -> None:
    """Fullstory cannot remove traits, so the user is rejected there."""
    run("identify", "--user-id", "u1", "--trait", "plan=pro", "--to", "logrocket")

    result = run("identify", "--user-id", "u1", "--remove", "plan")

    assert result.code == 1
    assert "cannot-remove" in result.out
    assert vendors.logrocket.users["u1"].traits == {}


def test_only_selected_backends_are_asked(run: RunCommand, vendors: Vendors) -> None:
    """An unknown backend is wrong usage."""
    assert run("identify", "--user-id", "u1", "--to", "fullstory").code == 0
    assert not vendors.logrocket.requests

    result = run("identify", "--user-id", "u1", "--to", "fulstory")

    assert result.code == 2
    assert "fullstory, logrocket" in result.message


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
def test_a_value_is_a_json_scalar_or_a_string(text: str, value: object) -> None:
    """A number and a string of digits can both be written."""
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["users.jsonl", "--user-id", "canary-7Q"],
        ["--user-id", "u1", "--trait", "canary-7Q"],
        ["--user-id", "u1", "--trait", "=canary-7Q"],
        ["--user-id", "u1", "--trait", "a=canary-7Q", "--trait", "a.b=1"],
        ["--user-id", "u1", "--trait", "a=canary-7Q", "--remove", "a"],
        ["--user-id", "", "--name", "canary-7Q"],
        ["missing.jsonl"],
        ["users.txt"],
    ],
)
def test_wrong_usage_is_not_quoted(run: RunCommand, vendors: Vendors, arguments: list[str]) -> None:
    """Nothing is sent, and the error contains no value."""
    Path("users.jsonl").write_text('{"id": "u1"}', encoding="utf-8")

    result = run("identify", *arguments)

    assert result.code == 2
    assert result.err
    assert "canary-7Q" not in result.out + result.err
    assert not vendors.fullstory.requests


def test_the_users_in_a_file_are_sent_in_order(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """Of two rows about one user, the last one wins."""
    file = write([{"id": "u1", "plan": "free"}, {"id": "u2"}, {"id": "u1", "plan": "pro"}])

    result = run("identify", file)

    stored = vendors.fullstory.by_uid("u1")
    assert result.code == 0
    assert result.out.startswith("3 users")
    assert stored is not None
    assert stored.properties == {"plan": "pro"}


def test_a_dash_reads_standard_input(run: RunCommand, vendors: Vendors) -> None:
    """The option sets the format."""
    assert run("identify", "-", "--format", "csv", stdin=b"id,plan\nu1,pro\n").code == 0
    assert vendors.logrocket.users["u1"].traits == {"plan": "pro"}


def test_a_file_as_json_is_one_line_per_row(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """A summary follows; rows are identified by line, never by id."""
    del vendors
    file = write([{"id": "canary-7Q", "plan": "pro"}, b"[\n", {"id": "canary-7Q", "a-b": "canary-7Q"}])

    result = run("identify", file, "--json")

    first, bad, rejected, last = (orjson.loads(line) for line in result.out.splitlines())
    assert result.code == 1
    assert [outcome["outcome"] for outcome in first["outcomes"]] == ["Accepted", "Accepted"]
    assert (bad["line"], bad["last_line"]) == (2, 2)
    assert rejected["line"] == 3
    assert rejected["outcomes"][0]["violations"][0]["rule"] == "property-name"
    assert last["summary"]["users"] == 2
    assert last["summary"]["bad_rows"] == [bad]
    assert "canary-7Q" not in result.out + result.err


def test_a_bad_row_exits_with_1(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """The other users were sent."""
    del vendors

    assert run("identify", write([{"id": "u1", "plan": "pro"}, b"{\n"])).code == 1


def test_the_tables_count_outcomes(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """They fit into 80 columns."""
    del vendors
    rows: list[object] = [{"id": f"u{number}", "name": "Ada", "seats": number} for number in range(5)]
    file = write([*rows, {"id": "u9", "name": "é" * 300}, *[b"{\n"] * 25])

    result = run("identify", file)

    lines = result.lines
    assert result.code == 1
    assert "6 users" in lines
    assert "fullstory 5 0 0 1 0 0" in lines
    assert "logrocket 6 5 0 0 0 0" in lines
    assert "name display-name-length 256 characters 300 1" in lines
    assert "traits.seats coerced strings-only 5" in lines
    assert "25 invalid rows" in lines
    assert any(line.startswith("26 ") for line in lines)
    assert not any(line.startswith("27 ") for line in lines)
    assert "… and 5 more" in lines
    assert max(map(len, result.out.splitlines())) <= 80


def test_long_tables_are_cut(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """Losses come first, then the most frequent adjustments; the rest is counted."""
    del vendors
    file = write([{"id": "u1", **{f"t{number:02}": number for number in range(12)}, "zoo": "x" * 2000}])

    result = run("identify", file, "--adapt", "--to", "logrocket")

    lines = result.lines
    assert lines.index("traits.zoo truncated trait-value-length 1") < lines.index("traits.t00 coerced strings-only 1")
    assert "… and 3 more" in lines
    assert "traits.t11 coerced strings-only 1" not in lines


def test_adapt_keeps_the_user(run: RunCommand, vendors: Vendors) -> None:
    """The loss is in the report."""
    result = run("identify", "--user-id", "u1", "--trait", "a-b=1", "--adapt", "--json")

    stored = vendors.fullstory.by_uid("u1")
    assert result.code == 0
    assert stored is not None
    assert stored.properties == {"a_b": 1}
    assert '"kind":"renamed"' in result.out


@pytest.mark.usefixtures("vendors")
def test_losses_of_one_user_are_listed(run: RunCommand) -> None:
    """The table has a line for each loss."""
    result = run("identify", "--user-id", "u1", "--trait", "a-b=1", "--adapt", "--to", "fullstory")

    assert "traits.a-b renamed: property-name" in result.out


def test_a_vendor_that_is_down_leaves_users_pending(run: RunCommand, vendors: Vendors) -> None:
    """The exit code says to try again later."""
    vendors.fullstory.faults.add(Fault(status=503))
    Path("s.toml").write_text("[retry]\nattempts = 1\n", encoding="utf-8")

    result = run("identify", "-", "--settings", "s.toml", stdin=b'{"id": "u1"}')

    lines = result.lines
    assert result.code == 75
    assert "fullstory 0 0 0 0 1 0" in lines
    assert any(line.startswith("Unavailable HTTP 503") for line in lines)


def test_it_stops_if_every_key_is_wrong(
    run: RunCommand, vendors: Vendors, write: WriteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a million users would fail one by one."""
    monkeypatch.setenv("FULLSTORY_API_KEY", "na1.canary-7Q")
    file = write([{"id": "u1", "plan": "a"}] * 5)

    both = run("identify", file)
    alone = run("identify", file, "--to", "fullstory")

    assert both.code == alone.code == 78
    assert both.out.startswith("5 users")
    assert alone.out.startswith("1 user")
    assert "Stopped: " in alone.err
    assert "canary-7Q" not in both.out + both.err + alone.out + alone.err
    assert len(vendors.logrocket.requests) == 5


def test_an_unreadable_rest_is_reported(run: RunCommand, vendors: Vendors, monkeypatch: pytest.MonkeyPatch) -> None:
    """The users before it are counted and sent."""
    del vendors

    def unreadable(*_: object, **__: object) -> Rows[Row | BadRow]:
        return Rows(interrupted())

    def interrupted() -> Iterator[Row | BadRow]:
        yield Row(1, UserTraits("u1"))
        yield BadRow(2, 2, "is not JSON")
        raise SourceError("users.jsonl", "cannot be read: OSError")

    monkeypatch.setattr("replay_identity.cli.inputs.read_users", unreadable)

    result = run("identify", "users.jsonl")

    assert result.code == 2
    assert result.out.startswith("1 user")
    assert result.err == "Stopped: users.jsonl: cannot be read: OSError\n"


@pytest.mark.slow
def test_ctrl_c_ends_the_run_with_a_summary(vendors: Vendors, write: WriteRows) -> None:
    """The exit code is 130, as shells expect."""
    file = write([{"id": f"u{number}"} for number in range(100_000)])
    with start_command("identify", file, "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        *_, last = process.stdout

        err = process.stderr.read()

    summary = orjson.loads(last)["summary"]
    assert process.returncode == 130
    assert err.startswith("Stopped: interrupted")
    assert 0 < summary["users"] < 100_000
    assert len(vendors.fullstory.requests) >= summary["users"]


@pytest.mark.slow
def test_a_closed_pipe_ends_the_run_quietly(vendors: Vendors, write: WriteRows) -> None:
    """This is what `| head -1` does."""
    del vendors
    file = write([{"id": f"u{number}"} for number in range(100_000)])
    with start_command("identify", file, "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()

    assert (process.returncode, err) == (141, "")


def test_a_terminal_shows_progress(
    run: RunCommand, vendors: Vendors, write: WriteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes to stderr, and only to terminals."""
    del vendors
    file = write([{"id": f"u{number}"} for number in range(60)])

    def is_terminal(_console: object) -> bool:
        return True

    with monkeypatch.context() as terminal:
        terminal.setattr("replay_identity.cli.progress.is_terminal", is_terminal)
        result = run("identify", file, env={"FORCE_COLOR": "1"})

    assert "identified" in result.err
    assert "users/s" in result.err
    assert "identified" not in result.out
    assert run("identify", file).err == ""


def test_a_row_report_stops_at_ctrl_c() -> None:
    """The exit code is the one for an interruption."""
    report = RowReport()

    def evaluate(user: UserTraits) -> Sequence[Misconfigured]:
        raise KeyboardInterrupt(user)

    report.run(Rows(iter([Row(1, UserTraits("u1"))])), evaluate, lambda _row, _outcomes: None)

    assert report.exit_code == 130
    assert report.stats.users == 0


def test_an_adapters_bug_exits_with_1(run: RunCommand, vendors: Vendors, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending the user again would not help."""
    del vendors
    report = IdentifyReport((Broken("fullstory", "KeyError"),))

    def identify(_router: Router, _user: UserTraits) -> IdentifyReport:
        return report

    monkeypatch.setattr(Router, "identify", identify)

    assert run("identify", "--user-id", "u1").code == 1
