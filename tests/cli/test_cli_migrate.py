"""`replay-identity migrate`: from a vendor or a file to others, with a report."""

import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli.running_commands import Run, Vendors, Write

from replay_identity.bulk import SyncReport
from replay_identity.cli.migrate import exit_code
from replay_identity.emulator import Fault
from replay_identity.migration import ListingStats, MigrationReport
from replay_identity.migration.fidelity import Fidelity


@pytest.fixture
def put(vendors: Vendors) -> Any:
    """Give a function that puts one user into Fullstory."""
    url = f"{vendors.environment['FULLSTORY_BASE_URL']}/v2/users"

    def put_user(uid: str | None, **fields: Any) -> None:
        body = {**({} if uid is None else {"uid": uid}), **fields}
        httpx.post(url, json=body, headers={"authorization": "Basic na1.emulator"}).raise_for_status()

    return put_user


def test_moves_users_from_one_vendor_to_the_other(vendors: Vendors, put: Any, run: Run) -> None:
    """The books close, and who has no id is told."""
    put("u1", properties={"plan": "pro", "company": {"size": 4}})
    put(None, properties={"plan": "trial"})

    ran = run("migrate", "--from", "fullstory", "--ledger", "l.db")

    assert ran.code == 0, ran.err
    assert ran.lines[0] == "fullstory showed 2 users: 1 taken in, 1 anonymous."
    assert "logrocket 1 1 0 0 0 0" in ran.lines
    assert vendors.logrocket.users["u1"].traits == {"plan": "pro", "company.size": "4"}


def test_a_dry_run_sends_nothing(vendors: Vendors, put: Any, run: Run) -> None:
    """It tells the same, and makes no ledger."""
    put("u1", properties={"seats": 43})

    ran = run("migrate", "--from", "fullstory", "--to", "logrocket", "--dry-run", "--ledger", "l.db", "--json")

    assert ran.code == 0, ran.err
    assert "dry run" in ran.err
    assert not vendors.logrocket.requests
    assert not Path("l.db").exists()
    assert ran.document["listed"]["users"] == 1
    assert ran.document["estimate"]["logrocket"]["requests"] == 1


def test_a_dry_run_prints_what_it_would_take(put: Any, run: Run) -> None:
    """Requests and time, as for a sync."""
    put("u1", properties={"seats": 43})

    assert "What it would take at least" in run("migrate", "--from", "fullstory", "--dry-run").out


def test_moves_a_file(vendors: Vendors, run: Run, write: Write) -> None:
    """To every backend."""
    ran = run("migrate", "--from", write([{"id": "u1", "plan": "pro"}]), "--ledger", "l.db")

    assert ran.code == 0, ran.err
    assert "u1" in vendors.logrocket.users
    assert vendors.fullstory.by_uid("u1") is not None


def test_tells_conflicts_and_unusable_users(put: Any, run: Run) -> None:
    """By the name of the property; the exit code says that somebody did not make it."""
    Path("m.toml").write_text('[fields.seats]\ncast = "int"\n', encoding="utf-8")
    for number in range(12):
        put("u1", properties={f"p{number}": 3})
        put("u1", properties={f"p{number}": "many", "seats": "many"})

    ran = run("migrate", "--from", "fullstory", "--mapping", "m.toml", "--ledger", "l.db")

    assert ran.code == 1
    assert "fullstory showed 1 user: 1 unusable." in ran.lines
    assert "fullstory has seen with several types" in ran.lines
    assert "… and 2 more" in ran.lines


def test_the_properties_with_several_types_are_few(put: Any, run: Run) -> None:
    """All of them are named."""
    put("u1", properties={"seats": 3})
    put("u1", properties={"seats": "many"})

    ran = run("migrate", "--from", "fullstory", "--ledger", "l.db")

    assert "seats 1" in ran.lines
    assert "more" not in ran.out


def test_who_was_unusable_in_an_earlier_run_is_told_with_1_too() -> None:
    """The books of the last run close without them."""
    for unusable, code in ((0, 0), (1, 1)):
        listing = ListingStats(users=3, given=3 - unusable, unusable=unusable, earlier=3)

        assert exit_code(MigrationReport("old", listing, Fidelity(()), SyncReport())) == code


def test_nobody_to_move_is_told(vendors: Vendors, run: Run) -> None:
    """An empty account is no error."""
    ran = run("migrate", "--from", "fullstory", "--ledger", "l.db")

    assert (ran.code, ran.lines[0]) == (0, "fullstory showed 0 users: nobody.")
    assert not vendors.logrocket.users


@pytest.mark.parametrize(("status", "code"), [(403, 78), (400, 2)])
def test_what_cannot_be_read_has_an_exit_code(vendors: Vendors, put: Any, run: Run, status: int, code: int) -> None:
    """Wrong settings, and what is no trouble of ours or of the weather."""
    put("u1", properties={"plan": "pro"})
    vendors.fullstory.faults.add(Fault(status=status, method="GET"))

    ran = run("migrate", "--from", "fullstory", "--ledger", "l.db")

    assert ran.code == code
    assert "Stopped: fullstory: cannot be read" in ran.err


def test_a_vendor_that_is_down_is_worth_another_run(vendors: Vendors, put: Any, run: Run) -> None:
    """Each wait is told, and the exit code says: later."""
    settings = Path("s.toml")
    settings.write_text(
        "[backends.fullstory]\n[backends.logrocket]\n[delivery.fullstory]\nwait_initial = 0.01\npatience = 0.5\n",
        encoding="utf-8",
    )
    put("u1", properties={"plan": "pro"})
    vendors.fullstory.faults.add(Fault(status=503, method="GET", times=None))

    ran = run("migrate", "--from", "fullstory", "--settings", str(settings), "--ledger", "l.db")

    assert ran.code == 75
    assert "fullstory cannot be read just now (HTTP 503 server_error); trying again in 0:00:01" in ran.err


@pytest.mark.slow
def test_tells_of_earlier_runs_and_of_readings_begun_anew(
    vendors: Vendors, put: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before is counted, and a page that is no longer known is no loss."""
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 100)
    for number in range(150):
        put(f"u{number}")
    vendors.fullstory.faults.add(Fault(status=403, method="GET", skip=1))
    run("migrate", "--from", "fullstory", "--ledger", "l.db")

    resumed = run("migrate", "--from", "fullstory", "--ledger", "l.db", "--adapt")
    vendors.fullstory.faults.add(Fault(status=400, method="GET", skip=1))
    restarted = run("migrate", "--from", "fullstory", "--ledger", "l.db", "--restart")

    assert "fullstory showed 150 users, 100 of them to earlier runs: 150 taken in." in resumed.lines
    assert "The reading began anew: 1 time a page was no longer known." in restarted.lines


def test_writes_a_page(put: Any, run: Run) -> None:
    """Names and counts, to be sent on; no value is in it."""
    put("secret-id", properties={"plan": "secret-plan"})

    ran = run("migrate", "--from", "fullstory", "--dry-run", "--html", "report.html")

    page = Path("report.html").read_text(encoding="utf-8")
    assert "The report is in report.html." in ran.err
    assert "plan" in page
    assert "secret" not in page


def test_a_page_that_cannot_be_written_is_wrong_usage(put: Any, run: Run) -> None:
    """It says so, by the option."""
    put("u1")

    ran = run("migrate", "--from", "fullstory", "--dry-run", "--html", "no/such/folder.html")

    assert ran.code == 2
    assert "--html" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "logrocket"), "no way to show its users"),
        (("--from", "fullstory", "--to", "fullstory"), "read from"),
        (("--from", "fullstory", "--sql", "SELECT 1"), "is for files"),
        (("--from", "fullstory", "--format", "csv"), "is for files"),
        (("--from", "nowhere.jsonl"), "nowhere.jsonl"),
    ],
)
@pytest.mark.usefixtures("vendors")
def test_wrong_usage_is_told(run: Run, arguments: tuple[str, ...], said: str) -> None:
    """Nothing is made or sent."""
    ran = run("migrate", *arguments, "--ledger", "l.db")

    assert ran.code == 2
    assert said in " ".join(ran.err.split())
    assert not Path("l.db").exists()


@pytest.mark.parametrize("command", [("migrate", "--from", "fullstory"), ("compare", "fullstory")])
def test_without_another_backend_nobody_is_read(vendors: Vendors, run: Run, command: tuple[str, ...]) -> None:
    """It is told before a long reading, not after it."""
    ran = run(*command, env={"LOGROCKET_API_KEY": "", "LOGROCKET_BASE_URL": ""})

    assert ran.code == 2
    assert "no backend but the one" in " ".join(ran.err.split())
    assert not vendors.fullstory.requests


@pytest.mark.usefixtures("vendors")
def test_interrupted_while_it_sends_it_prints_the_books(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run comes to its end in good order, and returns."""

    def interrupted(*_: Any, **__: Any) -> MigrationReport:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        return MigrationReport("users.jsonl", None, Fidelity(()), SyncReport())

    monkeypatch.setattr("replay_identity.migration.migrate", interrupted)

    ran = run("migrate", "--from", write([{"id": "u1"}]), "--ledger", "l.db")

    assert ran.code == 143
    assert "Interrupted. Nothing is lost: run the same command again." in ran.err


def test_interrupted_while_it_reads_it_says_how_to_go_on(
    vendors: Vendors, put: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends it in good order."""
    put("u1")

    def interrupt(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("replay_identity.migration.pager.PageReader._ask", interrupt)

    ran = run("migrate", "--from", "fullstory", "--ledger", "l.db")

    assert ran.code == 130
    assert "run the same command again" in ran.err
    assert not vendors.logrocket.users
