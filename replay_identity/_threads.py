"""Daemon threads for the blocking router: created as needed, reused, and not waited for when the process exits."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeVar

import attrs

from ._forks import register_fork_hooks

T = TypeVar("T")

# Seconds after which an idle thread ends, so that a pool that nobody closed leaves none.
IDLE_S: Final = 10.0


@attrs.frozen(eq=False)
class _Call(Generic[T]):
    """One call in the context of its caller, and the future for its result."""

    future: Future[T]
    function: Callable[[], T]
    context: Context = attrs.field(factory=copy_context)

    def run(self) -> None:
        """Make the call and set the future's result or exception."""
        try:
            self.future.set_result(self.context.run(self.function))
        except BaseException as error:  # noqa: BLE001  # The future raises it.
            self.future.set_exception(error)


@attrs.define(eq=False)
class DaemonPool(Generic[T]):
    """Runs calls on daemon threads.

    A `concurrent.futures.ThreadPoolExecutor` would delay process exit until a vendor responds, has a fixed number of
    threads that one unresponsive vendor could occupy, and does not survive a fork.
    """

    _calls: "SimpleQueue[_Call[T] | None]" = attrs.field(factory=SimpleQueue["_Call[T] | None"])
    _idle: threading.Semaphore = attrs.field(factory=lambda: threading.Semaphore(0))
    _threads: int = 0
    _closed: bool = False
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        register_fork_hooks(self)

    def submit(self, function: Callable[[], T]) -> "Future[T]":
        """Call *function* on an idle or a new thread, with the caller's context variables, and return its future."""
        call = _Call(Future[T](), function)
        with self._lock:
            # Under the same lock as `close`, or a call could be queued behind the last thread's stop signal, and a new
            # thread would get none.
            is_closed = self._closed
            is_queued = not is_closed and self._idle.acquire(blocking=False)
            if is_queued:
                self._calls.put(call)
            elif not is_closed:
                self._threads += 1
        if is_closed:
            call.run()
        elif not is_queued:
            self._start(call)
        return call.future

    def _start(self, call: _Call[T]) -> None:
        try:
            threading.Thread(target=self._work, args=(call,), name="replay-identity", daemon=True).start()
        except RuntimeError:
            # No thread can be started, for example during interpreter shutdown, so the caller's thread does the work.
            with self._lock:
                self._threads -= 1
            call.run()

    def close(self) -> None:
        """Stop every thread once it is idle, without waiting. Later calls run on the thread that submits them."""
        with self._lock:
            self._closed = True
            for _ in range(self._threads):
                self._calls.put(None)
            self._threads = 0

    def before_fork(self) -> None:
        """Do nothing: the parent keeps its threads."""

    def after_fork(self, *, in_child: bool) -> None:
        """Start over in the child, which does not inherit its parent's threads."""
        if in_child:
            self._calls, self._idle, self._lock = SimpleQueue(), threading.Semaphore(0), threading.Lock()
            self._threads = 0

    def _work(self, call: "_Call[T] | None") -> None:
        while call is not None:
            call.run()
            del call  # An idle thread must not keep a user in memory.
            self._idle.release()
            call = self._next_call()

    def _next_call(self) -> "_Call[T] | None":
        """Return the next call for an idle thread, or None if the thread is to end."""
        try:
            return self._calls.get(timeout=IDLE_S)
        except Empty:
            with self._lock:
                if self._idle.acquire(blocking=False):
                    self._threads -= 1
                    return None
        # A call was queued for this thread in the meantime.
        return self._calls.get()
