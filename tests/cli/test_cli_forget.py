"""`replay-identity forget`."""

import os
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
from support.commands import COMMAND, RunCommand, WriteRows
from support.vendors import Vendors

from replay_identity.emulator import Fault
from replay_identity.ledger import Batch, JobEntry, Ledger

ID: Final = "canary-u1"
USERS: Final[list[dict[str, Any]]] = [{"id": ID, "plan": "canary-pro"}, {"id": "u2", "plan": "canary-pro"}]

pytestmark = pytest.mark.usefixtures("our_ledger")


@pytest.fixture
def synced(run: RunCommand, vendors: Vendors, write: WriteRows) -> Vendors:
    """Return both vendors after a sync of two users."""
    assert run("sync", write(USERS)).code == 0
    return vendors


@pytest.fixture
def forget(forget: RunCommand) -> RunCommand:
    """Return a function that runs the command for one id."""
    return partial(forget, ID)


def assert_nothing_was_done(vendors: Vendors) -> None:
    """Check that both vendors and the ledger still have the user."""
    assert vendors.fullstory.by_uid(ID) is not None
    assert not vendors.logrocket.excluded
    with Ledger("our.db") as ledger:
        assert [backend.confirmed for backend in ledger.counts()] == [2, 2]


# Confirmation


@pytest.mark.usefixtures("interactive")
@pytest.mark.parametrize("answer", [b"y\n", b" YES \n"])
def test_after_a_yes_everybody_forgets_the_user(forget: RunCommand, synced: Vendors, answer: bytes) -> None:
    """The prompt on stderr says what each vendor will do."""
    result = forget(stdin=answer)

    assert result.code == 0
    assert [line.partition(":")[0] for line in result.err.splitlines()[:3]] == ["our.db", "fullstory", "logrocket"]
    assert "[y/N]" in result.err
    assert [line.split()[:2] for line in result.lines[2:4]] == [["fullstory", "requested"], ["logrocket", "requested"]]
    assert synced.fullstory.by_uid(ID) is None
    assert synced.fullstory.by_uid("u2") is not None
    assert synced.logrocket.excluded == {("user_id", ID)}
    with Ledger("our.db") as ledger:
        assert [backend.confirmed for backend in ledger.counts()] == [1, 1]


@pytest.mark.usefixtures("interactive")
@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"", b"yesterday\n"])
def test_any_other_answer_does_nothing(forget: RunCommand, synced: Vendors, answer: bytes) -> None:
    """This includes an empty answer and the end of the input."""
    result = forget(stdin=answer)

    assert (result.code, result.out) == (1, "")
    assert result.err.endswith("Nothing was done.\n")
    assert_nothing_was_done(synced)


def test_without_a_terminal_it_needs_yes(forget: RunCommand, synced: Vendors) -> None:
    """An answer in a pipe does not count."""
    result = forget(stdin=b"y\n")

    assert (result.code, result.out) == (2, "")
    assert "--yes" in result.err
    assert_nothing_was_done(synced)


@pytest.mark.usefixtures("interactive", "only_acme")
def test_the_prompt_says_what_cannot_be_deleted(forget: RunCommand) -> None:
    """A vendor may be unable to delete, and the ledger may not exist; it is not created."""
    result = forget(stdin=b"y\n")

    assert result.code == 1
    assert "our.db: does not exist" in result.err
    assert "acme: cannot delete users" in result.err
    assert result.lines[2].startswith("acme unsupported ")
    assert not Path("our.db").exists()


# Receipts


def test_json_is_one_document(forget: RunCommand, synced: Vendors) -> None:
    """It contains the path of the ledger and a receipt for each vendor."""
    del synced

    result = forget("--yes", "--json")

    assert result.code == 0
    assert result.document["ledger"] == str(Path("our.db").resolve())
    for receipt, backend in zip(result.document["receipts"], ("fullstory", "logrocket"), strict=True):
        assert set(receipt) == {"backend", "status", "detail", "retryable"}
        assert (receipt["backend"], receipt["status"], receipt["retryable"]) == (backend, "requested", False)


def test_only_selected_backends_are_asked(forget: RunCommand, synced: Vendors) -> None:
    """The ledger forgets the user for all backends."""
    result = forget("--yes", "--to", "logrocket", "--json")

    assert [receipt["backend"] for receipt in result.document["receipts"]] == ["logrocket"]
    assert synced.fullstory.by_uid(ID) is not None
    with Ledger("our.db") as ledger:
        assert [backend.confirmed for backend in ledger.counts()] == [1, 1]


def test_without_a_ledger_the_vendors_are_asked(forget: RunCommand, vendors: Vendors) -> None:
    """No ledger is created, and an unknown user counts as deleted."""
    del vendors

    result = forget("--yes", "--json")

    assert result.code == 0
    assert result.document["ledger"] is None
    assert [receipt["status"] for receipt in result.document["receipts"]] == ["confirmed", "requested"]
    assert not Path("our.db").exists()


@pytest.mark.usefixtures("one_attempt")
@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault(status=503), "failed", 75),
        (Fault(drop="after"), "unknown", 75),
        (Fault(status=401), "failed", 78),
        (Fault(status=400), "failed", 1),
    ],
)
def test_failures_have_an_exit_code(forget: RunCommand, synced: Vendors, fault: Fault, status: str, code: int) -> None:
    """It says whether to retry, to fix the settings, or that the vendor refused."""
    synced.logrocket.faults.add(fault)

    result = forget("--yes")

    assert result.code == code
    assert result.lines[2].startswith("fullstory requested ")
    assert result.lines[3].startswith(f"logrocket {status} ")
    assert ("Run the command again" in result.err) is (code == 75)
    again = forget("--yes")
    assert again.code == 0


@pytest.mark.usefixtures("one_attempt")
def test_wrong_settings_come_before_unavailable_vendors(forget: RunCommand, synced: Vendors) -> None:
    """Retrying would not help."""
    synced.fullstory.faults.add(Fault(status=503))
    synced.logrocket.faults.add(Fault(status=401))

    assert forget("--yes").code == 78


# Deliveries in flight


def test_a_batch_in_flight_postpones_the_deletion(forget: RunCommand, synced: Vendors) -> None:
    """The advice contains the command that delivers it, and nothing is sent."""
    with Ledger("our.db") as ledger:
        ledger.start_job("fullstory", Batch("key", [JobEntry(1, 1, ID)], b"body"))

    result = forget("--yes", "--to", "fullstory")

    assert result.code == 75
    assert result.lines[2].startswith("fullstory postponed ")
    assert "`replay-identity deliver --ledger our.db --to fullstory`" in result.err
    assert_nothing_was_done(synced)


def test_it_waits_for_another_process_that_delivers(
    forget: RunCommand, synced: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note on stderr says so."""
    del synced
    has_lease = threading.Event()
    may_end = threading.Event()
    lease = Ledger.lease

    @contextmanager
    def observed_lease(ledger: Ledger, backend: str) -> Generator[bool]:
        with lease(ledger, backend) as is_ours:
            yield is_ours
        if not is_ours:
            may_end.set()

    def deliver() -> None:
        with Ledger("our.db") as ledger, lease(ledger, "fullstory"):
            has_lease.set()
            may_end.wait(60)

    monkeypatch.setattr(Ledger, "lease", observed_lease)
    other = threading.Thread(target=deliver)
    other.start()
    has_lease.wait(60)
    result = forget("--yes")
    other.join()

    assert result.code == 0
    assert "Waiting up to 150 s for another process that delivers to fullstory." in result.err


# Wrong usage and interruptions


@pytest.mark.usefixtures("vendors")
def test_an_invalid_id_is_wrong_usage(run: RunCommand) -> None:
    """The error says what is wrong with it."""
    result = run("forget", "", "--yes")

    assert (result.code, result.err) == (2, "user_id: the id is empty; leave it out for an anonymous user\n")


def test_without_a_backend_the_settings_are_wrong(forget: RunCommand) -> None:
    """There is no vendor to ask."""
    assert forget("--yes").code == 78


@pytest.mark.usefixtures("vendors")
def test_an_interruption_says_what_to_do(forget: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command can be run again."""

    def interrupt(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("replay_identity.cli.forget.deletion.forget_users", interrupt)

    result = forget("--yes")

    assert result.code == 130
    assert "run the command again" in result.err


@pytest.mark.slow
def test_a_terminal_is_interactive(synced: Vendors) -> None:
    """The prompt appears only there; the other tests use pipes."""
    ours, theirs = os.openpty()
    os.write(ours, b"n\n")

    result = subprocess.run([*COMMAND, "forget", ID], stdin=theirs, capture_output=True, text=True, check=False)
    os.close(ours)
    os.close(theirs)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.endswith("[y/N] Nothing was done.\n")
    assert_nothing_was_done(synced)
