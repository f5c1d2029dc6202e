"""A lease per account at a vendor: one process delivers at a time, so that no other's requests overtake its own."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from .._forks import fork_lock, register_fork_hooks
from ..errors import LedgerError
from .files import create_if_missing, describe

_UNUSABLE: Final = ("the lock file next to the ledger cannot be used", "delete it if no process delivers")


@contextmanager
def take_lease(path: str, vendor_account: int) -> Generator[bool]:
    """Hold the lease on an account at a vendor for the ledger at *path*; yield False if it is held already.

    The lock is SQLite's own, on a file next to the ledger: it works on every platform and ends with the process.
    """
    lease = _Lease(f"{path}-{vendor_account}.lock")
    try:
        yield lease.is_ours
    finally:
        lease.release()


class _Lease:
    def __init__(self, file: str) -> None:
        self._lock: sqlite3.Connection | None = None
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
