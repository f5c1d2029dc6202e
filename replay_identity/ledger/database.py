"""The SQLite file of a ledger: open it, migrate it, lock it, and turn its errors into LedgerError."""

import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from decimal import DecimalException
from functools import cache
from pathlib import Path, PurePath
from random import SystemRandom
from traceback import extract_tb
from typing import Any, Final, TypeVar

from .._forks import register_fork_hooks
from ..errors import LedgerError, ReplayIdentityError
from . import files
from .codec import KEY_BYTES
from .files import LOCK_TIMEOUT_S

T = TypeVar("T")

MEMORY: Final = ":memory:"
# Above every row id: the row ids of a run are a set with one bit each, and no file has that many users.
ROW_ID_END: Final = 2**32
# Rows per statement, so that SQLite prepares few different ones.
MAX_ROWS: Final = 500
_logger: Final = logging.getLogger("replay_identity.ledger")
# Not Python's shared generator, whose state forked processes inherit.
_random: Final = SystemRandom().random

# "RpLg" in ASCII: marks a SQLite file as a ledger.
APPLICATION_ID: Final = 0x52704C67
# The marks of ledgers created while 0.1.0 was in development, whose tables are different.
_DEVELOPMENT_IDS: Final = frozenset({0x52704964, 0x52704C64})

_VERSION_1: Final = (
    # One row. key: of the fingerprints; version: of the last upsert or rejection; users: how many there have been;
    # mirror_run and mirror_completed: numbers of the last run of a mirror, and of the last that read its whole source.
    """CREATE TABLE ledger (
        key BLOB NOT NULL, version INTEGER NOT NULL, users INTEGER NOT NULL, mirror_run INTEGER NOT NULL DEFAULT 0,
        mirror_completed INTEGER NOT NULL DEFAULT 0
    )""",
    # A backend at one account. vendor_account: id of the first account that is the same one at the vendor. used: number
    # of the run that opened it last. has_adopted: it has taken over the account used before it, which happens once.
    """CREATE TABLE accounts (
        id INTEGER PRIMARY KEY AUTOINCREMENT, backend TEXT NOT NULL, name TEXT NOT NULL,
        vendor_account INTEGER NOT NULL, encoding TEXT NOT NULL, used INTEGER NOT NULL,
        has_adopted INTEGER NOT NULL DEFAULT 0,
        UNIQUE (backend, name)
    )""",
    # Names that vendors know fields by, by the fingerprints that stand for them in confirmed.fields.
    "CREATE TABLE fields (fingerprint BLOB PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID",
    # Every user ever upserted. moments: when each field was observed, by the fingerprint of its name.
    "CREATE TABLE users (id_fingerprint BLOB PRIMARY KEY, row_id INTEGER NOT NULL, moments BLOB) WITHOUT ROWID",
    # The desired state of users who are pending or rejected somewhere; erased once no backend needs it.
    "CREATE TABLE desired (row_id INTEGER PRIMARY KEY, version INTEGER NOT NULL, encoded BLOB NOT NULL)",
    # since: the ledger's version when the user became pending; not_before: when a deferred user may be sent, in seconds
    # since 1970.
    """CREATE TABLE pending (
        account INTEGER, row_id INTEGER, since INTEGER NOT NULL, not_before REAL NOT NULL DEFAULT 0,
        PRIMARY KEY (account, row_id)
    ) WITHOUT ROWID""",
    # What each vendor last confirmed, as fingerprints. source: of the desired state and of how it was encoded; fields:
    # of each field as the vendor knows it. in_doubt: something was sent since, without an answer.
    """CREATE TABLE confirmed (
        vendor_account INTEGER, row_id INTEGER, source BLOB NOT NULL, fields BLOB NOT NULL,
        confirmed_at INTEGER NOT NULL, in_doubt INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (vendor_account, row_id)
    ) WITHOUT ROWID""",
    # Texts that rejections and losses refer to: many users share a few of them. users: how many refer to it.
    "CREATE TABLE reasons (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE, users INTEGER NOT NULL)",
    # version: of the desired state that was rejected; since: as in pending; recorded: the ledger's version when it was
    # rejected; source: as in confirmed.
    # Kept while a newer state is pending, which may turn out to be the same.
    """CREATE TABLE rejections (
        account INTEGER, row_id INTEGER, version INTEGER NOT NULL, since INTEGER NOT NULL, recorded INTEGER NOT NULL,
        source BLOB NOT NULL, reason INTEGER NOT NULL, rejected_at INTEGER NOT NULL,
        PRIMARY KEY (account, row_id)
    ) WITHOUT ROWID""",
    # What the vendor got only in part, because of its limits.
    """CREATE TABLE losses (
        vendor_account INTEGER, row_id INTEGER, reason INTEGER NOT NULL,
        PRIMARY KEY (vendor_account, row_id)
    ) WITHOUT ROWID""",
    # Imports that have not ended: what to send again after a crash, under which key, and which users are in them.
    """CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, vendor_account INTEGER NOT NULL, idempotency_key TEXT NOT NULL,
        vendor_job TEXT, size INTEGER NOT NULL, created_at INTEGER NOT NULL, encoding BLOB NOT NULL,
        entries BLOB NOT NULL, field_values BLOB NOT NULL, body BLOB
    )""",
    # The users of a source that is mirrored. run: the last run in which the source had the user; deleted_at: accounts
    # that need not be asked to delete the user any more, as JSON.
    """CREATE TABLE mirrored (
        user_id TEXT PRIMARY KEY, run INTEGER NOT NULL, deleted_at TEXT NOT NULL DEFAULT '[]'
    ) WITHOUT ROWID""",
    # Where unfinished reads of another vendor resume. name: says what is read and where it goes.
    """CREATE TABLE checkpoints (
        name TEXT PRIMARY KEY, token TEXT NOT NULL, stored_at INTEGER NOT NULL, stats BLOB NOT NULL
    )""",
)

_VERSION_2: Final = (
    # Which organisation a key belongs to. key_account: name of an account with a fingerprint of the key; name: of the
    # same account with the organisation.
    "CREATE TABLE organisations (key_account TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID",
    # opened: a run has opened it, so that users may have been sent; not if users have only been upserted.
    "ALTER TABLE accounts ADD COLUMN opened INTEGER NOT NULL DEFAULT 1",
)

# The statements that migrate a ledger to each next version; the first create it.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_VERSION_1, _VERSION_2)

_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # What was stored survives a power cut, not only a crash.
    "PRAGMA secure_delete = ON",  # What was erased is overwritten.
    "PRAGMA cache_size = -32768",
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA journal_size_limit = 67108864",
)
_SELECT_COLUMNS: Final = (
    'SELECT tables.name, columns.name, columns.type, NOT (columns."notnull" OR columns.pk)'
    " FROM sqlite_master tables JOIN pragma_table_info(tables.name) columns"
    " WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite%'"
)
_SELECT_LEDGER: Final = (
    f"SELECT typeof(key), length(key), typeof(version), typeof(users) = 'integer' AND users BETWEEN 0 AND {ROW_ID_END}"
    " FROM ledger"
)
_PYTHON_TYPES: Final[Mapping[str, type]] = {"INTEGER": int, "REAL": float, "TEXT": str, "BLOB": bytes}
# What decoding raises if something else is stored than was written.
_DECODING_ERRORS: Final = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    DecimalException,
    RecursionError,
)


class Database:
    """One SQLite file, safe to use from several threads and after a fork.

    Args:
        path: The file, which is created if it does not exist, or ``:memory:``.

    Attributes:
        path: The absolute path, since the working directory may change.

    Raises:
        LedgerError: The file cannot be opened, is damaged, or is not a ledger.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = MEMORY if path == MEMORY else os.path.realpath(path)
        self._lock = threading.RLock()
        self._is_closed = False
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        register_fork_hooks(self)
        with self._lock:  # No fork happens while SQLite works.
            self._connection = self._open()

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """Yield the connection inside a write transaction: afterwards all of it is on disk, or nothing.

        Raises:
            LedgerError: The disk is full, the file is damaged, or another process keeps it locked.
        """
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            with self._connected() as connection:
                if connection.in_transaction:
                    raise LedgerError(
                        self.path, "the ledger is busy in this thread", "do not use it from a signal handler"
                    )
                try:
                    if _begin(connection, deadline):
                        yield connection
                        connection.execute("COMMIT")
                        return
                except BaseException:
                    with suppress(sqlite3.Error):  # SQLite may have rolled back already.
                        connection.execute("ROLLBACK")
                    raise
            # Without our own lock, so that other threads can read, close or fork while this one waits.
            _sleep_briefly()

    def rows(self, sql: str, *parameters: object) -> list[Any]:
        """Return the rows that *sql* selects; each value has the type of the column whose name it has."""
        with self._connected() as connection:
            cursor = connection.cursor()
            rows = _wait_for_lock(lambda: cursor.execute(sql, parameters).fetchall())
            _check_types([name for name, *_ in cursor.description or ()], rows)
            return rows

    def copy_to(self, path: Path) -> None:
        """Write a copy of the file to *path*, which must not exist."""
        try:
            files.create_private(path)
        except OSError as error:
            raise LedgerError(str(path), *files.describe_os_error(error, ("the copy cannot be created", ""))) from None
        try:
            with self._connected() as connection:
                self._write_copy(connection, str(path))
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _write_copy(self, connection: sqlite3.Connection, copy: str) -> None:
        try:
            _wait_for_lock(lambda: connection.execute("VACUUM INTO ?", [copy]))
        except sqlite3.Error as error:
            path = copy if files.is_about_writing(error) else self.path
            raise LedgerError(path, *files.describe(error, path)) from None

    def checkpoint_wal(self) -> bool:
        """Write the write-ahead log back into the file and truncate it; return False if another process prevents it."""
        with self._connected() as connection, suppress(sqlite3.OperationalError):
            (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not is_busy
        return False

    def close(self) -> None:
        """Truncate the write-ahead log, so that no erased value is left in it, and close the file."""
        with self._lock:
            self._is_closed = True
            if self._connection is None:
                return
            with suppress(sqlite3.Error):  # Another process may use the file; then its close truncates the log.
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.close()
            self._connection = None

    def before_fork(self) -> None:
        """Close the file and keep other threads waiting until `after_fork`."""
        self._lock.acquire()
        if self._connection is not None and self.path != MEMORY:
            self._connection.close()
            self._connection = None

    def after_fork(self, *, in_child: bool) -> None:  # noqa: ARG002  # Both open the file again.
        """Let other threads continue; the file is opened again when it is needed."""
        self._lock.release()

    @contextmanager
    def translated_errors(self) -> Generator[None]:
        """Raise errors of SQLite, and of decoding what it stored, as LedgerError without their texts.

        The file is damaged if something cannot be decoded, so call nothing here that may fail for another reason.
        """
        try:
            yield
        except ReplayIdentityError:
            raise
        except sqlite3.Error as error:
            raise LedgerError(self.path, *files.describe(error, self.path)) from None
        except _DECODING_ERRORS as error:
            # A bug of ours would look the same; this shows where to search.
            frame = extract_tb(error.__traceback__)[-1]
            place = f"{PurePath(frame.filename).name}:{frame.lineno}"
            _logger.warning("%s cannot be decoded: %s at %s", self.path, type(error).__name__, place)
            raise LedgerError(self.path, *files.DAMAGED) from None

    @contextmanager
    def _connected(self) -> Generator[sqlite3.Connection]:
        with self._lock, self.translated_errors():
            if self._is_closed:
                raise LedgerError(self.path, "the ledger is closed")
            if self._connection is None:
                self._connection = self._open()
            elif self._identify() != self._identity:  # What is written to a deleted file is lost.
                raise LedgerError(self.path, "the file has been moved or deleted", "open the ledger again")
            yield self._connection

    def _open(self) -> sqlite3.Connection:
        if self.path != MEMORY:
            files.create_if_missing(self.path)
        with self.translated_errors():
            connection = sqlite3.connect(self.path, timeout=0.001, isolation_level=None, check_same_thread=False)
            try:
                _wait_for_lock(lambda: self._prepare(connection))
                _wait_for_lock(lambda: self._check_content(connection))
            except BaseException:
                connection.close()
                raise
            self._identity = self._identify()
        return connection

    def _identify(self) -> tuple[int, int] | None:
        """Return the device and inode of the ledger's file, or None if the file does not exist."""
        if self.path != MEMORY:
            with suppress(FileNotFoundError, NotADirectoryError):
                found = Path(self.path).stat()
                return found.st_dev, found.st_ino
        return None

    def _prepare(self, connection: sqlite3.Connection) -> None:
        self._check_application_id(connection)
        if self.path != MEMORY:
            files.restrict(self.path)
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        if _select_number(connection, "PRAGMA user_version") != len(MIGRATIONS):
            self._migrate(connection)

    def _check_content(self, connection: sqlite3.Connection) -> None:
        """Raise LedgerError unless each table has all its columns, and the ledger one key and a possible count."""
        columns = {(table, name) for table, name, *_ in connection.execute(_SELECT_COLUMNS)}
        is_complete = columns >= {(table, name) for table, name, *_ in _columns(MIGRATIONS)}
        found = connection.execute(_SELECT_LEDGER).fetchall() if is_complete else []
        if found != [("blob", KEY_BYTES, "integer", 1)]:
            raise LedgerError(self.path, *files.DAMAGED)

    def _check_application_id(self, connection: sqlite3.Connection) -> None:
        # In one statement, since another process may be creating the tables.
        application_id, tables = connection.execute(
            "SELECT application_id, (SELECT count(*) FROM sqlite_master) FROM pragma_application_id"
        ).fetchone()
        if application_id == APPLICATION_ID or not (application_id or tables):
            return
        if application_id in _DEVELOPMENT_IDS:
            raise LedgerError(
                self.path,
                "the ledger was made by a development version before 0.1.0",
                "move the file away and sync again from the source",
            )
        raise LedgerError(self.path, "a SQLite database, but not a ledger", "choose another file")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Create or update the tables in one transaction; if two processes do it at once, the second finds it done."""
        connection.execute("BEGIN EXCLUSIVE")
        version = _select_number(connection, "PRAGMA user_version")
        if version > len(MIGRATIONS):
            raise LedgerError(
                self.path,
                "the ledger was made by a newer version of replay-identity",
                "upgrade replay-identity, or choose another file",
            )
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        if version == 0:
            key = secrets.token_bytes(KEY_BYTES)
            connection.execute("INSERT INTO ledger (key, version, users) VALUES (?, 0, 0)", [key])
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")


def next_version(db: sqlite3.Connection) -> int:
    """Increase the ledger's version, and return it."""
    (version,) = db.execute("UPDATE ledger SET version = version + 1 RETURNING version").fetchone()
    return int(version)


def sql_in(row_ids: Collection[int]) -> tuple[str, list[int]]:
    """Return the SQL to write after ``row_id``, and its parameters: a range if *row_ids* have no gap, else a list."""
    ordered = sorted(set(row_ids))
    if ordered and ordered[-1] - ordered[0] == len(ordered) - 1:
        return "BETWEEN ? AND ?", [ordered[0], ordered[-1]]
    return f"IN ({sql_list(ordered)})", ordered


def sql_list(values: Collection[object]) -> str:
    """Return a parameter for each of *values*, separated by commas."""
    return ",".join("?" * len(values))


def _wait_for_lock(act: Callable[[], T]) -> T:
    """Return what *act* returns, and repeat it while another process has the file locked.

    SQLite's own wait can starve a process, and some statements do not wait at all.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            return act()
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            _sleep_briefly()


def _begin(connection: sqlite3.Connection, deadline: float) -> bool:
    """Begin a write transaction; return False if another process has the file locked before *deadline*."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if not _is_busy(error) or time.monotonic() > deadline:
            raise
        return False
    return True


def _sleep_briefly() -> None:
    time.sleep(_random() / 1000)  # So that two processes do not stay in step.


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")


@cache
def _columns(migrations: Sequence[Sequence[str]]) -> Sequence[tuple[str, str, str, bool]]:
    """Return table, name, type and whether it may be null, of each column that *migrations* make."""
    with closing(sqlite3.connect(MEMORY)) as connection:
        for statements in migrations:
            for statement in statements:
                connection.execute(statement)
        return connection.execute(_SELECT_COLUMNS).fetchall()


@cache
def _column_types(migrations: Sequence[Sequence[str]]) -> Mapping[str, frozenset[type]]:
    """Return the Python types of the columns by name; columns of one name in several tables have those of each."""
    types: dict[str, frozenset[type]] = {}
    for _, name, declared, is_nullable in _columns(migrations):
        if declared in _PYTHON_TYPES:
            allowed = {_PYTHON_TYPES[declared], *((type(None),) if is_nullable else ())}
            types[name] = types.get(name, frozenset()) | allowed
    return types


def _check_types(names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Raise TypeError if a value in *rows* has not the type of its column; SQLite does not notice that."""
    types = _column_types(MIGRATIONS)
    for name, values in zip(names, zip(*rows, strict=True), strict=False):
        if name in types and not types[name].issuperset(map(type, values)):
            raise TypeError(name)


def _select_number(connection: sqlite3.Connection, sql: str) -> int:
    row: Sequence[int] = connection.execute(sql).fetchone()
    return row[0]
