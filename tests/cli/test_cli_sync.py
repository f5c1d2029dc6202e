"""`replay-identity sync`: a file into the ledger, and from there to every vendor."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import duckdb
import pytest
import typer
from cli.running_commands import Run, Vendors, Write
from rich.console import Console

from replay_identity.bulk import BackendReport, SyncReport
from replay_identity.cli import terminal
from replay_identity.cli.exit_codes import ExitCode, report_exit_code
from replay_identity.cli.options import FileFormat
from replay_identity.cli.summary import print_backend_reports
from replay_identity.cli.terminal import interruptible
from replay_identity.emulator import Fault
from replay_identity.errors import SourceError
from replay_identity.outcomes import Misconfigured, Rejected
from replay_identity.sources import BadRow, Row
from replay_identity.sources.readers import Format
from replay_identity.traits import UserTraits

MAIN = "import sys; from replay_identity.cli import main; sys.exit(main())"
IMPATIENT = "patience = 0.3\nwait_initial = 0.05\nwait_max = 0.1\n"
USERS = [{"id": "canary-u1", "plan": "canary-pro"}, {"id": "canary-u2", "email": "canary@example.com"}]


def settings(text: str) -> None:
    """Write the settings file."""
    Path("replay-identity.toml").write_text(text, encoding="utf-8")


def start(*arguments: str) -> "subprocess.Popen[str]":
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


# What becomes of users


def test_sync_brings_every_vendor_to_the_state_of_the_file(run: Run, vendors: Vendors, write: Write) -> None:
    """The books say so, and a second run sends nothing."""
    file = write(USERS)

    first, second = run("sync", file), run("sync", file)

    assert (first.code, second.code) == (0, 0)
    assert first.lines[0] == "2 rows read"
    assert "fullstory 2 2 0 0 0 0" in first.lines
    assert "logrocket 2 0 0 2 0 0" in second.lines
    assert vendors.logrocket.users["canary-u1"].traits == {"plan": "canary-pro"}
    assert vendors.fullstory.by_uid("canary-u2") is not None


def test_refused_users_and_bad_rows_exit_with_1_and_are_explained(run: Run, vendors: Vendors, write: Write) -> None:
    """With the command that goes on from there."""
    del vendors
    file = write([*USERS, {"id": "u3", "a-b": "canary"}, b"7\n"])

    settings("[backends.fullstory]\n")

    ran = run("sync", file, "--ledger", "our users.db", "--settings", "replay-identity.toml")

    assert ran.code == 1
    assert ran.lines[0] == "4 rows read, 1 of them no users"
    assert "fullstory 3 2 0 0 1 0" in ran.lines
    assert "traits.a-b property-name 1" in ran.lines
    assert "4 is a number, not an object; write one JSON object per line" in ran.lines
    assert ran.err.endswith(
        "To see why users were rejected, and to mend them: replay-identity rejected "
        "--settings replay-identity.toml --ledger 'our users.db'\n"
    )
    assert "canary" not in ran.out + ran.err


def test_adapt_tells_what_a_vendor_did_not_get(run: Run, vendors: Vendors, write: Write) -> None:
    """Only losses are counted, since nearly every user is adjusted without one."""
    del vendors

    ran = run("sync", write([{"id": "u1", "a-b": 1}, {"id": "u2", "seats": 2}]), "--adapt")

    assert ran.code == 0
    assert "fullstory 2 2 1 0 0 0" in ran.lines
    assert ran.lines[ran.lines.index("fullstory did not get") + 3] == "traits.a-b renamed property-name 1"


def test_a_vendor_that_is_down_leaves_its_users_pending(run: Run, vendors: Vendors, write: Write) -> None:
    """The other vendor does not wait for it; the exit code says to come back, and stderr how."""
    vendors.logrocket.faults.add(Fault(status=503, times=None))
    settings(f"[backends.fullstory]\n[backends.logrocket]\n[delivery.logrocket]\n{IMPATIENT}")

    ran = run("sync", write(USERS))

    assert ran.code == 75
    assert "fullstory 2 2 0 0 0 0" in ran.lines
    assert "logrocket 2 0 0 0 0 2" in ran.lines
    assert "logrocket was given up on: no successful response for 0.3 s; last failure: HTTP 503" in ran.err
    assert ran.err.endswith("To send who is pending: replay-identity deliver\n")


def test_a_key_that_a_vendor_does_not_know_exits_with_78(run: Run, vendors: Vendors, write: Write) -> None:
    """Its users are pending too, but settings come first."""
    del vendors

    ran = run("sync", write(USERS), "--to", "fullstory", "--adapt", env={"FULLSTORY_API_KEY": "na1.canary"})

    assert ran.code == 78
    assert "fullstory 2 0 0 0 0 2" in ran.lines
    assert "did not take" not in ran.out
    assert "fullstory was given up on: HTTP 401" in ran.err
    assert ran.err.endswith(
        "Mend the settings. To send who is pending: replay-identity deliver --to fullstory --adapt\n"
    )
    assert "canary" not in ran.out + ran.err


def test_only_one_backend_is_asked_where_that_is_wished(run: Run, vendors: Vendors, write: Write) -> None:
    """How another one is delivered to does not matter then."""
    settings("[backends.fullstory]\n[backends.logrocket]\n[delivery.logrocket]\nconnections = 1\n")

    ran = run("sync", write(USERS), "--to", "fullstory")

    assert ran.code == 0
    assert not vendors.logrocket.requests


def test_json_is_one_document_with_the_closed_books(run: Run, vendors: Vendors, write: Write) -> None:
    """And with the exit code; progress stays on stderr."""
    del vendors

    ran = run("sync", write([*USERS, {"id": "u3", "a-b": 1}, USERS[0]]), "--json", "--ledger", "our.db")

    assert ran.code == 1
    assert len(ran.out.splitlines()) == 1
    document = ran.document
    assert (document["rows"], document["ledger"], document["exit_code"]) == (4, "our.db", 1)
    for counts in document["backends"].values():
        assert counts["given"] == counts["accepted"] + counts["unchanged"] + counts["rejected"] + counts["pending"]
    assert document["backends"]["fullstory"]["coalesced"] == 1
    assert document["backends"]["fullstory"]["violations"] == [
        {"path": "traits.a-b", "rule": "property-name", "limit": None, "unit": None, "largest": None, "count": 1}
    ]
    assert "4 rows read\nfullstory: 3 of 3 users" in ran.err


def test_who_is_unchanged_is_counted_and_not_explained(
    run: Run, vendors: Vendors, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that contradict each other may make a user due who needs no request in the end."""
    del vendors
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 1)
    file = write([{"id": "u1", "plan": "free"}, {"id": "u1", "plan": "pro"}, {"id": "u2", "a-b": 1}])

    runs = [run("sync", file, "--to", "fullstory") for _ in range(2)]

    assert not [line for ran in runs for line in ran.lines if line.startswith(("fullstory did not", "Skipped"))]
    assert "fullstory refused in this run" in runs[0].lines
    assert "fullstory refused in this run" not in runs[1].lines
    assert any(line.endswith("1 user refused before and the same since") for line in runs[1].lines)


def test_the_books_say_why_users_and_rows_differ(capsys: pytest.CaptureFixture[str]) -> None:
    """Rows of one user are sent as one, and earlier runs left some."""
    counts = BackendReport("acme", carried=5, elsewhere=1)
    counts.upserts.pending, counts.upserts.already_pending, counts.upserts.rejected = 1, 2, 3

    print_backend_reports(Console(width=120), SyncReport(backends=(counts, BackendReport("other"))), "our.db")

    told = capsys.readouterr().out
    assert told.startswith("our.db\n")
    assert (
        "acme: 5 carried over from earlier runs, 1 settled by another process meanwhile, "
        "2 rows about users who were due already, 3 users refused before and the same since\n\n"
    ) in told


def test_a_file_that_breaks_off_is_told_with_the_books(
    run: Run, vendors: Vendors, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was read is sent."""
    del vendors

    def break_off(*_: object, **__: object) -> Iterator[Row]:
        yield Row(1, UserTraits("u1"))
        raise SourceError("users.csv", "breaks off")

    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 1)
    monkeypatch.setattr("replay_identity.cli.inputs.read_users", break_off)

    ran, dry = run("sync", write([])), run("sync", write([]), "--dry-run")

    assert (ran.code, dry.code) == (2, 2)
    assert "fullstory 1 1 0 0 0 0" in ran.lines
    assert "Stopped: users.csv: breaks off\n" in ran.err
    assert "Stopped: users.csv: breaks off\n" in dry.err


def test_a_file_that_is_not_there_is_wrong_usage(run: Run, vendors: Vendors, tmp_path: Path) -> None:
    """As for every other command; and no ledger is made for it."""
    del vendors
    ledger = tmp_path / "new.db"

    ran = run("sync", "missing.jsonl", "--ledger", str(ledger))

    assert (ran.code, ran.err) == (2, "missing.jsonl: cannot be read: No such file or directory\n")
    assert not ledger.exists()


def test_an_empty_file_is_a_run_too(run: Run, vendors: Vendors, write: Write) -> None:
    """As an export of an empty day."""
    del vendors

    ran = run("sync", write([]))

    assert (ran.code, ran.lines[0]) == (0, "0 rows read")


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (SyncReport(), ExitCode.OK),
        (SyncReport(bad_row_count=1), ExitCode.REFUSED),
        (SyncReport(backends=(BackendReport("a", pending=1),), bad_row_count=1), ExitCode.PENDING),
        (SyncReport(stopped="s", bad_row_count=1), ExitCode.USAGE),
    ],
)
def test_the_exit_code_says_the_worst(report: SyncReport, code: ExitCode) -> None:
    """A bad row before a refused user, pending before both."""
    assert report_exit_code(report) is code


def test_wrong_settings_come_before_pending_before_refused() -> None:
    """The first has to be mended before anything else can be."""
    counts = BackendReport("a")
    codes: list[ExitCode] = []

    counts.add(Rejected("a"))
    codes.append(report_exit_code(SyncReport(backends=(counts,))))
    counts.pending = 1
    codes.append(report_exit_code(SyncReport(backends=(counts,))))
    counts.add(Misconfigured("a", "HTTP 401"))
    codes.append(report_exit_code(SyncReport(backends=(counts,))))

    assert codes == [1, 75, 78]


# Where users come from


def test_the_formats_are_those_that_can_be_read() -> None:
    """A new one is an option at once."""
    assert {entry.value for entry in FileFormat} == set(get_args(Format))


def test_users_come_from_stdin(run: Run, vendors: Vendors) -> None:
    """In JSON Lines unless said otherwise."""
    ran = run("sync", "-", "--format", "csv", stdin=b"id,plan\nu1,pro\n")

    assert ran.code == 0
    assert vendors.logrocket.users["u1"].traits == {"plan": "pro"}


def test_a_mapping_says_how_rows_become_users(run: Run, vendors: Vendors, write: Write) -> None:
    """A wrong one is a wrong setting."""
    Path("m.toml").write_text('user_id = "customer"\n[fields.p]\nrename = "plan"\n', encoding="utf-8")
    Path("wrong.toml").write_text('user = "customer"\n', encoding="utf-8")
    file = write([{"customer": "u1", "p": "pro"}])

    ran, wrong = run("sync", file, "--mapping", "m.toml"), run("sync", file, "--mapping", "wrong.toml")

    assert (ran.code, wrong.code) == (0, 78)
    assert vendors.logrocket.users["u1"].traits == {"plan": "pro"}
    assert "wrong.toml: user: unknown setting" in wrong.err


def test_a_query_gives_the_users(run: Run, vendors: Vendors) -> None:
    """From a database, or from none."""
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


def test_a_query_has_no_format(run: Run, vendors: Vendors) -> None:
    """Whoever gives one takes FILE for something else."""
    del vendors

    ran = run("sync", "users.csv", "--sql", "SELECT 1", "--format", "csv")

    assert ran.code == 2
    assert "a query needs no format" in ran.err


# Where the ledger is


def test_the_ledger_is_in_the_users_state_folder(run: Run, vendors: Vendors, write: Write, tmp_path: Path) -> None:
    """Which is made for its owner alone, since values lie there until they are delivered."""
    del vendors

    assert run("sync", write(USERS)).code == 0

    ledger = tmp_path / "state" / "replay-identity" / "replay-identity.db"
    assert stat.S_IMODE(ledger.stat().st_mode) == 0o600
    assert stat.S_IMODE(ledger.parent.stat().st_mode) == 0o700


def test_the_option_comes_before_the_environment_and_this_before_the_file(
    run: Run, vendors: Vendors, write: Write
) -> None:
    """The nearer word wins."""
    del vendors
    settings("ledger = 'file.db'")
    file, environment = write(USERS), {"REPLAY_IDENTITY_LEDGER": "environment.db"}
    found: list[set[str]] = []

    for options, env in ([], None), ([], environment), (["--ledger", "option.db"], environment):
        assert run("sync", file, *options, env=env).code == 0
        found.append({path.name for path in Path().glob("*.db")})

    assert found == [{"file.db"}, {"file.db", "environment.db"}, {"file.db", "environment.db", "option.db"}]


def test_a_state_folder_that_cannot_be_made_is_told(run: Run, vendors: Vendors, write: Write, tmp_path: Path) -> None:
    """With the option that names another file."""
    del vendors
    (tmp_path / "state").write_text("", encoding="utf-8")

    ran = run("sync", write(USERS))

    assert ran.code == 2
    assert "replay-identity.db: has a folder that cannot be made: Not a directory; use --ledger" in ran.err


# Dry runs


def test_a_dry_run_counts_and_sends_nothing(run: Run, vendors: Vendors, write: Write, tmp_path: Path) -> None:
    """Nor does it leave a ledger behind."""
    settings("[backends.fullstory]\n[backends.logrocket]\n[delivery.logrocket]\nrequests_per_minute = 1\n")
    file = write([*USERS, {"id": "u3", "a-b": "canary"}])

    ran = run("sync", file, "--dry-run")

    assert ran.code == 1
    assert "fullstory 3 2 0 0 1 0" in ran.lines
    assert "fullstory 4 1 no quota is set" in ran.lines
    assert "logrocket 3 0 0:03:00" in ran.lines
    assert ran.err == "Nothing was sent: this was a dry run.\n"
    assert not vendors.fullstory.requests
    assert not (tmp_path / "state").exists()
    assert "canary" not in ran.out


def test_a_dry_run_knows_what_is_held_already(run: Run, vendors: Vendors, write: Write) -> None:
    """And changes nothing about it."""
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
def test_a_signal_ends_a_run_in_good_order(
    run: Run, vendors: Vendors, write: Write, number: signal.Signals, code: int
) -> None:
    """The books are closed, it is told how to go on, and going on works."""
    vendors.logrocket.faults.add(Fault(latency=0.3, times=None))
    file = write([{"id": f"canary-{index}", "plan": "canary"} for index in range(2000)])
    process = start("sync", file, "--ledger", "our.db", "--to", "logrocket", "--json")
    while not vendors.logrocket.requests:
        assert process.poll() is None
        time.sleep(0.01)

    process.send_signal(number)
    out, err = process.communicate(timeout=30)

    vendors.logrocket.faults.clear()
    assert process.returncode == code
    assert '"stopped":"interrupted"' in out
    assert f'"exit_code":{code}' in out
    assert err.splitlines()[0] == "Stopping: waiting for the answers under way; once more stops at once."
    assert err.splitlines()[-1] == (
        "Interrupted. Nothing is lost: run the same command again, "
        "or `replay-identity deliver --ledger our.db --to logrocket`."
    )
    assert "canary" not in out + err
    assert run("sync", file, "--ledger", "our.db", "--to", "logrocket").code == 0
    assert len(vendors.logrocket.users) == 2000


def test_a_signal_while_nothing_is_sent_yet_says_how_to_go_on(
    run: Run, vendors: Vendors, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, as a program of somebody else's might run it; handlers are put back."""
    del vendors
    earlier = signal.getsignal(signal.SIGTERM)

    def terminate(*_: object, **__: object) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal did not come")

    monkeypatch.setattr("replay_identity.bulk.sync", terminate)
    monkeypatch.setattr("replay_identity.bulk.rehearse", terminate)

    ran, dry = run("sync", write(USERS)), run("sync", write(USERS), "--dry-run")

    assert (ran.code, dry.code) == (143, 143)
    assert ran.err.splitlines()[1] == (
        "Interrupted. Nothing is lost: run the same command again, or `replay-identity deliver`."
    )
    assert dry.err.splitlines()[1] == "Interrupted. Nothing was sent."
    assert signal.getsignal(signal.SIGTERM) is earlier


def test_ctrl_c_during_the_run_prints_the_books(run: Run, vendors: Vendors, write: Write) -> None:
    """Whoever waits for an answer is pending."""
    vendors.logrocket.faults.add(Fault(latency=0.2, times=None))

    def interrupt() -> None:
        while not vendors.logrocket.requests:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()

    ran = run(
        "sync", write([{"id": f"u{index}", "plan": "pro"} for index in range(500)]), "--to", "logrocket", "--json"
    )

    thread.join()
    counts = ran.document["backends"]["logrocket"]
    assert ran.code == 130
    # Those of the file whom nobody had read yet are not in the books.
    assert 500 >= counts["given"] > counts["accepted"]
    assert counts["pending"] == counts["given"] - counts["accepted"]


def test_what_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    """A shell tells jobs in the background of a script to."""
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible(Console(), "") as interrupted:
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, earlier)

    assert interrupted.code is None


def test_a_keyboard_interrupt_of_somebody_elses_is_one_too() -> None:
    """Not only signals raise it."""
    with pytest.raises(typer.Exit) as exited, interruptible(Console(quiet=True), ""):
        raise KeyboardInterrupt

    assert exited.value.exit_code == 130


def test_a_signal_in_the_middle_of_a_word_still_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python refuses to write to a stream that is being written to."""

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("reentrant call")

    console = Console()
    monkeypatch.setattr(console, "print", refuse)

    with pytest.raises(KeyboardInterrupt):
        terminal.Interruption(console).on_signal(signal.SIGINT, None)


# Progress


@pytest.mark.slow
def test_what_is_no_terminal_gets_plain_lines(vendors: Vendors, write: Write) -> None:
    """Without a single escape code, whatever the environment says about colours."""
    environment = {**os.environ, **vendors.environment, "FORCE_COLOR": "1", "TERM": "xterm"}
    command = [sys.executable, "-c", MAIN, "sync", write(USERS), "--json"]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    lines = done.stderr.splitlines()
    assert lines == ["2 rows read", "fullstory: 2 of 2 users", "logrocket: 2 of 2 users"]
    assert "\x1b" not in done.stderr + done.stdout


def test_no_row_that_is_no_user_is_quoted(run: Run, vendors: Vendors) -> None:
    """Neither in the books nor in JSON."""
    del vendors
    content = b'{"id": "canary", "plan": ["canary", null]}\n'

    for option in ([], ["--json"], ["--dry-run"]):
        ran = run("sync", "-", *option, stdin=content)

        assert ran.code == 1
        assert "canary" not in ran.out + ran.err


def test_the_first_bad_rows_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """And how many more there are."""
    report = SyncReport(rows=9, bad_rows=[BadRow(3, 4, "is no user")], bad_row_count=3)

    print_backend_reports(Console(width=60), report, "")

    told = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "3 to 4 is no user" in told
    assert "… and 2 more" in told
