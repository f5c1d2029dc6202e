"""Interrupts, signal handlers, forks and failed copies leave the ledger intact."""

import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from support.children import in_children
from support.ledgers import A, database_of, deliver
from support.users import user

from replay_identity.errors import LedgerError
from replay_identity.ledger import Ledger, database, lease


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the ledger."""
    return tmp_path / "ledger.db"


def test_an_interrupt_leaves_no_transaction_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither this ledger nor another process is locked out."""
    with Ledger(path) as ledger, Ledger(path) as other:
        ledger.upsert([user()], [A])
        begin = database._begin  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

        def interrupted(*arguments: Any) -> None:
            begin(*arguments)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(database, "_begin", interrupted)
            patch.setattr(database, "LOCK_TIMEOUT_S", 0.1)
            with pytest.raises(KeyboardInterrupt):
                ledger.upsert([user("u2")], [A])

        other.upsert([user("u3")], [A])
        assert [sent.user_id for sent in deliver(ledger)] == ["u1", "u3"]


def test_an_interrupted_start_closes_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing could close it later."""
    opened: list[database.Database] = []

    def interrupted(one: database.Database, _: str) -> None:
        opened.append(one)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(database.Database, "rows", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Ledger(path)

    with pytest.raises(LedgerError, match="the ledger is closed"):
        opened[0].rows("SELECT 1")


def test_a_signal_handler_cannot_break_a_transaction(path: Path) -> None:
    """Its upsert is refused, and the interrupted one completes."""
    with Ledger(path) as ledger:
        ledger.upsert([user()], [A])
        inner = database_of(ledger)
        with inner.transaction() as db:
            db.execute("UPDATE ledger SET users = users + 5")
            with pytest.raises(LedgerError, match="busy in this thread"):
                ledger.upsert([user("u2")], [A])
            db.execute("UPDATE ledger SET users = users + 5")

        assert inner.rows("SELECT users FROM ledger") == [(11,)]


def test_a_waiting_thread_blocks_no_other(path: Path) -> None:
    """While one thread waits for another process's lock, others read, fork, and close the ledger."""
    ledger = Ledger(path)
    ledger.upsert([user()], [A])
    errors: list[LedgerError] = []

    def upsert() -> None:
        try:
            ledger.upsert([user("u2")], [A])
        except LedgerError as error:
            errors.append(error)

    waiting = threading.Thread(target=upsert, daemon=True)
    with Ledger(path) as other, database_of(other).transaction():
        waiting.start()
        waiting.join(0.05)
        assert ledger.pending_count(A) == 1
        assert waiting.is_alive()
        ledger.close()
        waiting.join(30)

    assert [error.problem for error in errors] == ["the ledger is closed"]


def test_checkpoint_wal_reports_a_busy_log(path: Path) -> None:
    """It returns False, and works the next time."""
    with Ledger(path) as ledger:
        with database_of(ledger).transaction():
            assert not ledger.purge()

        assert ledger.purge()


# Copies.


def test_a_copy_is_private_and_overwrites_nothing(path: Path) -> None:
    """It holds traits too."""
    copy = path.with_name("copy.db")
    with Ledger(path) as ledger:
        ledger.upsert([user(plan="pro")], [A])
        ledger.copy_to(copy)

        assert copy.stat().st_mode & 0o777 == 0o600
        with Ledger(copy) as copied:
            assert deliver(copied) == [user(plan="pro")]
        before = copy.read_bytes()
        with pytest.raises(LedgerError, match=r"copy\.db: the copy cannot be created: File exists"):
            ledger.copy_to(copy)
        assert copy.read_bytes() == before
        assert ledger.pending_count(A) == 1


def test_a_failed_copy_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file left behind would block the next attempt."""
    copy = path.with_name("copy.db")

    def full(_: object) -> None:
        raise sqlite3.OperationalError

    with Ledger(path) as ledger:
        with monkeypatch.context() as patch:
            patch.setattr(database, "_wait_for_lock", full)
            with pytest.raises(LedgerError):
                ledger.copy_to(copy)
        assert not copy.exists()
        ledger.copy_to(copy)
        with pytest.raises(LedgerError, match="folder does not exist"):
            ledger.copy_to(path.parent / "none" / "copy.db")


# Forks.

needs_forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")


@needs_forks
def test_a_child_does_not_inherit_the_lease(path: Path) -> None:
    """Nor does the child release it."""
    with Ledger(path) as ledger:
        with ledger.lease(A) as ours:

            def ask() -> int:
                with ledger.lease(A) as mine:
                    return int(mine)

            assert (ours, in_children(ask, count=2)) == (True, [0, 0])
            with Ledger(path) as other, other.lease(A) as theirs:
                assert not theirs
        with ledger.lease(A) as again:
            assert again


def test_releases_the_lease_in_a_child(path: Path) -> None:
    """The lock belongs to the parent process."""
    with Ledger(path) as ledger:
        held = lease._Lease(f"{ledger.path}-1.lock")  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        held.after_fork(in_child=False)
        assert held.is_ours
        held.after_fork(in_child=True)

        assert not held.is_ours
        with ledger.lease(A) as ours:
            assert ours


@needs_forks
def test_a_child_gets_the_lease_after_its_parent_ends(path: Path) -> None:
    """For example, a daemon is forked while its parent delivers."""
    daemon = textwrap.dedent("""
        import os, sys
        from replay_identity.ledger import Ledger
        ledger = Ledger(sys.argv[1])
        held = ledger.lease("acme")
        assert held.__enter__()
        read, write = os.pipe()
        if os.fork():
            os.close(read)
            os._exit(0)
        os.close(write)
        os.read(read, 1)  # Until the parent is gone.
        with ledger.lease("acme") as ours:
            print(ours)
    """)

    done = subprocess.run(
        [sys.executable, "-c", daemon, str(path)], stdout=subprocess.PIPE, check=True, timeout=60, text=True
    )

    assert done.stdout == "True\n"
