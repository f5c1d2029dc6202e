"""Threads for the blocking router: made as needed, kept for the next call, and never in the way of the exit."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Generic

import attrs

from .adapters.exchange import T


@attrs.frozen(eq=False)
class _Call(Generic[T]):
    """One call, and the future that tells its result."""

    future: Future[T]
    call: Callable[[], T]

    def run(self) -> None:
        """Make the call and keep its result, or what it raised."""
        try:
            self.future.set_result(self.call())
        except BaseException as error:  # noqa: BLE001  # It is the future's to tell.
            self.future.set_exception(error)


@attrs.define(eq=False)
class DaemonPool(Generic[T]):
    """Run calls on daemon threads.

    A `concurrent.futures.ThreadPoolExecutor` would have the process wait at its exit for a vendor that never answers,
    has a fixed number of threads that one dead vendor could fill, and is dead itself after a fork.
    """

    _tasks: "SimpleQueue[_Call[T] | None]" = attrs.field(factory=SimpleQueue["_Call[T] | None"])
    _idle: threading.Semaphore = attrs.field(factory=lambda: threading.Semaphore(0))
    _threads: int = 0
    _closed: bool = False
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _pid: int = attrs.field(factory=os.getpid)

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """Have *call* run on a thread of its own and return its future."""
        if self._pid != os.getpid():
            self._start_over()
        task = _Call(Future[T](), call)
        with self._lock:
            # Under one lock with close, or a task could be put behind the end of the last thread.
            reused = not self._closed and self._idle.acquire(blocking=False)
            if reused:
                self._tasks.put(task)
        if reused:
            return task.future
        if self._closed:
            task.run()
            return task.future
        try:
            threading.Thread(target=self._work, args=(task,), name="replay-identity", daemon=True).start()
        except RuntimeError:
            # No more threads are to be had, as while the interpreter shuts down: then the caller does the work.
            task.run()
        else:
            self._threads += 1
        return task.future

    def close(self) -> None:
        """End the threads as they fall idle; do not wait for them. Later calls are made by whoever submits them."""
        with self._lock:
            self._closed = True
            for _ in range(self._threads):
                self._tasks.put(None)
            self._threads = 0

    def _start_over(self) -> None:
        """Forget the parent's threads, which did not come along in the fork."""
        self._tasks, self._idle, self._lock = SimpleQueue(), threading.Semaphore(0), threading.Lock()
        self._threads, self._pid = 0, os.getpid()

    def _work(self, task: "_Call[T] | None") -> None:
        while task is not None:
            task.run()
            del task  # An idle thread holds no user.
            self._idle.release()
            task = self._tasks.get()
