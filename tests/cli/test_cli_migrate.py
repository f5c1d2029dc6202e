"""`replay-identity migrate`."""

import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.commands import RunCommand, WriteRows
from support.vendors import Vendors

from replay_identity.bulk import SyncReport
from replay_identity.cli.migrate import migration_exit_code
from replay_identity.emulator import Fault
from replay_identity.migration import ListingStats, MigrationReport
from replay_identity.migration.fidelity import Fidelity


@pytest.fixture
def put(vendors: Vendors) -> Any:
    """Return a function that creates one user at Fullstory."""
    url = f"{vendors.environment['FULLSTORY_BASE_URL']}/v2/users"

    def put_user(uid: str | None, **fields: Any) -> None:
        body = {**({} if uid is None else {"uid": uid}), **fields}
        httpx.post(url, json=body, headers={"authorization": "Basic na1.emulator"}).raise_for_status()

    return put_user


def test_it_moves_users_between_vendors(vendors: Vendors, put: Any, run: RunCommand) -> None:
    """Anonymous users are counted, but not moved."""
    put("u1", properties={"plan": "pro", "company": {"size": 4}})
    put(None, properties={"plan": "trial"})

    result = run("migrate", "--from", "fullstory", "--ledger", "l.db")

    assert result.code == 0, result.err
    assert result.lines[0] == "fullstory: 2 users read (1 usable, 1 anonymous)"
    assert "logrocket 1 1 0 0 0 0" in result.lines
    assert vendors.logrocket.users["u1"].traits == {"plan": "pro", "company.size": "4"}


def test_it_moves_users_from_an_export(vendors: Vendors, put: Any, run: RunCommand) -> None:
    """The report is that of the pages."""
    put("u1", properties={"plan": "pro"})
    put(None, properties={"plan": "trial"})

    result = run("migrate", "--from", "fullstory", "--via", "export", "--ledger", "l.db")

    assert result.code == 0, result.err
    assert result.lines[0] == "fullstory: 2 users read (1 usable, 1 anonymous)"
    assert vendors.logrocket.users["u1"].traits == {"plan": "pro"}


def test_a_key_without_exports_gets_a_hint(vendors: Vendors, run: RunCommand) -> None:
    """The settings are wrong, or the way to read."""
    vendors.fullstory.faults.add(Fault(status=403, path="/segments"))

    result = run("migrate", "--from", "fullstory", "--via", "export", "--ledger", "l.db")

    assert result.code == 78
    assert "add-on" in result.err


@pytest.mark.usefixtures("vendors")
@pytest.mark.parametrize("source", [("--from", "logrocket"), ("--from", "users.jsonl"), ("--from-logrocket-export",)])
def test_only_a_backend_with_exports_has_the_option(run: RunCommand, write: WriteRows, source: tuple[str, ...]) -> None:
    """Nothing is sent."""
    write([{"id": "u1"}])

    result = run("migrate", *source, "--via", "export", "--ledger", "l.db")

    assert result.code == 2
    assert "--via" in result.err


def test_a_dry_run_sends_nothing(vendors: Vendors, put: Any, run: RunCommand) -> None:
    """It prints the same report, and creates no ledger."""
    put("u1", properties={"seats": 43})

    result = run("migrate", "--from", "fullstory", "--to", "logrocket", "--dry-run", "--ledger", "l.db", "--json")

    assert result.code == 0, result.err
    assert "dry run" in result.err
    assert not vendors.logrocket.requests
    assert not Path("l.db").exists()
    assert result.document["listing"]["users"] == 1
    assert result.document["estimate"]["logrocket"]["requests"] == 1


def test_a_dry_run_prints_the_effort(put: Any, run: RunCommand) -> None:
    """It is the table of `sync --dry-run`."""
    put("u1", properties={"seats": 43})

    assert "Estimated minimum" in run("migrate", "--from", "fullstory", "--dry-run").out


def test_it_moves_a_file(vendors: Vendors, run: RunCommand, write: WriteRows) -> None:
    """The users go to every backend."""
    result = run("migrate", "--from", write([{"id": "u1", "plan": "pro"}]), "--ledger", "l.db")

    assert result.code == 0, result.err
    assert "u1" in vendors.logrocket.users
    assert vendors.fullstory.by_uid("u1") is not None


def test_type_conflicts_and_invalid_users_are_listed(put: Any, run: RunCommand) -> None:
    """Invalid users exit with 1."""
    Path("m.toml").write_text('[fields.seats]\ncast = "int"\n', encoding="utf-8")
    for number in range(12):
        put("u1", properties={f"p{number}": 3})
        put("u1", properties={f"p{number}": "many", "seats": "many"})

    result = run("migrate", "--from", "fullstory", "--mapping", "m.toml", "--ledger", "l.db")

    assert result.code == 1
    assert result.lines[0] == "fullstory: 1 user read (1 invalid)"
    assert "fullstory: properties with several types" in result.lines
    assert "… and 2 more" in result.lines


def test_a_few_type_conflicts_are_all_listed(put: Any, run: RunCommand) -> None:
    """Nothing is cut."""
    put("u1", properties={"seats": 3})
    put("u1", properties={"seats": "many"})

    result = run("migrate", "--from", "fullstory", "--ledger", "l.db")

    assert "seats 1" in result.lines
    assert "more" not in result.out


def test_invalid_users_of_earlier_runs_exit_with_1() -> None:
    """The report of the last run does not count them."""
    for unusable, code in ((0, 0), (1, 1)):
        listing = ListingStats(users=3, usable=3 - unusable, unusable=unusable, earlier=3)

        assert migration_exit_code(MigrationReport("old", listing, Fidelity(()), SyncReport())) == code


def test_an_empty_account_is_no_error(vendors: Vendors, run: RunCommand) -> None:
    """There is nothing to move."""
    result = run("migrate", "--from", "fullstory", "--ledger", "l.db")

    assert (result.code, result.lines[0]) == (0, "fullstory: 0 users read")
    assert not vendors.logrocket.users


@pytest.mark.parametrize(("status", "code"), [(403, 78), (400, 2)])
def test_an_unreadable_vendor_has_an_exit_code(
    vendors: Vendors, put: Any, run: RunCommand, status: int, code: int
) -> None:
    """It depends on the vendor's response."""
    put("u1", properties={"plan": "pro"})
    vendors.fullstory.faults.add(Fault(status=status, method="GET"))

    result = run("migrate", "--from", "fullstory", "--ledger", "l.db")

    assert result.code == code
    assert "Stopped: fullstory: cannot be read" in result.err


def test_a_vendor_that_is_down_exits_with_75(vendors: Vendors, put: Any, run: RunCommand) -> None:
    """Each wait is announced."""
    settings = Path("s.toml")
    settings.write_text(
        "[backends.fullstory]\n[backends.logrocket]\n[delivery.fullstory]\nwait_initial = 0.01\npatience = 0.5\n",
        encoding="utf-8",
    )
    put("u1", properties={"plan": "pro"})
    vendors.fullstory.faults.add(Fault(status=503, method="GET", times=None))

    result = run("migrate", "--from", "fullstory", "--settings", str(settings), "--ledger", "l.db")

    assert result.code == 75
    assert "HTTP 503" in result.err
    assert "retrying in 0:00:01" in result.err


@pytest.mark.slow
def test_resumed_and_restarted_reads_are_reported(
    vendors: Vendors, put: Any, run: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that the vendor no longer knows restarts the reading."""
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 100)
    for number in range(150):
        put(f"u{number}")
    vendors.fullstory.faults.add(Fault(status=403, method="GET", skip=1))
    run("migrate", "--from", "fullstory", "--ledger", "l.db")

    resumed = run("migrate", "--from", "fullstory", "--ledger", "l.db", "--adapt")
    vendors.fullstory.faults.add(Fault(status=400, method="GET", skip=1))
    restarted = run("migrate", "--from", "fullstory", "--ledger", "l.db", "--restart")

    assert "fullstory: 150 users read (150 usable, 100 read by earlier runs)" in resumed.lines
    assert any(line.startswith("Reading restarted 1 time") for line in restarted.lines)


def test_it_writes_an_html_report(put: Any, run: RunCommand) -> None:
    """It contains names and counts, but no values."""
    put("secret-id", properties={"plan": "secret-plan"})

    result = run("migrate", "--from", "fullstory", "--dry-run", "--html", "report.html")

    page = Path("report.html").read_text(encoding="utf-8")
    assert "report.html" in result.err
    assert "plan" in page
    assert "secret" not in page


def test_an_unwritable_html_report_is_wrong_usage(put: Any, run: RunCommand) -> None:
    """The error mentions the option."""
    put("u1")

    result = run("migrate", "--from", "fullstory", "--dry-run", "--html", "no/such/folder.html")

    assert result.code == 2
    assert "--html" in result.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--from", "logrocket"), "export them"),
        (("--from", "fullstory", "--to", "fullstory"), "--to"),
        (("--from", "fullstory", "--sql", "SELECT 1"), "--sql"),
        (("--from", "fullstory", "--format", "csv"), "--format"),
        (("--from", "nowhere.jsonl"), "nowhere.jsonl"),
    ],
)
@pytest.mark.usefixtures("vendors")
def test_wrong_usage_changes_nothing(run: RunCommand, arguments: tuple[str, ...], problem: str) -> None:
    """No ledger is created."""
    result = run("migrate", *arguments, "--ledger", "l.db")

    assert result.code == 2
    assert problem in result.message
    assert not Path("l.db").exists()


@pytest.mark.parametrize("command", [("migrate", "--from", "fullstory"), ("compare", "fullstory")])
def test_without_a_target_nothing_is_read(vendors: Vendors, run: RunCommand, command: tuple[str, ...]) -> None:
    """The error comes before a long read."""
    result = run(*command, env={"LOGROCKET_API_KEY": "", "LOGROCKET_BASE_URL": ""})

    assert result.code == 2
    assert "no backend besides the source" in result.message
    assert not vendors.fullstory.requests


@pytest.mark.usefixtures("vendors")
def test_an_interruption_while_sending_prints_the_report(
    run: RunCommand, write: WriteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends in order, and returns its report."""

    def interrupted(*_: Any, **__: Any) -> MigrationReport:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        return MigrationReport("users.jsonl", None, Fidelity(()), SyncReport())

    monkeypatch.setattr("replay_identity.migration.migrate", interrupted)

    result = run("migrate", "--from", write([{"id": "u1"}]), "--ledger", "l.db")

    assert result.code == 143
    assert "Interrupted. Nothing is lost: run the same command again." in result.err


def test_an_interruption_while_reading_says_how_to_continue(
    vendors: Vendors, put: Any, run: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command continues."""
    put("u1")

    def interrupt(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("replay_identity.migration.pager.PageReader._request_page", interrupt)

    result = run("migrate", "--from", "fullstory", "--ledger", "l.db")

    assert result.code == 130
    assert "run the same command again" in result.err
    assert not vendors.logrocket.users
