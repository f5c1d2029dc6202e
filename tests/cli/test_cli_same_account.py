"""What `sync`, `deliver` and `migrate` say about accounts, and `--same-account`."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

import pytest
from support.commands import RunCommand, WriteRows
from support.vendors import LOGROCKET_KEY, Vendors

from replay_identity import UserTraits
from replay_identity.bulk import BackendReport, SyncReport
from replay_identity.cli.summary import print_account_notes
from replay_identity.cli.terminal import stderr_console
from replay_identity.emulator import Fault, FullstoryEmulator, running
from replay_identity.emulator.fullstory.routes import Level
from replay_identity.ledger import Account, AccountCounts, Ledger

USERS: Final = [{"id": "u1", "plan": "pro"}, {"id": "u2", "plan": "free"}]
SILENT: Final = Fault(status=403, path="/me", times=None)
IMPATIENT: Final = "[backends.logrocket]\n[delivery.logrocket]\npatience = 0.3\nwait_initial = 0.05\nwait_max = 0.1\n"


@pytest.fixture(autouse=True)
def _our_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLAY_IDENTITY_LEDGER", "our.db")


@pytest.fixture
def fullstory(monkeypatch: pytest.MonkeyPatch) -> Iterator[FullstoryEmulator]:
    """Run a Fullstory with an old and a new key, and set the environment to the old one."""
    emulator = FullstoryEmulator(api_keys={"na1.old": Level.ADMIN, "na1.new": Level.ADMIN})
    with running(emulator) as server:
        monkeypatch.setenv("FULLSTORY_BASE_URL", server.url)
        monkeypatch.setenv("FULLSTORY_API_KEY", "na1.old")
        # Nothing but the flag says whose keys they are.
        emulator.faults.add(SILENT)
        yield emulator


@pytest.fixture
def other_app(vendors: Vendors) -> dict[str, str]:
    """Return the environment of another LogRocket account: the same emulator under another host name."""
    url = vendors.environment["LOGROCKET_BASE_URL"].replace("127.0.0.1", "localhost")
    return {"LOGROCKET_BASE_URL": url, "LOGROCKET_API_KEY": LOGROCKET_KEY}


def requests_about_users(fullstory: FullstoryEmulator) -> int:
    """Return how many requests the emulator has received, without those that ask whose key it is."""
    return sum(request.path != "/me" for request in fullstory.requests)


def test_a_new_account_gets_every_user(
    run: RunCommand, vendors: Vendors, other_app: dict[str, str], write: WriteRows
) -> None:
    """The run says that it is the first one there; where no key is in the name, it does not speak of one."""
    file = write(USERS)
    run("sync", file, "--to", "logrocket")
    before = len(vendors.logrocket.requests)

    result = run("sync", file, "--to", "logrocket", env=other_app)

    assert result.code == 0
    assert len(vendors.logrocket.requests) == before + 2
    assert "logrocket: this is the first run at localhost:" in result.err
    assert "The ledger knows 2 users confirmed at 127.0.0.1:" in result.err
    assert "--same-account" not in result.err
    back = run("sync", file, "--to", "logrocket")
    assert "logrocket 2 0 0 2 0 0" in back.lines
    assert "first run" not in back.err


def test_the_first_account_is_not_worth_a_word(run: RunCommand, vendors: Vendors, write: WriteRows) -> None:
    """Nor is any later run at it."""
    del vendors
    file = write(USERS)

    assert "first run" not in run("sync", file).err
    assert "first run" not in run("sync", file).err


@pytest.mark.parametrize("command", ["sync", "migrate --from", "sync --dry-run"])
def test_a_rotated_key_looks_like_a_new_account(
    run: RunCommand, fullstory: FullstoryEmulator, write: WriteRows, command: str
) -> None:
    """The run suggests what to do, also a dry run and a migration."""
    del fullstory
    file = write(USERS)
    run("sync", file)

    result = run(*command.split(), file, env={"FULLSTORY_API_KEY": "na1.new"})

    assert "fullstory: this is the first run at 127.0.0.1:" in result.err
    assert result.err.count("If only the key was rotated, use --same-account.") == 1
    assert "na1" not in result.out + result.err


@pytest.mark.parametrize("command", ["sync", "migrate --from", "sync --dry-run", "migrate --dry-run --from"])
def test_same_account_keeps_what_was_confirmed(
    run: RunCommand, fullstory: FullstoryEmulator, write: WriteRows, command: str
) -> None:
    """Nothing is sent again after the key was rotated."""
    file = write(USERS)
    run("sync", file)
    before = requests_about_users(fullstory)

    result = run(*command.split(), file, "--same-account", env={"FULLSTORY_API_KEY": "na1.new"})

    assert result.code == 0, result.err
    assert "fullstory 2 0 0 2 0 0" in result.lines
    assert "first run" not in result.err
    assert requests_about_users(fullstory) == before


def test_deliver_sends_what_was_pending_under_the_old_key(
    run: RunCommand, fullstory: FullstoryEmulator, write: WriteRows
) -> None:
    """Without --same-account it says where the users are pending."""
    Path("replay-identity.toml").write_text(IMPATIENT.replace("logrocket", "fullstory"), encoding="utf-8")
    fullstory.faults.add(Fault(status=503, times=None))
    assert run("sync", write(USERS)).code == 75
    fullstory.faults.clear()

    lost = run("deliver", env={"FULLSTORY_API_KEY": "na1.new"})
    found = run("deliver", "--same-account", env={"FULLSTORY_API_KEY": "na1.new"})

    assert "fullstory: 2 users are pending at 127.0.0.1:" in lost.err
    assert "or, if only the key was rotated, use --same-account." in lost.err
    assert "fullstory 2 2 0 0 0 0" in found.lines
    assert "pending at" not in found.err


def test_watch_continues_under_the_new_key(
    run: RunCommand, fullstory: FullstoryEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was pending under the old one is sent."""

    def wait_for_user(*_: object) -> NoReturn:
        while fullstory.by_uid("u1") is None:
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr("replay_identity.cli.sync._print_changes", wait_for_user)
    with Ledger("our.db") as ledger:
        old = Account("fullstory", "127.0.0.1 key 00000000")
        ledger.open_account(old)
        ledger.upsert([UserTraits("u1", traits={"plan": "pro"})], [old])

    result = run("deliver", "--watch", "--same-account")

    assert result.code == 130


def test_users_pending_at_another_account_are_named(
    run: RunCommand, vendors: Vendors, other_app: dict[str, str], write: WriteRows
) -> None:
    """They are not lost, and the document has the same counts."""
    Path("replay-identity.toml").write_text(IMPATIENT, encoding="utf-8")
    vendors.logrocket.faults.add(Fault(status=503, times=None))
    file = write(USERS[:1])
    run("sync", file)
    vendors.logrocket.faults.clear()

    result = run("sync", file, "--json", env=other_app)

    assert result.code == 0
    assert "logrocket: 1 user is pending at 127.0.0.1:" in result.err
    assert result.err.endswith("; send them with the settings of that account.\n")
    backend = result.document["backends"]["logrocket"]
    assert backend["account"].startswith("localhost:")
    assert backend["new_account"] is True
    assert [other["pending"] for other in backend["other_accounts"]] == [1]


def test_status_has_a_row_for_each_account(
    run: RunCommand, vendors: Vendors, other_app: dict[str, str], write: WriteRows
) -> None:
    """The account used last is named below the table."""
    del vendors
    run("sync", write(USERS), "--to", "logrocket")
    run("sync", write(USERS[:1]), "--to", "logrocket", env=other_app)

    result = run("status")

    rows = [line for line in result.lines if line.startswith("logrocket")]
    assert [row.partition(":")[0] for row in rows] == ["logrocket at 0 2 0 0 0", "logrocket 0 1 0 0 0", "logrocket"]
    assert rows[-1].startswith("logrocket: localhost:")


def test_several_other_accounts_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Accounts without confirmed users are left out."""
    others = tuple(
        AccountCounts("acme", f"acme.example/{name}", 0, confirmed, 0, 0, 0)
        for name, confirmed in (("a", 1), ("b", 0), ("c", 1200))
    )
    backend = BackendReport("acme", "acme.example/d", new_account=True, other_accounts=others)

    print_account_notes(stderr_console(), SyncReport(backends=(backend,)))

    printed = capsys.readouterr().err
    assert "knows 1 user confirmed at acme.example/a and 1,200 users confirmed at acme.example/c.\n" in printed


def test_a_key_that_moves_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The flag for a rotated key is not suggested, since both organisations are known."""
    former = AccountCounts("acme", "acme.example org A", 0, 2, 0, 0, 0)
    backend = BackendReport("acme", "acme.example org B", "acme.example org A", True, (former,))  # noqa: FBT003

    print_account_notes(stderr_console(), SyncReport(backends=(backend,)))

    printed = capsys.readouterr().err
    assert "acme: the key belonged to acme.example org A before, and now belongs to acme.example org B." in printed
    assert "this is the first run at acme.example org B" in printed
    assert "--same-account" not in printed


def test_another_process_may_reject_users(run: RunCommand, vendors: Vendors, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `sync` beside a watching `deliver` says so, and exits with 1."""
    del vendors
    report = SyncReport(rows=3)
    report.backends = (BackendReport("logrocket", carried=3, rejected_elsewhere=3),)

    def sync(*_: object, **__: object) -> SyncReport:
        return report

    monkeypatch.setattr("replay_identity.bulk.sync", sync)
    Path("users.jsonl").write_text('{"id": "u1"}\n', encoding="utf-8")
    Ledger("our.db").close()

    result, document = run("sync", "users.jsonl"), run("sync", "users.jsonl", "--json").document

    assert result.code == 1
    assert "logrocket: 3 users carried over from earlier runs, 3 users rejected by another process" in result.lines
    assert result.err.endswith("See why users were rejected with: replay-identity rejected --ledger our.db\n")
    assert document["backends"]["logrocket"]["rejected_elsewhere"] == 3
