"""Fork hooks for resources that must not be shared with a child process.

A child would inherit SQLite's locks and corrupt data, and would interleave its requests with its parent's on the same
connections.
"""

import os
import threading
from contextlib import AbstractContextManager
from functools import partial
from typing import Final, Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """A resource that is released during a fork."""

    def before_fork(self) -> None:
        """Release the resource, and block its users until `after_fork`."""
        ...

    def after_fork(self, *, in_child: bool) -> None:
        """Let its users continue; a child gets the resource without what belongs to its parent, such as threads."""
        ...


_registered: Final[WeakSet[Forkable]] = WeakSet()
# Strong references during a fork, so that before_fork and after_fork see the same resources.
_forking: Final[list[Forkable]] = []
_lock: Final = threading.RLock()


def fork_lock() -> AbstractContextManager[object]:
    """Return a lock that delays forks while it is held; hold it only briefly."""
    return _lock


def register_fork_hooks(resource: Forkable) -> None:
    """Call the hooks of *resource* at every fork, for as long as it lives."""
    with _lock:
        _registered.add(resource)


def _before() -> None:
    _lock.acquire()
    _forking.extend(_registered)
    for resource in _forking:
        resource.before_fork()


def _after(*, in_child: bool) -> None:
    for resource in _forking:
        resource.after_fork(in_child=in_child)
    _forking.clear()
    _lock.release()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows has no fork.
    os.register_at_fork(
        before=_before,
        after_in_parent=partial(_after, in_child=False),
        after_in_child=partial(_after, in_child=True),
    )
