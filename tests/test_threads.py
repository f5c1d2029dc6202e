"""A pool of daemon threads."""

import threading
import time
from contextvars import ContextVar, copy_context
from queue import Empty
from typing import Any

import pytest

from replay_identity import _threads
from replay_identity._threads import DaemonPool


def test_returns_the_result() -> None:
    """The future has it."""
    assert DaemonPool[int]().submit(lambda: 42).result(30) == 42


def test_raises_the_exception() -> None:
    """The future raises it."""
    future = DaemonPool[int]().submit(lambda: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        future.result(30)


def test_no_call_waits_for_another() -> None:
    """A call that hangs delays no other."""
    pool = DaemonPool[bool]()
    together = threading.Barrier(20, timeout=30)

    futures = [pool.submit(lambda: together.wait() >= 0) for _ in range(20)]

    assert all(future.result(30) for future in futures)


def test_a_call_has_its_callers_context() -> None:
    """Also on a thread that another caller's context started; what the call sets stays in it."""
    user = ContextVar("user", default="nobody")
    pool = DaemonPool[str]()

    def swap() -> str:
        before = user.get()
        user.set("changed")
        return before

    def call_as(name: str) -> str:
        user.set(name)
        return pool.submit(swap).result(30)

    assert [copy_context().run(call_as, name) for name in ("ann", "bob")] == ["ann", "bob"]
    assert pool.submit(swap).result(30) == "nobody"
    assert user.get() == "nobody"
    pool.close()
    assert copy_context().run(call_as, "eve") == "eve"


def wait_until_idle(pool: DaemonPool[int]) -> None:
    """Wait until a thread is idle."""
    idle = pool._idle  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    assert idle.acquire(timeout=30)
    idle.release()


def test_reuses_idle_threads() -> None:
    """Sequential calls need one thread."""
    pool = DaemonPool[int]()

    threads: set[int] = set()
    for _ in range(20):
        threads.add(pool.submit(threading.get_ident).result(30))
        wait_until_idle(pool)

    assert len(threads) == 1


def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that is never closed leaves no thread, and starts another when it needs one."""
    monkeypatch.setattr(_threads, "IDLE_S", 0.01)
    pool = DaemonPool[threading.Thread]()

    for _ in range(2):
        thread = pool.submit(threading.current_thread).result(30)
        thread.join(30)
        assert not thread.is_alive()

    pool.close()


def test_an_idle_thread_takes_a_call_that_was_queued_late() -> None:
    """A call may be queued for a thread that has just stopped to wait."""
    pool = DaemonPool[int]()
    queue = pool._calls  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    class LateQueue:
        """A queue whose first wait ends without the call that is already in it."""

        waits = 0

        def put(self, call: Any) -> None:
            """Queue a call."""
            queue.put(call)

        def get(self, timeout: float | None = None) -> Any:
            """Return the next call, unless this is the first wait with a timeout."""
            if timeout is not None and not self.waits:
                self.waits = 1
                while queue.empty():
                    time.sleep(0.001)
                raise Empty
            return queue.get(timeout=timeout)

    late: Any = LateQueue()
    pool._calls = late  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    assert pool.submit(lambda: 1).result(30) == 1
    idle = pool._idle  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    assert idle.acquire(timeout=30)
    idle.release()

    assert pool.submit(lambda: 2).result(30) == 2
    pool.close()


def test_close_stops_the_threads() -> None:
    """No thread is left."""
    pool = DaemonPool[threading.Thread]()
    threads = [pool.submit(threading.current_thread).result(30) for _ in range(3)]

    pool.close()

    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def test_does_not_keep_the_process_alive() -> None:
    """The threads are daemons."""
    assert DaemonPool[threading.Thread]().submit(threading.current_thread).result(30).daemon


def test_starts_over_in_a_forked_child() -> None:
    """A child starts its own threads, because it has none of its parent's."""
    pool = DaemonPool[int]()
    parents = pool.submit(threading.get_ident).result(30)
    wait_until_idle(pool)  # Otherwise the child would have no idle thread to reuse.

    pool.after_fork(in_child=True)

    assert pool.submit(threading.get_ident).result(30) != parents


def test_runs_in_the_caller_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """During interpreter shutdown no thread can start, and the call is still made."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert DaemonPool[int]().submit(threading.get_ident).result(0) == threading.get_ident()
