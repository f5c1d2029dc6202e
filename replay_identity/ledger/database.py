"""One SQLite file: opened, migrated and locked, and its errors said in our words."""

import os
import random
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from .._forks import register_fork_hooks
from ..errors import LedgerError
from .codec import KEY_BYTES

# "RpId": tells SQLite files of ours from anybody else's.
APPLICATION_ID: Final = 0x52704964

_VERSION_1: Final = (
    # One row: the secret of the digests, the number of the last transaction that put something, and how many users.
    "CREATE TABLE ledger (key BLOB NOT NULL, version INTEGER NOT NULL, users INTEGER NOT NULL)",
    "CREATE TABLE backends (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    # Everyone ever put, by the digest of their id. moments: since when each field is known, by digest of its name.
    "CREATE TABLE users (identity BLOB PRIMARY KEY, id INTEGER NOT NULL, moments BLOB) WITHOUT ROWID",
    # What those should be at the vendors who are due somewhere or refused; erased once nobody needs it.
    "CREATE TABLE desired (user INTEGER PRIMARY KEY, version INTEGER NOT NULL, traits BLOB NOT NULL)",
    # Who has to be sent where.
    "CREATE TABLE due (backend INTEGER, user INTEGER, PRIMARY KEY (backend, user)) WITHOUT ROWID",
    # What each vendor last confirmed, as digests; in_doubt while something is under way that may change it.
    """CREATE TABLE held (
        backend INTEGER, user INTEGER, whole BLOB NOT NULL, fields BLOB NOT NULL, in_doubt INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (backend, user)
    ) WITHOUT ROWID""",
    # Few reasons, told of many users. version: of what was refused.
    "CREATE TABLE reasons (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
    """CREATE TABLE refusals (
        backend INTEGER, user INTEGER, version INTEGER NOT NULL, reason INTEGER NOT NULL, rejected_at INTEGER NOT NULL,
        PRIMARY KEY (backend, user)
    ) WITHOUT ROWID""",
    """CREATE TABLE losses (
        backend INTEGER, user INTEGER, reason INTEGER NOT NULL,
        PRIMARY KEY (backend, user)
    ) WITHOUT ROWID""",
    # Batches under way: what to send again after a crash, under which key, and who is in them.
    """CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, backend INTEGER NOT NULL, idempotency_key TEXT NOT NULL, vendor_job TEXT,
        size INTEGER NOT NULL, created_at INTEGER NOT NULL, members BLOB NOT NULL, body BLOB
    )""",
)

_VERSION_2: Final = (
    # Readings of another vendor that are not finished, by a name that says from where to where: the page to go on with.
    """CREATE TABLE bookmarks (
        reading TEXT PRIMARY KEY, token TEXT NOT NULL, moment INTEGER NOT NULL, record BLOB NOT NULL
    )""",
)

# The statements that bring a ledger from one version to the next; the first make a new one.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_VERSION_1, _VERSION_2)


T = TypeVar("T")

MEMORY: Final = ":memory:"
# So long a transaction waits for those of other processes.
PATIENCE: Final = 60.0
_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # What was put survives a power cut, not only a crash.
    "PRAGMA secure_delete = ON",  # What was erased is overwritten.
    "PRAGMA cache_size = -32768",
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA journal_size_limit = 67108864",
)
_PROBLEMS: Final[Mapping[str, tuple[str, str]]] = {
    "SQLITE_FULL": ("the disk is full", "free some space and run again; nothing that was stored is lost"),
    "SQLITE_CORRUPT": (
        "is damaged",
        "move it away and sync again from the source; what is unchanged is then sent anew",
    ),
    "SQLITE_NOTADB": ("is no ledger", "name another file"),
    "SQLITE_BUSY": (f"is locked by another process for more than {PATIENCE:g} s", "end that process, or wait for it"),
    "SQLITE_READONLY": ("cannot be written", "check its permissions and those of its folder"),
    "SQLITE_CANTOPEN": ("cannot be opened", "check that its folder exists and can be written"),
    "SQLITE_IOERR": ("cannot be read or written", "check the disk"),
}


class Database:
    """One SQLite file, safe under threads and after a fork.

    Args:
        path: The file, made if it does not exist, or ``:memory:``.

    Attributes:
        path: The file by its full name, since the working directory may change.

    Raises:
        LedgerError: It cannot be opened, is damaged, or is something else.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = MEMORY if path == MEMORY else os.path.realpath(path)
        self._lock = threading.RLock()
        self._is_closed = False
        self._connection: sqlite3.Connection | None = None
        register_fork_hooks(self)
        with self._lock:  # No fork while SQLite is at work.
            self._connection = self._open()

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """Lend the connection inside a transaction that writes: all of it is on disk afterwards, or nothing.

        Raises:
            LedgerError: The disk is full, the file is damaged, or another process keeps it locked.
        """
        with self._lent() as connection:
            if connection.in_transaction:
                raise LedgerError(self.path, "is at work already", "use no ledger in a signal handler")
            try:
                _patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite may have rolled back already.
                    connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, *parameters: object) -> list[Any]:
        """Return the rows that *sql* selects."""
        with self._lent() as connection:
            return _patiently(lambda: connection.execute(sql, parameters).fetchall())

    def copy_to(self, path: Path) -> None:
        """Write a copy of the file, as it is now, to *path*, where there must be none."""
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            raise LedgerError(str(path), f"cannot be made: {error.strerror}") from None
        try:
            with self._lent() as connection:
                _patiently(lambda: connection.execute("VACUUM INTO ?", [str(path)]))
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def checkpoint_wal(self) -> bool:
        """Write the log back into the file; return False where another process is at it, so that it cannot be done."""
        with self._lent() as connection, suppress(sqlite3.OperationalError):
            (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not is_busy
        return False

    def close(self) -> None:
        """Write the log back into the file, so that nothing erased is left in it, and close."""
        with self._lock:
            self._is_closed = True
            if self._connection is None:
                return
            with suppress(sqlite3.Error):  # Another process may be at it; then its close does so.
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.close()
            self._connection = None

    def before_fork(self) -> None:
        """Let go of the file, and keep everyone waiting until `after_fork`."""
        self._lock.acquire()
        if self._connection is not None and self.path != MEMORY:
            self._connection.close()
            self._connection = None

    def after_fork(self) -> None:
        """Let everyone go on; the file is opened again when it is needed."""
        self._lock.release()

    @contextmanager
    def problems(self) -> Generator[None]:
        """Raise errors of SQLite, and of reading what it stored, as ours; the text of theirs is not passed on."""
        try:
            yield
        except sqlite3.Error as error:
            raise LedgerError(self.path, *_said_of(error)) from None
        except orjson.JSONDecodeError:
            raise LedgerError(self.path, *_PROBLEMS["SQLITE_CORRUPT"]) from None

    @contextmanager
    def _lent(self) -> Generator[sqlite3.Connection]:
        with self._lock, self.problems():
            if self._is_closed:
                raise LedgerError(self.path, "is closed")
            if self._connection is None:
                self._connection = self._open()
            yield self._connection

    def _open(self) -> sqlite3.Connection:
        with self.problems():
            if self.path != MEMORY:
                self._touch()
            connection = sqlite3.connect(self.path, timeout=0.001, isolation_level=None, check_same_thread=False)
            try:
                _patiently(lambda: self._prepare(connection))
            except BaseException:
                connection.close()
                raise
        return connection

    def _touch(self) -> None:
        """Make the file, for its owner alone: it holds traits until they are delivered."""
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise LedgerError(self.path, f"cannot be opened: {error.strerror}") from None

    def _prepare(self, connection: sqlite3.Connection) -> None:
        self._check_owner(connection)
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        if _number(connection, "PRAGMA user_version") != len(MIGRATIONS):
            self._migrate(connection)

    def _check_owner(self, connection: sqlite3.Connection) -> None:
        # In one look, since another process may be making the tables.
        application, tables = connection.execute(
            "SELECT application_id, (SELECT count(*) FROM sqlite_master) FROM pragma_application_id"
        ).fetchone()
        if application != APPLICATION_ID and (application or tables):
            raise LedgerError(self.path, "is a SQLite file of something else", "name another file")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Bring the tables up to date, in one transaction; of two processes that come at once, one does it."""
        connection.execute("BEGIN EXCLUSIVE")
        version = _number(connection, "PRAGMA user_version")
        if version > len(MIGRATIONS):
            raise LedgerError(self.path, "was made by a newer version of replay-identity", "update it")
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        if version == 0:
            connection.execute("INSERT INTO ledger VALUES (?, 0, 0)", [secrets.token_bytes(KEY_BYTES)])
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")


def _patiently(act: Callable[[], T]) -> T:
    """Return what *act* does, after those who keep the file locked.

    SQLite's own wait lets the unlucky starve, and some statements do not wait at all.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return act()
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > until:
                raise
            time.sleep(random.random() / 1000)  # noqa: S311  # Only so that two do not stay in step.


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")


def _said_of(error: sqlite3.Error) -> tuple[str, str]:
    name: str = getattr(error, "sqlite_errorname", "")
    for known, said in _PROBLEMS.items():
        if name.startswith(known):
            return said
    return f"cannot be used: {name or type(error).__name__}", ""


def _number(connection: sqlite3.Connection, sql: str) -> int:
    row: Sequence[int] = connection.execute(sql).fetchone()
    return row[0]


def sql_in(row_ids: Collection[int]) -> tuple[str, list[int]]:
    """Return what a statement says after ``user``, and its parameters: a range where the places have no gap."""
    ordered = sorted(set(row_ids))
    if ordered and ordered[-1] - ordered[0] == len(ordered) - 1:
        return "BETWEEN ? AND ?", [ordered[0], ordered[-1]]
    return f"IN ({','.join('?' * len(ordered))})", ordered
