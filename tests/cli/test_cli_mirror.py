"""`replay-identity sync --mirror`."""

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from rich.console import Console
from support.commands import CommandResult, RunCommand, WriteRows
from support.vendors import Vendors

from replay_identity.bulk import MirrorReport, MirrorState, SyncReport
from replay_identity.cli.exit_codes import sync_exit_code
from replay_identity.cli.mirror import print_mirror, print_mirror_problem
from replay_identity.deletion import DeletionReceipt
from replay_identity.emulator import Fault
from replay_identity.outcomes import Misconfigured, Unavailable

ROWS: Final[Sequence[dict[str, Any]]] = [{"id": f"canary-{number}", "plan": "pro"} for number in range(40)]


@pytest.fixture(autouse=True)
def _our_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLAY_IDENTITY_LEDGER", "our.db")


@pytest.fixture
def mirror(run: RunCommand, vendors: Vendors, write: WriteRows) -> RunCommand:
    """Return a function that mirrors the first rows, after a run with all of them; no id may be printed."""
    del vendors
    first = run("sync", write(ROWS), "--mirror", "report")
    assert first.code == 0
    assert "mirror: the users are remembered; the next run finds those who vanished" in first.lines

    def run_mirror(count: int, *arguments: str) -> CommandResult:
        result = run("sync", write(ROWS[:count]), "--mirror", *arguments)
        assert "canary" not in result.out + result.err
        return result

    return run_mirror


def output(name: str = "vanished.jsonl") -> list[Any]:
    """Return the lines of the output file."""
    return [orjson.loads(line) for line in Path(name).read_bytes().splitlines()]


def test_vanished_users_are_counted_and_listed(mirror: RunCommand, vendors: Vendors) -> None:
    """Their ids are only in the file, which is for its owner alone."""
    result = mirror(38, "report", "--output", "vanished.jsonl")

    assert result.code == 0
    assert "mirror: 2 of 40 users vanished" in result.lines
    assert output() == [{"user_id": "canary-38", "receipts": []}, {"user_id": "canary-39", "receipts": []}]
    assert stat.S_IMODE(Path("vanished.jsonl").stat().st_mode) == 0o600
    assert not vendors.logrocket.excluded


def test_forget_deletes_them_with_receipts(mirror: RunCommand, vendors: Vendors) -> None:
    """The table counts the receipts, and the file has each."""
    result = mirror(38, "forget", "--output", "vanished.jsonl")

    assert result.code == 0
    assert "mirror: 2 of 40 users vanished, 2 deleted" in result.lines
    assert "Backend Requested" in result.lines
    assert "fullstory 2" in result.lines
    assert vendors.logrocket.excluded == {("user_id", "canary-38"), ("user_id", "canary-39")}
    assert [receipt["status"] for receipt in output()[0]["receipts"]] == ["requested", "requested"]
    assert "mirror: 0 of 38 users vanished" in mirror(38, "forget").lines


def test_too_many_exit_with_1(mirror: RunCommand, vendors: Vendors) -> None:
    """Nobody is deleted, and the advice has the number."""
    result = mirror(30, "forget")

    assert result.code == 1
    assert "mirror: 10 of 40 users vanished, 0 deleted" in result.lines
    assert "Nobody was deleted, because more than 2 users vanished." in result.err
    assert "--max-deletions 10" in result.err
    assert not vendors.logrocket.excluded
    assert mirror(30, "forget", "--max-deletions", "25%").code == 0
    assert len(vendors.logrocket.excluded) == 10


def test_a_dry_run_says_what_would_be_deleted(mirror: RunCommand, vendors: Vendors) -> None:
    """It has the exit code of the run."""
    allowed = mirror(38, "forget", "--dry-run")
    refused = mirror(30, "forget", "--dry-run")

    assert (allowed.code, refused.code) == (0, 1)
    assert "mirror: 2 of 40 users vanished, who would be deleted" in allowed.lines
    assert "mirror: 10 of 40 users vanished, too many to delete" in refused.lines
    assert not vendors.logrocket.excluded


def test_an_empty_file_makes_nobody_vanish(mirror: RunCommand) -> None:
    """A mirror that could not do its work exits with 1."""
    result = mirror(0, "forget")

    assert result.code == 1
    assert "mirror: nobody counts as vanished, because the source has no users" in result.lines


def test_a_bad_row_makes_nobody_vanish(run: RunCommand, mirror: RunCommand, write: WriteRows) -> None:
    """The output says why."""
    del mirror

    result = run("sync", write([*ROWS[:5], b"not JSON\n"]), "--mirror", "forget")

    assert result.code == 1
    assert any(line.startswith("mirror: nobody counts as vanished, because a row is invalid") for line in result.lines)


def test_the_document_has_the_mirror(mirror: RunCommand) -> None:
    """It has counts, and no ids."""
    document = mirror(38, "forget", "--json").document

    assert document["mirror"]["state"] == "complete"
    assert (document["mirror"]["vanished"], document["mirror"]["deleted"]) == (2, 2)
    assert document["exit_code"] == 0


def test_a_vendor_that_is_down_exits_with_75(mirror: RunCommand, vendors: Vendors) -> None:
    """The next run deletes who is left, at that vendor only."""
    Path("replay-identity.toml").write_text(
        "[backends.fullstory]\n[backends.logrocket]\n[delivery.logrocket]\n"
        "patience = 0.1\nwait_initial = 0.05\nwait_max = 0.1\n",
        encoding="utf-8",
    )
    vendors.logrocket.faults.add(Fault(status=503, times=None))

    result = mirror(38, "forget")
    vendors.logrocket.faults.clear()
    again = mirror(38, "forget")

    assert (result.code, again.code) == (75, 0)
    assert "mirror: 2 of 40 users vanished, 0 deleted" in result.lines
    assert "The next run with --mirror forget deletes the users who are left." in result.err
    assert "mirror: 2 of 40 users vanished, 2 deleted" in again.lines
    assert not any(line.startswith("fullstory 2 ") or line == "fullstory 2" for line in again.lines[-4:])


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--output", "x.jsonl"], "--output"),
        (["--mirror", "forget", "--to", "logrocket"], "--to"),
        (["--mirror", "forget", "--max-deletions", "some"], "--max-deletions"),
        (["--mirror", "delete"], "--mirror"),
    ],
)
def test_wrong_usage_exits_with_2(
    run: RunCommand, vendors: Vendors, write: WriteRows, arguments: list[str], hint: str
) -> None:
    """Nothing is sent, and no ledger is created."""
    result = run("sync", write(ROWS), *arguments)

    assert (result.code, result.out) == (2, "")
    assert hint in result.err
    assert not vendors.logrocket.requests
    assert not Path("our.db").exists()


def test_report_may_have_selected_backends(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """It deletes nobody."""
    del vendors

    assert run("sync", write(ROWS), "--mirror", "report", "--to", "logrocket").code == 0


def _receipt(status: Any, outcome: Any = None) -> DeletionReceipt:
    return DeletionReceipt("acme", status, "", outcome)


@pytest.mark.parametrize(
    ("receipts", "code"),
    [
        ([], 0),
        ([_receipt("requested"), _receipt("confirmed")], 0),
        ([_receipt("unsupported")], 1),
        ([_receipt("failed")], 1),
        ([_receipt("unknown")], 1),
        ([_receipt("postponed")], 75),
        ([_receipt("failed", Unavailable("acme", "HTTP 503"))], 75),
        ([_receipt("failed", Misconfigured("acme", "HTTP 401")), _receipt("postponed")], 78),
    ],
)
def test_receipts_decide_the_exit_code(receipts: Sequence[DeletionReceipt], code: int) -> None:
    """As they do for `forget`."""
    report = MirrorReport()
    for receipt in receipts:
        report.add(receipt)

    assert sync_exit_code(SyncReport(mirror=report)) == code


def test_a_problem_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """It says why the rest was not deleted."""
    report = MirrorReport(40, MirrorState.COMPLETE, 2, 5, problem="logrocket: HTTP 401", retryable=True)

    print_mirror(Console(), report)
    print_mirror_problem(Console(), report)

    printed = capsys.readouterr().out
    assert "mirror: 2 of 40 users vanished, 0 deleted\n" in printed
    assert "Stopped deleting users: logrocket: HTTP 401\n" in printed
