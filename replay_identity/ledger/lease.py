"""One process at a time delivers to a backend: two could overtake each other on the way to the vendor."""

import os
import re
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Final

from .._forks import fork_lock, register_fork_hooks
from ..errors import LedgerError
from .database import MEMORY

_UNSAFE: Final = re.compile("[^A-Za-z0-9_-]")


@contextmanager
def take_lease(path: str, backend: str) -> Generator[bool]:
    """Hold the right to deliver from the ledger at *path* to *backend*; yield False if another process has it.

    The lock is SQLite's own on a file beside the ledger: it works on every platform, and ends with the process.
    """
    if path == MEMORY:
        yield True
        return
    turn = _Lease(path, backend)
    try:
        yield turn.is_ours
    finally:
        turn.end()


class _Lease:
    """The lock, if nobody else has it; a forked child lets go of it, for it is the parent's."""

    def __init__(self, path: str, backend: str) -> None:
        self._pid = os.getpid()
        self._lock: sqlite3.Connection | None = None
        with fork_lock():
            try:
                self._lock = sqlite3.connect(
                    _lock_path(path, backend), timeout=0, isolation_level=None, check_same_thread=False
                )
                self._lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.Error as error:
                self.end()
                if error.sqlite_errorname != "SQLITE_BUSY":
                    raise LedgerError(path, "cannot be locked", "check the permissions of its folder") from None
            register_fork_hooks(self)

    @property
    def is_ours(self) -> bool:
        """Tell whether this process has the lock."""
        return self._lock is not None

    def end(self) -> None:
        """Let go."""
        with fork_lock():
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def before_fork(self) -> None:
        """Do nothing: the parent keeps its turn."""

    def after_fork(self) -> None:
        """Let go in the child; SQLite there would take the lock of the parent for its own, even after its end."""
        if os.getpid() != self._pid:
            self.end()


def _lock_path(path: str, backend: str) -> str:
    """Return the file to lock; a name that no file can have is told by its digest."""
    plain = _UNSAFE.sub("", backend)[:40]
    name = plain if plain == backend else f"{plain}-{blake2b(backend.encode(), digest_size=4).hexdigest()}"
    return f"{path}-{name}.lock"
