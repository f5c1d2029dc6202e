"""The files of a ledger: keep them for their owner alone, and find out why the system refuses them."""

import errno
import logging
import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Mapping
from contextlib import suppress
from glob import escape
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final, TypeAlias

from ..errors import LedgerError

# What is wrong, and what to do about it.
Problem: TypeAlias = tuple[str, str]

DAMAGED: Final[Problem] = (
    "the ledger is damaged",
    "move the file away and sync again from the source; users who did not change are then sent again",
)
# Seconds that a transaction waits for those of other processes.
LOCK_TIMEOUT_S: Final = 60.0

_logger: Final = logging.getLogger("replay_identity.ledger")

_OWNER_ONLY: Final = 0o600
_NOT_OWNER: Final = 0o077
# Windows has no such permissions: there a file has those of its folder.
_HAS_MODES: Final = os.name == "posix"
_warned: Final[set[str]] = set()
# Closing a file ends all locks of the process on it. So no file is closed here that SQLite may have opened.
_creation: Final = threading.Lock()

_FREE_SPACE: Final = "free some space and run again; nothing that was stored is lost"
_FULL: Final[Problem] = ("the disk is full", _FREE_SPACE)
_NO_FOLDER: Final[Problem] = ("the folder does not exist", "create it, or choose another file")
_NOT_PERMITTED: Final[Problem] = (
    "files cannot be created in the folder",
    "check the permissions of the folder; SQLite creates files next to the ledger",
)
_TOO_MANY_FILES: Final[Problem] = ("too many files are open", "raise the limit, for example with `ulimit -n`")
_FORBIDDEN: Final[Problem] = ("the file cannot be read or written", "check its permissions")
_BY_ERRNO: Final[Mapping[int, Problem]] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: ("the disk quota is used up", _FREE_SPACE),
    errno.EFBIG: (
        "the file has reached the maximum size",
        "raise the limit, for example with `ulimit -f`, and run again; nothing that was stored is lost",
    ),
    errno.EROFS: ("the file system is read-only", "make it writable, or choose another file"),
    errno.ENOENT: _NO_FOLDER,
    errno.ENOTDIR: _NO_FOLDER,
    errno.EACCES: _NOT_PERMITTED,
    errno.EPERM: _NOT_PERMITTED,
    errno.EMFILE: _TOO_MANY_FILES,
    errno.ENFILE: _TOO_MANY_FILES,
}
_OPEN_FAILED: Final[Problem] = ("the ledger cannot be opened", "check that its folder exists and can be written")
# By prefix of SQLite's name for the error. The first ones have a cause in the system, which SQLite does not tell.
_BY_NAME: Final[Mapping[str, Problem]] = {
    "SQLITE_FULL": _FULL,
    "SQLITE_READONLY": ("the ledger cannot be written", "check the permissions of the file and of its folder"),
    "SQLITE_CANTOPEN": _OPEN_FAILED,
    "SQLITE_IOERR": ("the ledger cannot be read or written", "check the disk"),
    "SQLITE_CORRUPT": DAMAGED,
    "SQLITE_CONSTRAINT": DAMAGED,  # No statement breaks one in an intact ledger.
    "SQLITE_MISMATCH": DAMAGED,
    "SQLITE_NOTADB": ("not a ledger", "choose another file"),
    "SQLITE_BUSY": (
        f"the ledger has been locked by another process for {LOCK_TIMEOUT_S:g} s",
        "end that process, or wait for it",
    ),
}
_ABOUT_WRITING: Final = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR")
# Several times what a commit needs.
_PROBE_BYTES: Final = 1 << 16
_MIN_FREE_BYTES: Final = 1 << 20


def create_private(path: Path) -> None:
    """Create an empty file for its owner alone, whatever the umask is.

    Raises:
        OSError: The file exists or cannot be created.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _OWNER_ONLY)
    try:
        if _HAS_MODES:
            os.fchmod(descriptor, _OWNER_ONLY)
    finally:
        os.close(descriptor)


def create_if_missing(path: str, otherwise: Problem = _OPEN_FAILED) -> None:
    """Create an empty file for its owner alone, unless there is one.

    Raises:
        LedgerError: The file cannot be created, or is a folder or a device.
    """
    try:
        with _creation, suppress(FileExistsError):
            if not os.path.lexists(path):
                create_private(Path(path))
        is_file = Path(path).is_file()
    except OSError as error:
        raise LedgerError(path, *describe_os_error(error, otherwise)) from None
    if not is_file:
        raise LedgerError(path, f"{otherwise[0]}: not a regular file", "choose another file")


def restrict(path: str) -> None:
    """Take the files of the ledger at *path* away from the group and others; log a warning once where that fails."""
    if not _HAS_MODES:
        return
    locks = Path(path).parent.glob(f"{escape(Path(path).name)}-*.lock")
    exposed = [file for file in (*_files(path), *locks) if not _is_private(file)]
    if exposed and path not in _warned:
        _warned.add(path)
        _logger.warning(
            "%s: other users of this machine may read the ledger, and its permissions cannot be changed; "
            "run chmod 600 as its owner, or move it to a folder of your own",
            path,
        )


def _files(path: str) -> list[Path]:
    return [Path(path + suffix) for suffix in ("", "-wal", "-shm", "-journal")]


def _is_private(file: Path) -> bool:
    """Make a file of ours private, and return False if others may still use it."""
    try:
        found = file.lstat()
        if found.st_mode & _NOT_OWNER and stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
            file.chmod(found.st_mode & _OWNER_ONLY)
            found = file.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return not found.st_mode & _NOT_OWNER


def describe_os_error(error: OSError, otherwise: Problem) -> Problem:
    """Return the problem for an error of the system, or the one *otherwise* with the system's text for it."""
    problem, hint = otherwise
    return _BY_ERRNO.get(error.errno or 0, (f"{problem}: {error.strerror}", hint))


def describe(error: sqlite3.Error, path: str, otherwise: Problem | None = None) -> Problem:
    """Return the problem for an error of SQLite about the file at *path*; *otherwise* if the system has no reason."""
    reason = _reason(path) if is_about_writing(error) else None
    return reason or otherwise or _describe_by_name(error)


def _describe_by_name(error: sqlite3.Error) -> Problem:
    name: str = getattr(error, "sqlite_errorname", "")
    for prefix, problem in _BY_NAME.items():
        if name.startswith(prefix):
            return problem
    if isinstance(error, sqlite3.OperationalError) and not name:
        return DAMAGED  # A string that is not UTF-8.
    return f"the ledger cannot be used: {name or type(error).__name__}", ""


def is_about_writing(error: sqlite3.Error) -> bool:
    """Return True if the system, not the content of the file, caused an error of SQLite."""
    name: str = getattr(error, "sqlite_errorname", "")
    return name.startswith(_ABOUT_WRITING)


def _reason(path: str) -> Problem | None:
    """Return why the system refuses to write to the file at *path* or next to it, or None if it does not."""
    refused = _probe(path)
    if refused in _BY_ERRNO:
        return _BY_ERRNO[refused]
    as_effective_user = os.access in os.supports_effective_ids
    if Path(path).exists() and not os.access(path, os.R_OK | os.W_OK, effective_ids=as_effective_user):
        return _FORBIDDEN
    with suppress(OSError):
        if shutil.disk_usage(Path(path).parent).free < _MIN_FREE_BYTES:
            return _FULL
    return None


def _probe(path: str) -> int:
    """Return the errno with which the system refuses to write beyond the end of the ledger's files, or 0."""
    try:
        # Another file, since SQLite's locks end when one of these is closed. The bytes before the end take no space.
        end = max((file.stat().st_size for file in _files(path) if file.exists()), default=0)
        with TemporaryFile(dir=Path(path).parent) as file:
            file.seek(end)
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno or 0
    return 0
