"""Each problem with the file is one clear error without values, and nothing stored is lost."""

import errno
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.commands import run_command
from support.ledgers import A, B, database_of, deliver, dropped, settle
from support.users import user
from support.vendors import Vendors

from replay_identity import Accepted, Rejected
from replay_identity.errors import LedgerError
from replay_identity.ledger import Batch, JobEntry, Ledger, database, files
from replay_identity.ledger import database as opening

CANARIES = [user(f"canary-{number}", plan="canary" * 200, n=number) for number in range(300)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the ledger."""
    return tmp_path / "ledger.db"


def problem_of(act: Callable[[], object]) -> str:
    """Return the problem that *act* reports, and check that it shows no value."""
    with pytest.raises(LedgerError) as caught:
        act()
    assert "canary" not in str(caught.value)
    assert "canary" not in repr(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value.problem


def filled(path: Path) -> Path:
    """Create a ledger of 300 users, half of them delivered."""
    with Ledger(path) as ledger:
        ledger.upsert(CANARIES[:150], [A])
        deliver(ledger)
        ledger.upsert(CANARIES[150:], [A])
    return path


# Files of another kind.


@pytest.mark.parametrize("content", [b"user_id,plan\nu1,pro\n", b"xy", b"\0" * 5000, os.urandom(10_000)])
def test_refuses_a_file_of_another_format(path: Path, content: bytes) -> None:
    """The file is not changed."""
    path.write_bytes(content)

    assert problem_of(lambda: Ledger(path)) == "not a ledger"

    assert path.read_bytes() == content


@pytest.mark.parametrize("statement", ["CREATE TABLE t (x)", "PRAGMA application_id = 7"])
def test_refuses_another_sqlite_database(path: Path, statement: str) -> None:
    """The file is not changed, whether it has tables or only an application id."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
    content = path.read_bytes()

    assert problem_of(lambda: Ledger(path)) == "a SQLite database, but not a ledger"

    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_ledger(path: Path) -> None:
    """For example, `mktemp` makes empty files."""
    path.touch()

    with Ledger(path) as ledger:
        assert ledger.counts() == []


def test_refuses_a_folder(tmp_path: Path) -> None:
    """A path in a missing folder and an empty path are refused too."""
    assert problem_of(lambda: Ledger(tmp_path)) == "the ledger cannot be opened: not a regular file"
    assert problem_of(lambda: Ledger(tmp_path / "missing" / "ledger.db")) == "the folder does not exist"
    assert problem_of(lambda: Ledger("")) == "the ledger cannot be opened: not a regular file"
    assert problem_of(lambda: Ledger(tmp_path / ("long" * 100))) == "the ledger cannot be opened: File name too long"


def test_path_survives_a_change_of_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is made absolute when the ledger is opened."""
    monkeypatch.chdir(tmp_path)
    with Ledger("ledger.db") as ledger:
        monkeypatch.chdir("/")

        assert ledger.path == str(tmp_path.resolve() / "ledger.db")


# Versions.


def test_migrates_an_older_ledger_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its users are kept."""
    filled(path)
    newer = (*database.MIGRATIONS, ("CREATE TABLE later (x)", "INSERT INTO later VALUES (7)"))
    monkeypatch.setattr(database, "MIGRATIONS", newer)

    for _ in range(2):
        with Ledger(path) as ledger:
            assert ledger.pending_count(A) == 150

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT x FROM later").fetchall() == [(7,)]
        assert connection.execute("PRAGMA user_version").fetchone() == (len(newer),)


def test_a_failed_migration_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration is one transaction."""
    filled(path)
    with monkeypatch.context() as patch:
        patch.setattr(
            database, "MIGRATIONS", (*database.MIGRATIONS, ("CREATE TABLE later (x)", "INSERT INTO none (x)"))
        )
        assert problem_of(lambda: Ledger(path)) == "the ledger cannot be used: SQLITE_ERROR"

    with Ledger(path) as ledger:
        assert ledger.pending_count(A) == 150
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'later'").fetchall() == []


def test_refuses_a_newer_ledger(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This version does not know what its tables mean."""
    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, ()))
        filled(path)
        with Ledger(path) as ledger:
            assert ledger.pending_count(A) == 150

    assert problem_of(lambda: Ledger(path)) == "the ledger was made by a newer version of replay-identity"


def test_refuses_a_development_ledger(path: Path) -> None:
    """Before 0.1.0 the tables had other names; the file is left as it is."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE due (backend, user)")
        connection.execute("PRAGMA application_id = 0x52704964")
        connection.execute("PRAGMA user_version = 2")
    content = path.read_bytes()

    assert problem_of(lambda: Ledger(path)) == "the ledger was made by a development version before 0.1.0"

    assert path.read_bytes() == content


# A full disk.


def grow(ledger: Ledger) -> None:
    """Upsert users until there is no room."""
    for number in range(10_000):
        ledger.upsert([user(f"canary-new-{number}", plan="canary" * 500)], [A, B])


def test_a_temporary_copy_is_deleted(path: Path) -> None:
    """The original stays as it is; without one, the copy starts empty."""
    with Ledger(filled(path)) as ledger:
        with Ledger.temporary_copy(ledger) as copy:
            assert copy.upsert(CANARIES[:150], [A])[A].unchanged == 150
            assert len(deliver(copy)) == 150
            assert copy.pending_count(A) == 0
        assert ledger.pending_count(A) == 150
    with Ledger.temporary_copy(None) as empty:
        assert empty.counts() == []

    assert not Path(copy.path).exists()


def assert_intact(ledger: Ledger) -> None:
    """Check that everything stored before is there, and that the ledger goes on."""
    pending = {claim.user.user_id for claim in ledger.claim(A, limit=20_000)}
    assert pending >= {one.user_id for one in CANARIES[150:]}
    assert ledger.pending_count(B) == len(pending) - 150
    assert ledger.upsert(CANARIES[:150], [A])[A].unchanged == 150
    assert len(deliver(ledger, B)) == len(pending) - 150
    deliver(ledger)
    assert (ledger.pending_count(A), ledger.pending_count(B)) == (0, 0)


def test_a_full_file_loses_nothing(path: Path) -> None:
    """Full by SQLite's limit of pages; with more room the same ledger goes on."""
    filled(path)
    with Ledger(path) as ledger:
        database = database_of(ledger)
        (pages,) = database.rows("PRAGMA page_count")[0]
        database.rows(f"PRAGMA max_page_count = {pages}")
        assert problem_of(lambda: grow(ledger)) == "the disk is full"
        assert problem_of(lambda: grow(ledger)) == "the disk is full"

        database.rows("PRAGMA max_page_count = 1000000")
        grow_a_little(ledger)
        assert_intact(ledger)


def grow_a_little(ledger: Ledger) -> None:
    """Upsert one more user."""
    ledger.upsert([user("canary-last")], [A, B])


def test_forgets_a_backend_that_was_not_stored(path: Path) -> None:
    """Otherwise users would be pending at a backend that is not on disk."""
    with Ledger(path) as ledger:
        database = database_of(ledger)
        (pages,) = database.rows("PRAGMA page_count")[0]
        database.rows(f"PRAGMA max_page_count = {pages}")
        assert problem_of(lambda: ledger.upsert([user()], ["long" * 5000])) == "the disk is full"

        database.rows("PRAGMA max_page_count = 1000000")
        assert ledger.upsert([user()], ["long" * 5000])["long" * 5000].pending == 1
        assert ledger.counts()[0].pending == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of two megabytes, if such a disk may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("no permission to mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)  # noqa: S607  # The system's.


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    """The disk is a real one; once space is freed, the same ledger and the next run continue."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 600_000)
    path = filled(small_disk / "ledger.db")
    with Ledger(path) as ledger:
        assert problem_of(lambda: grow(ledger)) == "the disk is full"
        ballast.unlink()
        grow_a_little(ledger)

    with Ledger(path) as ledger:
        assert_intact(ledger)


def test_forgets_a_backend_without_room(small_disk: Path) -> None:
    """Its id was never stored, and another backend may get it."""
    with Ledger(filled(small_disk / "ledger.db")) as ledger:
        with (small_disk / "ballast").open("wb", buffering=0) as ballast:
            assert ballast.write(b"x" * 4_000_000) < 4_000_000
        assert problem_of(lambda: ledger.upsert([user("u1")], ["new"])) == "the disk is full"
        (small_disk / "ballast").unlink()

        assert ledger.upsert([user("u1")], ["new"])["new"].pending == 1
        assert [counts.backend for counts in ledger.counts()] == [A, "new"]


def test_no_room_for_a_new_ledger(small_disk: Path) -> None:
    """Nothing is left behind that prevents a later attempt."""
    with (small_disk / "ballast").open("wb", buffering=0) as ballast:
        assert ballast.write(b"x" * 4_000_000) < 4_000_000

    assert problem_of(lambda: Ledger(small_disk / "ledger.db")) == "the disk is full"

    (small_disk / "ballast").unlink()
    with Ledger(small_disk / "ledger.db") as ledger:
        grow_a_little(ledger)


def test_a_file_at_its_quota_loses_nothing(path: Path) -> None:
    """The system refuses to write, with another error than a full disk."""
    filled(path)
    script = """
        import resource, sys
        from ledger.test_ledger_file import grow, problem_of
        from replay_identity.ledger import Ledger

        with Ledger(sys.argv[1]) as ledger:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
            print(problem_of(lambda: grow(ledger)))
        """

    assert run(script, path) == "the file has reached the maximum size\n"

    with Ledger(path) as ledger:
        assert_intact(ledger)


def run(script: str, path: Path) -> str:
    """Run *script* in another Python with the same path, and return what it prints."""
    lines = script.strip().split("\n        ")
    command = [sys.executable, "-c", "\n".join(lines), str(path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60).stdout


# What the system refuses, and SQLite only calls a failure to open, read or write.

NO_SPACE = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
REFUSALS = {
    **NO_SPACE,
    errno.EROFS: "the file system is read-only",
    errno.EMFILE: "too many files are open",
    errno.EFBIG: "the file has reached the maximum size",
    errno.EACCES: "files cannot be created in the folder",
    errno.EIO: "the ledger cannot be opened",
}


@pytest.fixture
def no_log(path: Path) -> Path:
    """Create a ledger whose log SQLite cannot open."""
    filled(path)
    path.with_name("ledger.db-wal").mkdir()
    return path


def refusing(number: int) -> Callable[..., object]:
    """Return a function that raises the system's error of that number."""

    def refuse(*_: object, **__: object) -> object:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", REFUSALS, ids=errno.errorcode.get)
def test_names_the_reason_of_the_system(no_log: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite does not tell it, so the same is tried once more."""
    monkeypatch.setattr(files, "TemporaryFile", refusing(number))

    assert problem_of(lambda: Ledger(no_log)) == REFUSALS[number]


@pytest.mark.parametrize(("free", "problem"), [(1000, "the disk is full"), (2**30, "the ledger cannot be opened")])
def test_a_nearly_full_disk_is_full(no_log: Path, free: int, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file may still fit where SQLite's do not."""
    usage = shutil.disk_usage(no_log.parent)._replace(free=free)

    def disk_usage(_: Path) -> object:
        return usage

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)

    assert problem_of(lambda: Ledger(no_log)) == problem


@pytest.mark.parametrize("number", NO_SPACE, ids=errno.errorcode.get)
def test_no_room_for_any_file(path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new ledger, a copy and a lock are created by us, and the error names the file."""
    with Ledger(path) as ledger:
        monkeypatch.setattr(os, "open", refusing(number))
        copy = path.with_name("copy.db")
        for act, file in (
            (lambda: Ledger(path.with_name("new.db")), "new.db"),
            (lambda: ledger.copy_to(copy), "copy.db"),
            (lambda: ledger.lease(A).__enter__(), "ledger.db-1.lock"),
        ):
            with pytest.raises(LedgerError) as caught:
                act()
            assert (caught.value.problem, Path(caught.value.path).name) == (NO_SPACE[number], file)


def test_no_room_for_a_copy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the copy, which may be on another disk."""
    copy = path.with_name("copy.db")
    with Ledger(filled(path)) as ledger:
        copy.with_name("copy.db-journal").mkdir()  # SQLite cannot write the copy.
        monkeypatch.setattr(files, "TemporaryFile", refusing(errno.ENOSPC))

        with pytest.raises(LedgerError) as caught:
            ledger.copy_to(copy)

    assert (caught.value.problem, caught.value.path) == ("the disk is full", str(copy))
    assert not copy.exists()


def test_the_command_says_that_the_disk_is_full(
    no_log: Path, vendors: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not speak of permissions."""
    monkeypatch.setattr(files, "TemporaryFile", refusing(errno.ENOSPC))

    result = run_command("deliver", "--ledger", str(no_log), env=vendors.environment)

    assert result.code == 2
    assert result.message.endswith("the disk is full; free some space and run again; nothing that was stored is lost")


def test_a_vanished_folder_is_an_error(path: Path, tmp_path: Path) -> None:
    """What is written to a deleted file would be lost; the same holds for a file that was replaced."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with Ledger(folder / "ledger.db") as ledger, Ledger(path) as other:
        shutil.rmtree(folder)
        path.replace(path.with_name("moved.db"))
        Ledger(path).close()

        for each in (ledger, other):
            assert problem_of(partial(each.upsert, [user()], [A])) == "the file has been moved or deleted"


def test_refuses_a_device() -> None:
    """Nothing could be stored there."""
    assert problem_of(lambda: Ledger(os.devnull)) == "the ledger cannot be opened: not a regular file"


# A damaged file.


def damaged(path: Path, harm: Callable[[bytearray], None]) -> None:
    """Change the bytes of the file."""
    content = bytearray(path.read_bytes())
    harm(content)
    path.write_bytes(content)


def use(path: Path) -> None:
    """Read and write everything."""
    with Ledger(path) as ledger:
        ledger.upsert(CANARIES, [A, B])
        ledger.counts()
        for claim in ledger.claim(A, limit=1000):
            settle(ledger, claim, Accepted(A))
        list(ledger.rejected(A))
        list(ledger.losses(A))


def overwrite_the_middle(content: bytearray) -> None:
    """Overwrite the tables with random bytes."""
    content[4096:-4096] = random.Random(7).randbytes(len(content) - 8192)  # noqa: S311  # The same on every run.


def zero_the_middle(content: bytearray) -> None:
    """Zero pages, as failing disks do."""
    content[4096:-4096] = bytes(len(content) - 8192)


def cut_short(content: bytearray) -> None:
    """Cut off the second half."""
    del content[len(content) // 2 :]


def spoil_values(content: bytearray) -> None:
    """Change bytes of desired states, which SQLite cannot notice."""
    content[:] = content.replace(b'"traits"', b'"traits\x01')


def cut_texts(content: bytearray) -> None:
    """Make strings that are not UTF-8."""
    content[:] = content.replace(b"canarycanary", b"canary\xff\xfe\xfdnary")


@pytest.mark.parametrize("harm", [overwrite_the_middle, zero_the_middle, cut_short, spoil_values, cut_texts])
def test_reports_a_damaged_file(path: Path, harm: Callable[[bytearray], None]) -> None:
    """The first method to read the damaged part reports it."""
    damaged(filled(path), harm)

    assert problem_of(lambda: use(path)) == "the ledger is damaged"


def test_reports_damaged_rejections_losses_and_jobs(path: Path) -> None:
    """They are stored as JSON too."""
    with Ledger(path) as ledger:
        ledger.upsert([user(), user("u2")], [A])
        one, two = ledger.claim(A)
        settle(ledger, one, Rejected(A, code="canary"))
        settle(ledger, two, Accepted(A, adjustments=(dropped("traits.canary"),)))
        ledger.start_job(A, Batch("key", [JobEntry(1, 1, "canary")], b""))
    damaged(path, lambda content: content.__setitem__(slice(None), content.replace(b'canary"', b"canary\x01")))

    with Ledger(path) as ledger:
        (job,) = ledger.jobs(A)
        assert problem_of(lambda: list(ledger.rejected(A))) == "the ledger is damaged"
        assert problem_of(lambda: list(ledger.losses(A))) == "the ledger is damaged"
        assert problem_of(lambda: ledger.entries(job)) == "the ledger is damaged"


@pytest.mark.slow
def test_any_damage_is_a_ledger_error(path: Path) -> None:
    """Any page of the file may be overwritten."""
    intact = filled(path).read_bytes()
    for start in range(0, len(intact), 4096):
        content = bytearray(intact)
        content[start : start + 4096] = random.Random(start).randbytes(4096)  # noqa: S311  # The same on every run.
        for beside in path.parent.iterdir():
            beside.unlink()
        path.write_bytes(content)
        with suppress(LedgerError):
            use(path)


# Permissions and locks.


def test_reports_missing_write_permission(path: Path) -> None:
    """The file or its folder is read-only, and the user is not root."""
    filled(path)
    script = """
        import os, sys
        from ledger.test_ledger_file import problem_of, grow_a_little
        from replay_identity.ledger import Ledger
        from replay_identity.ledger.lease import take_lease

        path = sys.argv[1]
        if os.geteuid() == 0:
            os.seteuid(65534)
        print(problem_of(lambda: Ledger(path)))
        print(problem_of(lambda: Ledger(path + ".new")))
        print(problem_of(lambda: take_lease(path, "acme").__enter__()))
        """
    path.chmod(0o666)
    path.parent.chmod(0o555)
    for folder in path.parents:
        if folder.stat().st_uid == os.geteuid() and folder != path.parent:
            folder.chmod(folder.stat().st_mode | 0o011)
    try:
        problems = run(script, path).splitlines()
    finally:
        path.parent.chmod(0o755)

    assert problems == ["files cannot be created in the folder"] * 3


def test_reports_a_file_of_somebody_else() -> None:
    """The folder can be written, but not the file."""
    script = """
        import os, sys
        from ledger.test_ledger_file import problem_of
        from replay_identity.ledger import Ledger

        if os.geteuid() == 0:
            os.seteuid(65534)
        print(problem_of(lambda: Ledger(sys.argv[1])))
        """
    # Not in a folder of pytest, which only its user can open.
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        path = filled(Path(folder) / "ledger.db")
        path.chmod(0o400)

        assert run(script, path) == "the file cannot be read or written\n"


def test_reports_a_file_that_became_read_only(path: Path) -> None:
    """The ledger goes on once it can write again."""
    with Ledger(path) as ledger:
        ledger.upsert([user()], [A])
        database = database_of(ledger)
        database.rows("PRAGMA query_only = ON")

        assert problem_of(lambda: ledger.upsert([user("u2")], [A])) == "the ledger cannot be written"

        database.rows("PRAGMA query_only = OFF")
        assert ledger.pending_count(A) == 1


def test_reports_a_ledger_that_stays_locked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger goes on once the lock is released."""
    monkeypatch.setattr(opening, "LOCK_TIMEOUT_S", 0.05)
    with Ledger(path) as ledger, closing(sqlite3.connect(path, isolation_level=None)) as other:
        ledger.upsert([user("canary")], [A])
        other.execute("BEGIN IMMEDIATE")
        assert problem_of(lambda: ledger.upsert([user("canary-2")], [A])).startswith("the ledger has been locked")
        assert ledger.pending_count(A) == 1
        other.execute("ROLLBACK")
        ledger.upsert([user("canary-2")], [A])
        assert ledger.pending_count(A) == 2


def test_reports_an_exclusive_lock_when_opening(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exclusive lock keeps readers out too."""
    monkeypatch.setattr(opening, "LOCK_TIMEOUT_S", 0.05)
    filled(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        assert problem_of(lambda: Ledger(path)).startswith("the ledger has been locked")


def test_reading_waits_for_an_exclusive_lock(path: Path) -> None:
    """SQLite locks readers out too while it recovers from a crash."""
    filled(path)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "locked\n"
    with closing(holder.stdin), closing(holder.stdout):
        holder.stdin.write("go\n")
        holder.stdin.flush()
        with Ledger(path) as ledger:
            assert ledger.pending_count(A) == 150
    assert holder.wait(60) == 0


HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA locking_mode = EXCLUSIVE")
connection.execute("BEGIN EXCLUSIVE")
connection.execute("UPDATE ledger SET version = version + 1")
connection.execute("COMMIT")
print("locked", flush=True)
sys.stdin.readline()
time.sleep(0.2)
"""


def test_reports_a_closed_ledger(path: Path) -> None:
    """Closing twice does no harm."""
    ledger = Ledger(path)
    ledger.close()
    ledger.close()

    assert problem_of(lambda: ledger.upsert([user("canary")], [A])) == "the ledger is closed"


def test_names_an_unknown_error(path: Path) -> None:
    """The error has SQLite's or Python's name for it, but not its text."""
    with Ledger(path) as ledger:
        database = database_of(ledger)
        assert problem_of(lambda: database.rows("SELECT canary")) == "the ledger cannot be used: SQLITE_ERROR"
        assert problem_of(lambda: database.rows("SELECT ?", object())).startswith("the ledger cannot be used: ")


def test_a_transaction_is_all_or_nothing(path: Path) -> None:
    """An exception inside rolls it back."""
    with Ledger(path) as ledger:
        ledger.upsert([user()], [A])
        with pytest.raises(ZeroDivisionError):
            fail_inside(ledger)
        assert ledger.pending_count(A) == 1
        ledger.upsert([user("u2")], [A])
        assert ledger.pending_count(A) == 2


def fail_inside(ledger: Ledger) -> None:
    """Raise an exception inside a transaction."""
    with database_of(ledger).transaction() as db:
        db.execute("DELETE FROM pending")
        raise ZeroDivisionError
