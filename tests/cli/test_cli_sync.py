"""`replay-identity sync`."""

import math
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import duckdb
import pytest
import typer
from rich.console import Console
from support.commands import COMMAND, RunCommand, WriteRows, start_command
from support.vendors import Vendors

from replay_identity.bulk import BackendReport, SyncReport
from replay_identity.cli import terminal
from replay_identity.cli.exit_codes import ExitCode, sync_exit_code
from replay_identity.cli.options import FileFormat
from replay_identity.cli.summary import print_sync_report
from replay_identity.cli.terminal import interruptible
from replay_identity.emulator import Fault, JobFault
from replay_identity.errors import SourceError
from replay_identity.outcomes import Misconfigured, Rejected
from replay_identity.sources import BadRow, Format, Row, Rows
from replay_identity.traits import UserTraits

IMPATIENT = "patience = 0.3\nwait_initial = 0.05\nwait_max = 0.1\n"
USERS = [{"id": "canary-u1", "plan": "canary-pro"}, {"id": "canary-u2", "email": "canary@example.com"}]


def write_settings(text: str) -> None:
    """Write the settings file."""
    Path("replay-identity.toml").write_text(text, encoding="utf-8")


# Outcomes


def test_sync_brings_every_vendor_up_to_date(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """A second run sends nothing."""
    file = write(USERS)

    first, second = run("sync", file), run("sync", file)

    assert (first.code, second.code) == (0, 0)
    assert first.lines[0] == "2 rows read"
    assert "fullstory 2 2 0 0 0 0" in first.lines
    assert "logrocket 2 0 0 2 0 0" in second.lines
    assert vendors.logrocket.users["canary-u1"].traits == {"plan": "canary-pro"}
    assert vendors.fullstory.by_uid("canary-u2") is not None


def test_rejected_users_and_bad_rows_exit_with_1(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """The tables show the reasons, and the advice contains the next command."""
    del vendors

    file = write([*USERS, {"id": "u3", "a-b": "canary"}, b"7\n"])
    write_settings("[backends.fullstory]\n")

    result = run("sync", file, "--ledger", "our users.db", "--settings", "replay-identity.toml")

    assert result.code == 1
    assert result.lines[0] == "4 rows read, 1 of them invalid"
    assert "fullstory 3 2 0 0 1 0" in result.lines
    assert "traits.a-b property-name 1" in result.lines
    assert any(line.startswith("4 ") for line in result.lines)
    assert result.err.endswith("replay-identity rejected --settings replay-identity.toml --ledger 'our users.db'\n")
    assert "canary" not in result.out + result.err


def test_adapt_lists_losses(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """Adjustments without a loss are not listed: nearly every user has some."""
    del vendors

    result = run("sync", write([{"id": "u1", "a-b": 1}, {"id": "u2", "seats": 2}]), "--adapt")

    assert result.code == 0
    assert "fullstory 2 2 1 0 0 0" in result.lines
    assert result.lines[result.lines.index("fullstory: adapted with loss") + 3] == "traits.a-b renamed property-name 1"


def test_a_vendor_that_is_down_leaves_its_users_pending(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """The other vendor is up to date; the exit code and the advice say what to do later."""
    vendors.logrocket.faults.add(Fault(status=503, times=None))
    write_settings(f"[backends.fullstory]\n[backends.logrocket]\n[delivery.logrocket]\n{IMPATIENT}")

    result = run("sync", write(USERS))

    assert result.code == 75
    assert "fullstory 2 2 0 0 0 0" in result.lines
    assert "logrocket 2 0 0 0 0 2" in result.lines
    assert "Stopped delivering to logrocket: " in result.err
    assert result.err.endswith(": replay-identity deliver\n")


def test_a_job_that_never_ends_exits_with_75(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """The job is named, and its users are pending."""
    vendors.fullstory.job_faults.add(JobFault(seconds=math.inf))
    write_settings(f"[backends.fullstory]\n[delivery.fullstory]\npoll_initial = 0.05\n{IMPATIENT}")

    result = run("sync", write(USERS))

    (job,) = vendors.fullstory.jobs
    assert result.code == 75
    assert "fullstory 2 0 0 0 0 2" in result.lines
    assert f"1 job without progress for 0.3 s: {job.id} (still running)" in result.err


def test_an_abandoned_job_is_named(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """The users are sent again."""
    vendors.fullstory.job_faults.add(JobFault(seconds=math.inf))
    write_settings("[backends.fullstory]\n[delivery.fullstory]\npoll_initial = 0.05\njob_patience = 0.5\n")

    result = run("sync", write(USERS))

    assert result.code == 0
    assert "fullstory 2 2 0 0 0 0" in result.lines
    assert f"fullstory: 1 job abandoned that never ended ({vendors.fullstory.jobs[0].id})" in result.lines


def test_a_wrong_key_exits_with_78(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """Its users are pending too, but wrong settings take precedence."""
    del vendors

    result = run("sync", write(USERS), "--to", "fullstory", "--adapt", env={"FULLSTORY_API_KEY": "na1.canary"})

    assert result.code == 78
    assert "fullstory 2 0 0 0 0 2" in result.lines
    assert "not accepted" not in result.out
    assert "Stopped delivering to fullstory: HTTP 401" in result.err
    assert "Fix the settings" in result.err
    assert result.err.endswith(": replay-identity deliver --to fullstory --adapt\n")
    assert "canary" not in result.out + result.err


def test_only_selected_backends_get_users(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """Delivery options of other backends are ignored."""
    write_settings("[backends.fullstory]\n[backends.logrocket]\n[delivery.logrocket]\nconnections = 1\n")

    result = run("sync", write(USERS), "--to", "fullstory")

    assert result.code == 0
    assert not vendors.logrocket.requests


def test_json_is_one_document_with_balanced_counts(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """It contains the exit code; progress goes to stderr."""
    del vendors

    result = run("sync", write([*USERS, {"id": "u3", "a-b": 1}, USERS[0]]), "--json", "--ledger", "our.db")

    assert result.code == 1
    assert len(result.out.splitlines()) == 1
    document = result.document
    assert (document["rows"], document["ledger"], document["exit_code"]) == (4, "our.db", 1)
    for counts in document["backends"].values():
        assert counts["given"] == counts["accepted"] + counts["unchanged"] + counts["rejected"] + counts["pending"]
    assert document["backends"]["fullstory"]["coalesced"] == 1
    assert document["backends"]["fullstory"]["violations"] == [
        {"path": "traits.a-b", "rule": "property-name", "limit": None, "unit": None, "largest": None, "count": 1}
    ]
    assert "4 rows read\nfullstory: 3 of 3 users" in result.err


def test_unchanged_users_are_counted_without_a_reason(
    run: RunCommand, vendors: Vendors, write: WriteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contradicting rows may make a user pending who needs no request in the end."""
    del vendors
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 1)
    file = write([{"id": "u1", "plan": "free"}, {"id": "u1", "plan": "pro"}, {"id": "u2", "a-b": 1}])

    runs = [run("sync", file, "--to", "fullstory") for _ in range(2)]

    assert not [line for result in runs for line in result.lines if "not accepted" in line or "Skipped" in line]
    assert "fullstory: rejected by a limit in this run" in runs[0].lines
    assert "fullstory: rejected by a limit in this run" not in runs[1].lines
    assert any(line.endswith("1 user rejected earlier and unchanged") for line in runs[1].lines)


def test_notes_explain_why_users_and_rows_differ(capsys: pytest.CaptureFixture[str]) -> None:
    """Several rows may describe one user, and earlier runs may have left pending users."""
    counts = BackendReport("acme", carried=5, elsewhere=1)
    counts.upserts.pending, counts.upserts.already_pending, counts.upserts.rejected = 1, 2, 3
    counts.abandoned_jobs = ["j1", "j2", "j3", "j4"]

    print_sync_report(Console(width=120), SyncReport(backends=(counts, BackendReport("other"))), "our.db")

    out = capsys.readouterr().out
    assert out.startswith("our.db\n")
    assert (
        "acme: 5 users carried over from earlier runs, 1 user settled by another process, "
        "2 rows merged into pending users, 3 users rejected earlier and unchanged, "
        "4 jobs abandoned that never ended (j1, j2, j3, …)\n\n"
    ) in out


def test_an_unreadable_rest_of_a_file_exits_with_2(
    run: RunCommand, vendors: Vendors, write: WriteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users that were read are sent."""
    del vendors

    def read_one() -> Iterator[Row]:
        yield Row(1, UserTraits("u1"))
        raise SourceError("users.csv", "breaks off")

    def read(*_arguments: object, **_options: object) -> Rows[Row]:
        return Rows(read_one())

    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 1)
    monkeypatch.setattr("replay_identity.cli.inputs.read_users", read)

    result, dry_run = run("sync", write([])), run("sync", write([]), "--dry-run")

    assert (result.code, dry_run.code) == (2, 2)
    assert "fullstory 1 1 0 0 0 0" in result.lines
    assert "Stopped: users.csv: breaks off\n" in result.err
    assert "Stopped: users.csv: breaks off\n" in dry_run.err


def test_a_missing_file_is_wrong_usage(run: RunCommand, vendors: Vendors, tmp_path: Path) -> None:
    """No ledger is created for it."""
    del vendors
    ledger = tmp_path / "new.db"

    result = run("sync", "missing.jsonl", "--ledger", str(ledger))

    assert result.code == 2
    assert result.err.startswith("missing.jsonl: cannot be read")
    assert not ledger.exists()


def test_an_empty_file_is_no_error(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """An export may be empty."""
    del vendors

    result = run("sync", write([]))

    assert (result.code, result.lines[0]) == (0, "0 rows read")


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (SyncReport(), ExitCode.OK),
        (SyncReport(bad_row_count=1), ExitCode.REJECTED),
        (SyncReport(backends=(BackendReport("a", pending=1),), bad_row_count=1), ExitCode.PENDING),
        (SyncReport(stopped="s", bad_row_count=1), ExitCode.USAGE),
    ],
)
def test_exit_codes_have_an_order(report: SyncReport, code: ExitCode) -> None:
    """Pending users come before bad rows."""
    assert sync_exit_code(report) is code


def test_wrong_settings_come_before_pending_users() -> None:
    """Pending users come before rejected users."""
    backend = BackendReport("a")
    codes: list[ExitCode] = []

    backend.add(Rejected("a"))
    codes.append(sync_exit_code(SyncReport(backends=(backend,))))
    backend.pending = 1
    codes.append(sync_exit_code(SyncReport(backends=(backend,))))
    backend.add(Misconfigured("a", "HTTP 401"))
    codes.append(sync_exit_code(SyncReport(backends=(backend,))))

    assert codes == [1, 75, 78]


# Sources


def test_every_readable_format_is_an_option() -> None:
    """The option has the formats of `read_users`."""
    assert {entry.value for entry in FileFormat} == set(get_args(Format))


def test_users_come_from_stdin(run: RunCommand, vendors: Vendors) -> None:
    """The option sets the format."""
    result = run("sync", "-", "--format", "csv", stdin=b"id,plan\nu1,pro\n")

    assert result.code == 0
    assert vendors.logrocket.users["u1"].traits == {"plan": "pro"}


def test_a_mapping_maps_rows_to_users(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """An invalid mapping counts as wrong settings."""
    Path("m.toml").write_text('user_id = "customer"\n[fields.p]\nrename = "plan"\n', encoding="utf-8")
    Path("wrong.toml").write_text('user = "customer"\n', encoding="utf-8")
    file = write([{"customer": "u1", "p": "pro"}])

    result, wrong = run("sync", file, "--mapping", "m.toml"), run("sync", file, "--mapping", "wrong.toml")

    assert (result.code, wrong.code) == (0, 78)
    assert vendors.logrocket.users["u1"].traits == {"plan": "pro"}
    assert wrong.err.startswith("wrong.toml: user: ")


def test_a_query_returns_the_users(run: RunCommand, vendors: Vendors) -> None:
    """It runs on a database or without one."""
    with duckdb.connect("users.duckdb") as connection:
        connection.sql("CREATE TABLE users AS SELECT 'u1' AS id, 'pro' AS plan")
        connection.sql("COPY (SELECT 'u4' AS id, 1 AS plan) TO 'users.parquet'")

    codes = [
        run("sync", *arguments).code
        for arguments in (
            ["users.duckdb", "--sql", "SELECT * FROM users"],
            ["-", "--sql", "SELECT 'u2' AS id, 2 AS plan"],
            [":memory:", "--sql", "SELECT 'u3' AS id, 3 AS plan"],
            ["users.parquet"],
        )
    ]

    assert codes == [0, 0, 0, 0]
    assert set(vendors.logrocket.users) == {"u1", "u2", "u3", "u4"}


def test_a_query_has_no_format(run: RunCommand, vendors: Vendors) -> None:
    """FILE is then a database."""
    del vendors

    result = run("sync", "users.csv", "--sql", "SELECT 1", "--format", "csv")

    assert result.code == 2
    assert "--format" in result.message


# The ledger


def test_the_ledger_is_in_the_users_state_folder(
    run: RunCommand, vendors: Vendors, write: WriteRows, tmp_path: Path
) -> None:
    """The folder is private, because the ledger contains values until they are delivered."""
    del vendors

    assert run("sync", write(USERS)).code == 0

    ledger = tmp_path / "state" / "replay-identity" / "replay-identity.db"
    assert stat.S_IMODE(ledger.stat().st_mode) == 0o600
    assert stat.S_IMODE(ledger.parent.stat().st_mode) == 0o700


def test_the_ledger_option_overrides_environment_and_file(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """The environment overrides the settings file."""
    del vendors
    write_settings("ledger = 'file.db'")
    file, environment = write(USERS), {"REPLAY_IDENTITY_LEDGER": "environment.db"}
    files: list[set[str]] = []

    for options, env in ([], None), ([], environment), (["--ledger", "option.db"], environment):
        assert run("sync", file, *options, env=env).code == 0
        files.append({path.name for path in Path().glob("*.db")})

    assert files == [{"file.db"}, {"file.db", "environment.db"}, {"file.db", "environment.db", "option.db"}]


def test_an_uncreatable_state_folder_is_an_error(
    run: RunCommand, vendors: Vendors, write: WriteRows, tmp_path: Path
) -> None:
    """The error mentions the option for another file."""
    del vendors
    (tmp_path / "state").write_text("", encoding="utf-8")

    result = run("sync", write(USERS))

    assert result.code == 2
    assert "replay-identity.db: the folder cannot be created: Not a directory; use --ledger" in result.err


# Dry runs


def test_a_dry_run_counts_and_sends_nothing(
    run: RunCommand, vendors: Vendors, write: WriteRows, tmp_path: Path
) -> None:
    """It creates no ledger."""
    write_settings("[backends.fullstory]\n[backends.logrocket]\n[delivery.logrocket]\nrequests_per_minute = 1\n")
    file = write([*USERS, {"id": "u3", "a-b": "canary"}])

    result = run("sync", file, "--dry-run")

    assert result.code == 1
    assert "fullstory 3 2 0 0 1 0" in result.lines
    assert "fullstory 4 1 unknown: requests_per_minute is not set" in result.lines
    assert "logrocket 3 0 0:03:00" in result.lines
    assert "dry run" in result.err
    assert not vendors.fullstory.requests
    assert not (tmp_path / "state").exists()
    assert "canary" not in result.out


def test_a_dry_run_reads_the_ledger(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """It does not change the ledger."""
    del vendors
    file = write(USERS)
    assert run("sync", file, "--ledger", "our.db").code == 0

    dry, again = (run("sync", file, "--ledger", "our.db", *option, "--json") for option in (["--dry-run"], []))

    assert dry.code == 0
    assert dry.document["backends"]["logrocket"]["unchanged"] == 2
    assert dry.document["estimate"]["logrocket"] == {"requests": 0, "jobs": 0, "seconds": None}
    assert again.document["backends"]["logrocket"]["unchanged"] == 2


# Interruptions


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_with_a_report(
    run: RunCommand, vendors: Vendors, write: WriteRows, number: signal.Signals, code: int
) -> None:
    """The advice contains the command that continues, and continuing works."""
    vendors.logrocket.faults.add(Fault(latency=0.3, times=None))
    file = write([{"id": f"canary-{index}", "plan": "canary"} for index in range(2000)])

    process = start_command("sync", file, "--ledger", "our.db", "--to", "logrocket", "--json")
    while not vendors.logrocket.requests:
        assert process.poll() is None
        time.sleep(0.01)

    process.send_signal(number)
    out, err = process.communicate(timeout=30)

    vendors.logrocket.faults.clear()
    assert process.returncode == code
    assert '"stopped":"interrupted"' in out
    assert f'"exit_code":{code}' in out
    assert err.splitlines()[0].startswith("Stopping")
    assert "`replay-identity deliver --ledger our.db --to logrocket`" in err.splitlines()[-1]
    assert "canary" not in out + err
    assert run("sync", file, "--ledger", "our.db", "--to", "logrocket").code == 0
    assert len(vendors.logrocket.users) == 2000


def test_a_signal_before_sending_says_how_to_continue(
    run: RunCommand, vendors: Vendors, write: WriteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The previous signal handler is restored."""
    del vendors
    earlier = signal.getsignal(signal.SIGTERM)

    def terminate(*_: object, **__: object) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal did not come")

    monkeypatch.setattr("replay_identity.bulk.sync", terminate)
    monkeypatch.setattr("replay_identity.bulk.dry_run", terminate)

    result, dry_run = run("sync", write(USERS)), run("sync", write(USERS), "--dry-run")

    assert (result.code, dry_run.code) == (143, 143)
    assert "`replay-identity deliver`" in result.err.splitlines()[1]
    assert "Nothing was sent." in dry_run.err.splitlines()[1]
    assert signal.getsignal(signal.SIGTERM) is earlier


def test_ctrl_c_during_a_run_prints_the_report(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """Users in flight are pending."""
    vendors.logrocket.faults.add(Fault(latency=0.2, times=None))

    def interrupt() -> None:
        while not vendors.logrocket.requests:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()

    result = run(
        "sync", write([{"id": f"u{index}", "plan": "pro"} for index in range(500)]), "--to", "logrocket", "--json"
    )

    thread.join()
    backend = result.document["backends"]["logrocket"]
    assert result.code == 130
    # Rows that were not read yet are not in the report.
    assert 500 >= backend["given"] > backend["accepted"]
    assert backend["pending"] == backend["given"] - backend["accepted"]


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    """Shells make background jobs ignore it."""
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible(Console(), "") as interruption:
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, earlier)

    assert interruption.code is None


def test_a_keyboard_interrupt_without_a_signal_exits() -> None:
    """Other code may raise it."""
    with pytest.raises(typer.Exit) as exited, interruptible(Console(quiet=True), ""):
        raise KeyboardInterrupt

    assert exited.value.exit_code == 130


def test_a_signal_during_a_write_still_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python does not allow reentrant writes to a stream."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("reentrant call")

    console = Console()
    monkeypatch.setattr(console, "print", fail)

    with pytest.raises(KeyboardInterrupt):
        terminal.Interruption(console).on_signal(signal.SIGINT, None)


# Progress


@pytest.mark.slow
def test_a_pipe_gets_plain_lines(vendors: Vendors, write: WriteRows) -> None:
    """There are no escape codes, even if the environment forces colours."""
    environment = {**os.environ, **vendors.environment, "FORCE_COLOR": "1", "TERM": "xterm"}
    command = [*COMMAND, "sync", write(USERS), "--json"]

    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    lines = process.stderr.splitlines()
    assert lines == ["2 rows read", "fullstory: 2 of 2 users", "logrocket: 2 of 2 users"]
    assert "\x1b" not in process.stderr + process.stdout


def test_bad_rows_are_not_quoted(run: RunCommand, vendors: Vendors) -> None:
    """This is true of tables and JSON."""
    del vendors
    content = b'{"id": "canary", "plan": ["canary", null]}\n'

    for option in ([], ["--json"], ["--dry-run"]):
        result = run("sync", "-", *option, stdin=content)

        assert result.code == 1
        assert "canary" not in result.out + result.err


def test_the_first_bad_rows_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """The rest is counted."""
    report = SyncReport(rows=9, bad_rows=[BadRow(3, 4, "not a user")], bad_row_count=3)

    print_sync_report(Console(width=60), report, "")

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "3 to 4 not a user" in lines
    assert "… and 2 more" in lines


@pytest.mark.usefixtures("vendors")
@pytest.mark.parametrize("source", ["sync users.csv", "sync - --format csv", "migrate --from users.csv"])
def test_the_first_run_warns_once(run: RunCommand, source: str) -> None:
    """Before it where the source can be read twice, and otherwise after it; later runs have nothing left to prevent."""
    table = b"id,seats\nu1,43\n"
    Path("users.csv").write_bytes(table)
    command = [*source.split(), "--ledger", "warned.db"]

    errors = [run(*command, stdin=table).err for _ in range(2)]

    assert [error.count("run infer first") for error in errors] == [1, 0]
