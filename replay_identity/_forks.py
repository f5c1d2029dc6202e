"""Some things may not cross a fork.

Of SQLite a child would take the locks of its parent for its own, and lose data; on connections it would speak between
its parent's requests.
"""

import os
import threading
from contextlib import AbstractContextManager
from typing import Final, Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """What lets go of something at a fork."""

    def before_fork(self) -> None:
        """Let go, and keep everyone waiting until `after_fork`."""
        ...

    def after_fork(self) -> None:
        """Let everyone go on, in the parent and in the child."""
        ...


_watched: Final[WeakSet[Forkable]] = WeakSet()
_letting_go: Final[list[Forkable]] = []
_lock: Final = threading.RLock()


def fork_lock() -> AbstractContextManager[object]:
    """Let no fork happen meanwhile; for work that is done in a moment."""
    return _lock


def register_fork_hooks(one: Forkable) -> None:
    """Tell *one* of every fork, for as long as it lives."""
    with _lock:
        _watched.add(one)


def _before() -> None:
    _lock.acquire()
    _letting_go.extend(_watched)
    for one in _letting_go:
        one.before_fork()


def _after() -> None:
    for one in _letting_go:
        one.after_fork()
    _letting_go.clear()
    _lock.release()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows knows no forks.
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
