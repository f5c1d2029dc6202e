"""One process at a time delivers to a backend: two could overtake each other on the way to the vendor."""

import re
import sqlite3
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from typing import Final

from ..errors import LedgerError
from .database import MEMORY

_UNSAFE: Final = re.compile("[^A-Za-z0-9_-]")


@contextmanager
def take_turn(path: str, backend: str) -> Generator[bool]:
    """Hold the right to deliver from the ledger at *path* to *backend*; yield False if another process has it.

    The lock is SQLite's own on a file beside the ledger: it works on every platform, and ends with the process.
    """
    if path == MEMORY:
        yield True
        return
    with ExitStack() as stack:
        try:
            lock = sqlite3.connect(_lock_path(path, backend), timeout=0, isolation_level=None)
            stack.callback(lock.close)
            lock.execute("BEGIN EXCLUSIVE")
            is_ours = True
        except sqlite3.Error as error:
            if error.sqlite_errorname != "SQLITE_BUSY":
                raise LedgerError(path, "cannot be locked", "check the permissions of its folder") from None
            is_ours = False
        yield is_ours


def _lock_path(path: str, backend: str) -> str:
    """Return the file to lock; a name that no file can have is told by its digest."""
    plain = _UNSAFE.sub("", backend)[:40]
    name = plain if plain == backend else f"{plain}-{blake2b(backend.encode(), digest_size=4).hexdigest()}"
    return f"{path}-{name}.lock"
