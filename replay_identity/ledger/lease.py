"""A lease per backend: one process delivers at a time, so that no other process's requests overtake its own."""

import re
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Final

from .._forks import fork_lock, register_fork_hooks
from ..errors import LedgerError
from .database import MEMORY
from .files import create_if_missing, describe

_UNSAFE: Final = re.compile("[^A-Za-z0-9_-]")
_UNUSABLE: Final = ("the lock file next to the ledger cannot be used", "delete it if no process delivers")


@contextmanager
def take_lease(path: str, backend: str) -> Generator[bool]:
    """Hold the lease on *backend* for the ledger at *path*; yield False if another process holds it.

    The lock is SQLite's own, on a file next to the ledger: it works on every platform and ends with the process.
    """
    if path == MEMORY:
        yield True
        return
    lease = _Lease(path, backend)
    try:
        yield lease.is_ours
    finally:
        lease.release()


class _Lease:
    def __init__(self, path: str, backend: str) -> None:
        self._lock: sqlite3.Connection | None = None
        file = _lock_path(path, backend)
        with fork_lock():
            create_if_missing(file, _UNUSABLE)
            try:
                self._lock = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
                self._lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.Error as error:
                self.release()
                if error.sqlite_errorname != "SQLITE_BUSY":
                    raise LedgerError(file, *describe(error, file, _UNUSABLE)) from None
            register_fork_hooks(self)

    @property
    def is_ours(self) -> bool:
        return self._lock is not None

    def release(self) -> None:
        with fork_lock():
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def before_fork(self) -> None:
        """Do nothing: the parent keeps its lease."""

    def after_fork(self, *, in_child: bool) -> None:
        """Release the lease in the child: SQLite there would believe that it holds the parent's lock."""
        if in_child:
            self.release()


def _lock_path(path: str, backend: str) -> str:
    """Return the path of the lock file; a backend name with unsafe characters is replaced by a hash."""
    safe = _UNSAFE.sub("", backend)[:40]
    name = safe if safe == backend else f"{safe}-{blake2b(backend.encode(), digest_size=4).hexdigest()}"
    return f"{path}-{name}.lock"
