"""`replay-identity forget`: asked first, a receipt from each vendor, and an exit code that says what is left to do."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
from bulk.adapters import Acme
from cli.running_commands import Ran, Run, Vendors, Write

from replay_identity.config import Settings
from replay_identity.emulator import Fault
from replay_identity.ledger import Batch, JobEntry, Ledger

MAIN: Final = "import sys; from replay_identity.cli import main; sys.exit(main())"
ID: Final = "canary-u1"
USERS: Final[list[dict[str, Any]]] = [{"id": ID, "plan": "canary-pro"}, {"id": "u2", "plan": "canary-pro"}]
NEXT_SYNC: Final = "A source that still has the user brings them back at the next sync.\n"
ONCE: Final = "[backends.fullstory]\n[backends.logrocket]\n[retry]\nattempts = 1\n"


@pytest.fixture(autouse=True)
def _our_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLAY_IDENTITY_LEDGER", "our.db")


@pytest.fixture
def synced(run: Run, vendors: Vendors, write: Write) -> Vendors:
    """Give both vendors, who know two users, as a ledger does."""
    assert run("sync", write(USERS)).code == 0
    return vendors


@pytest.fixture
def forget(run: Run) -> Callable[..., Ran]:
    """Give a function that runs the command, which never shows who the user is."""

    def run_forget(*arguments: str, stdin: bytes = b"") -> Ran:
        ran = run("forget", ID, *arguments, stdin=stdin)
        assert "canary" not in ran.out + ran.err
        return ran

    return run_forget


@pytest.fixture
def _attended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replay_identity.cli.terminal._somebody_is_there", lambda: True)


def assert_nothing_was_done(vendors: Vendors) -> None:
    """Check that the vendors have the user, and the ledger too."""
    assert vendors.fullstory.by_uid(ID) is not None
    assert not vendors.logrocket.excluded
    with Ledger("our.db") as ledger:
        assert [standing.confirmed for standing in ledger.counts()] == [2, 2]


# Asking first


@pytest.mark.usefixtures("_attended")
@pytest.mark.parametrize("answer", [b"y\n", b" YES \n"])
def test_a_person_is_told_what_will_be_done_and_asked(
    forget: Callable[..., Ran], synced: Vendors, answer: bytes
) -> None:
    """On stderr; then every vendor is asked, and the ledger knows one user less."""
    ran = forget(stdin=answer)

    assert ran.code == 0
    assert ran.err == (
        "our.db: forgets all about the user\n"
        "fullstory: deletes the user with all sessions, irreversibly\n"
        "logrocket: deletes all sessions of the user, irreversibly, and stops recording them until they are included"
        " again\n"
        "Go on? [y/N] " + NEXT_SYNC
    )
    assert ran.lines[2:4] == [
        "fullstory requested the vendor is deleting the user",
        "logrocket requested the vendor took the request",
    ]
    assert synced.fullstory.by_uid(ID) is None
    assert synced.fullstory.by_uid("u2") is not None
    assert synced.logrocket.excluded == {("user_id", ID)}
    with Ledger("our.db") as ledger:
        assert [standing.confirmed for standing in ledger.counts()] == [1, 1]


@pytest.mark.usefixtures("_attended")
@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"", b"yesterday\n"])
def test_anything_but_a_yes_does_nothing(forget: Callable[..., Ran], synced: Vendors, answer: bytes) -> None:
    """Nothing at all, and an end of the input, too."""
    ran = forget(stdin=answer)

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.endswith("Nothing was done.\n")
    assert_nothing_was_done(synced)


def test_where_nobody_is_there_to_be_asked_a_script_has_to_say_yes(forget: Callable[..., Ran], synced: Vendors) -> None:
    """A yes that is piped in by chance is none."""
    ran = forget(stdin=b"y\n")

    assert (ran.code, ran.out) == (2, "")
    assert "--yes" in ran.err
    assert_nothing_was_done(synced)


@pytest.mark.usefixtures("_attended", "vendors")
def test_what_cannot_forget_anybody_is_told_before(forget: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor without a way to delete, and a ledger that does not exist and is not made."""

    def only_acme(*_: object, **__: object) -> Settings:
        return Settings((Acme(),))

    monkeypatch.setattr("replay_identity.cli.forget.resolve_settings", only_acme)

    ran = forget(stdin=b"y\n")

    assert ran.code == 1
    assert ran.err.splitlines()[:2] == [
        "our.db: does not exist, so it has nothing to forget",
        "acme: has no way to delete a user; nothing is sent",
    ]
    assert ran.lines[2] == "acme unsupported the vendor has no way to delete a user"
    assert not Path("our.db").exists()


# Receipts


def test_a_script_gets_one_json_document(forget: Callable[..., Ran], synced: Vendors) -> None:
    """And nothing else on stdout; here the vendor is done already."""
    del synced

    ran = forget("--yes", "--json")

    assert ran.code == 0
    assert ran.document == {
        "ledger": str(Path("our.db").resolve()),
        "receipts": [
            {
                "backend": "fullstory",
                "status": "requested",
                "detail": "the vendor is deleting the user",
                "retryable": False,
            },
            {
                "backend": "logrocket",
                "status": "requested",
                "detail": "the vendor took the request",
                "retryable": False,
            },
        ],
    }
    assert ran.err == NEXT_SYNC


def test_only_the_backends_named_are_asked(forget: Callable[..., Ran], synced: Vendors) -> None:
    """The ledger forgets the user for all of them."""
    ran = forget("--yes", "--to", "logrocket", "--json")

    assert [receipt["backend"] for receipt in ran.document["receipts"]] == ["logrocket"]
    assert synced.fullstory.by_uid(ID) is not None
    with Ledger("our.db") as ledger:
        assert [standing.confirmed for standing in ledger.counts()] == [1, 1]


def test_without_a_ledger_the_vendors_are_asked_all_the_same(forget: Callable[..., Ran], vendors: Vendors) -> None:
    """None is made; who is not known is confirmed."""
    del vendors

    ran = forget("--yes", "--json")

    assert ran.code == 0
    assert ran.document["ledger"] is None
    assert [receipt["status"] for receipt in ran.document["receipts"]] == ["confirmed", "requested"]
    assert not Path("our.db").exists()


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault(status=503), "failed", 75),
        (Fault(drop="after"), "unknown", 75),
        (Fault(status=401), "failed", 78),
        (Fault(status=400), "failed", 1),
    ],
)
def test_the_exit_code_says_what_is_left_to_do(
    forget: Callable[..., Ran], synced: Vendors, fault: Fault, status: str, code: int
) -> None:
    """Nothing that it could do again, wait for or set right is a 0."""
    Path("replay-identity.toml").write_text(ONCE, encoding="utf-8")
    synced.logrocket.faults.add(fault)

    ran = forget("--yes")

    assert ran.code == code
    assert ran.lines[2].startswith("fullstory requested ")
    assert ran.lines[3].startswith(f"logrocket {status} ")
    assert ("Run it again" in ran.err) is (code == 75)
    again = forget("--yes")
    assert again.code == 0


def test_wrong_settings_come_before_a_vendor_that_is_down(forget: Callable[..., Ran], synced: Vendors) -> None:
    """Waiting would not help."""
    Path("replay-identity.toml").write_text(ONCE, encoding="utf-8")
    synced.fullstory.faults.add(Fault(status=503))
    synced.logrocket.faults.add(Fault(status=401))

    assert forget("--yes").code == 78


# What is under way


def test_a_batch_under_way_has_to_be_delivered_first(forget: Callable[..., Ran], synced: Vendors) -> None:
    """The command for it is told, and nothing is sent."""
    with Ledger("our.db") as ledger:
        ledger.start_job("fullstory", Batch("key", [JobEntry(1, 1, ID)], b"body"))

    ran = forget("--yes", "--to", "fullstory")

    assert ran.code == 75
    assert "fullstory postponed a batch under way holds the user:" in ran.lines[2]
    assert ran.err == (
        "Nothing was sent. Run it again after this: replay-identity deliver --ledger our.db --to fullstory\n"
    )
    assert_nothing_was_done(synced)


def test_another_process_that_delivers_is_waited_for(
    forget: Callable[..., Ran], synced: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is told."""
    del synced
    is_held = threading.Event()
    may_end = threading.Event()
    lease = Ledger.lease

    @contextmanager
    def noticed_lease(ledger: Ledger, backend: str) -> Generator[bool]:
        with lease(ledger, backend) as is_ours:
            yield is_ours
        if not is_ours:
            may_end.set()

    def deliver() -> None:
        with Ledger("our.db") as ledger, lease(ledger, "fullstory"):
            is_held.set()
            may_end.wait(60)

    monkeypatch.setattr(Ledger, "lease", noticed_lease)
    other = threading.Thread(target=deliver)
    other.start()
    is_held.wait(60)
    ran = forget("--yes")
    other.join()

    assert ran.code == 0
    assert ran.err == f"Waiting for another process that delivers to fullstory, for 150 s at most.\n{NEXT_SYNC}"


# What is wrong


@pytest.mark.usefixtures("vendors")
def test_an_id_in_two_words_is_not_quoted(forget: Callable[..., Ran]) -> None:
    """It is somebody's, after all."""
    ran = forget("canary-u2", "--yes")

    assert ran.code == 2
    assert "USER_ID" in ran.err


@pytest.mark.usefixtures("vendors")
def test_an_id_that_cannot_be_one_is_told(run: Run) -> None:
    """As wrong usage."""
    ran = run("forget", "", "--yes")

    assert (ran.code, ran.err) == (2, "user_id: the id is empty; leave it out for an anonymous user\n")


def test_without_a_backend_nobody_can_be_asked(forget: Callable[..., Ran]) -> None:
    """The settings are wrong."""
    assert forget("--yes").code == 78


@pytest.mark.usefixtures("vendors")
def test_an_interruption_says_how_to_go_on(forget: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same command."""

    def interrupt(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("replay_identity.cli.forget.forget_everywhere", interrupt)

    ran = forget("--yes")

    assert ran.code == 130
    assert ran.err == "Interrupted. Some vendors may not have been asked; run it again, which is always safe.\n"


@pytest.mark.slow
def test_a_terminal_is_where_somebody_is(synced: Vendors) -> None:
    """A pipe is none, as the other tests show."""
    ours, theirs = os.openpty()
    os.write(ours, b"n\n")

    ran = subprocess.run(
        [sys.executable, "-c", MAIN, "forget", ID], stdin=theirs, capture_output=True, text=True, check=False
    )
    os.close(ours)
    os.close(theirs)

    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.endswith("Go on? [y/N] Nothing was done.\n")
    assert_nothing_was_done(synced)
