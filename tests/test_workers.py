"""Threads that never stand in the way."""

import threading

import pytest

from replay_identity._threads import DaemonPool


def test_returns_what_the_call_returns() -> None:
    """A call's result comes back through its future."""
    assert DaemonPool[int]().submit(lambda: 42).result(30) == 42


def test_raises_what_the_call_raises() -> None:
    """A call's exception comes back through its future."""
    future = DaemonPool[int]().submit(lambda: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        future.result(30)


def test_never_makes_one_call_wait_for_another() -> None:
    """As many calls run at once as are submitted, so one that hangs holds up nobody."""
    workers = DaemonPool[bool]()
    together = threading.Barrier(20, timeout=30)

    futures = [workers.submit(lambda: together.wait() >= 0) for _ in range(20)]

    assert all(future.result(30) for future in futures)


def until_idle(workers: DaemonPool[int]) -> None:
    """Wait until a thread says that it is idle."""
    idle = workers._idle  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    assert idle.acquire(timeout=30)
    idle.release()


def test_uses_idle_threads_again() -> None:
    """One call after another takes one thread."""
    workers = DaemonPool[int]()

    threads: set[int] = set()
    for _ in range(20):
        threads.add(workers.submit(threading.get_ident).result(30))
        until_idle(workers)

    assert len(threads) == 1


def test_ends_its_threads_when_closed() -> None:
    """After close no thread stays behind."""
    workers = DaemonPool[threading.Thread]()
    threads = [workers.submit(threading.current_thread).result(30) for _ in range(3)]

    workers.close()

    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def test_does_not_keep_the_process_alive() -> None:
    """Its threads are daemons."""
    assert DaemonPool[threading.Thread]().submit(threading.current_thread).result(30).daemon


def test_starts_over_in_a_forked_child() -> None:
    """A child starts its own threads, since it does not inherit its parent's."""
    workers = DaemonPool[int]()
    parents = workers.submit(threading.get_ident).result(30)
    until_idle(workers)  # It would be used again.

    workers.after_fork(in_child=True)

    assert workers.submit(threading.get_ident).result(30) != parents


def test_has_the_caller_do_the_work_when_no_thread_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the interpreter shuts down no thread starts, and the call is made all the same."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert DaemonPool[int]().submit(threading.get_ident).result(0) == threading.get_ident()
