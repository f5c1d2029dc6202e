"""Many requests at once without libcurl: a pool of threads with one blocking sender each."""

import threading
import time
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from queue import Empty, SimpleQueue
from typing import TypeAlias

import attrs

from .._forks import register_fork_hooks
from ..adapters.exchange import NoResponse, Request, Response
from .senders import Sender

# The id of a request, the request, the moment at which it times out and its context; None ends a thread.
_Task: TypeAlias = tuple[int, Request, float, Context] | None
_Result: TypeAlias = tuple[int, Response | Exception]


def _httpx_sender() -> Sender:
    from .httpx_sender import HttpxSender  # noqa: PLC0415  # As in runners.py.

    return HttpxSender()


@attrs.define(eq=False)
class ThreadSender:
    """Send many requests at once over as many blocking senders; not to be shared between threads.

    Attributes:
        connections: Maximum number of requests in flight; others wait, and the wait counts towards their timeout.
        new_sender: Returns a sender for one thread.
    """

    connections: int = 64
    new_sender: Callable[[], Sender] = _httpx_sender
    _tasks: SimpleQueue[_Task] = attrs.field(factory=SimpleQueue[_Task], init=False, repr=False)
    _results: SimpleQueue[_Result] = attrs.field(factory=SimpleQueue[_Result], init=False, repr=False)
    _threads: int = attrs.field(default=0, init=False, repr=False)
    _in_flight: int = attrs.field(default=0, init=False, repr=False)
    _is_closed: bool = attrs.field(default=False, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        register_fork_hooks(self)

    def submit(self, request_id: int, request: Request, timeout: float) -> None:
        """Start sending *request*; within *timeout* seconds `completed` returns its response under *request_id*."""
        self._in_flight += 1
        if self._is_closed:
            self._results.put((request_id, Response(0, no_response=NoResponse.CLOSED)))
            return
        self._tasks.put((request_id, request, time.monotonic() + timeout, copy_context()))
        if self._threads < min(self._in_flight, self.connections):
            self._start_thread()

    def completed(self, timeout: float) -> Sequence[tuple[int, Response]]:
        """Return request ids and responses that have arrived, waiting at most *timeout* seconds for the first one.

        Returns at once if no request is in flight.
        """
        done: list[tuple[int, Response]] = []
        wait = timeout if self._in_flight else 0.0
        try:
            while True:
                request_id, result = self._results.get(timeout=wait)
                self._in_flight -= 1
                if isinstance(result, Exception):
                    raise result
                done.append((request_id, result))
                wait = 0.0
        except Empty:
            return done

    def close(self) -> None:
        """Discard the responses to requests in flight; each thread frees its connections when its request ends."""
        self._is_closed = True
        # Waiting requests are not sent, and nothing here waits for a thread that waits for an unresponsive vendor.
        self._in_flight = 0
        tasks, self._tasks, self._results = self._tasks, SimpleQueue(), SimpleQueue()
        _discard_all(tasks)
        for _ in range(self._threads):
            tasks.put(None)

    def _start_thread(self) -> None:
        """Start a thread; if that is impossible, use those that run, or else send in the caller's thread."""
        work = (self.new_sender, self._tasks, self._results)
        try:
            threading.Thread(target=_work, args=work, daemon=True).start()
        except RuntimeError:  # Too many threads; or the interpreter exits, and since Python 3.12 starts none.
            if not self._threads:
                self._tasks.put(None)
                _work(*work)
        else:
            self._threads += 1

    def before_fork(self) -> None:
        """Do nothing: the parent keeps its threads."""

    def after_fork(self, *, in_child: bool) -> None:
        """Start over in the child: the threads, and the requests that they were sending, stay with the parent."""
        if in_child:
            self._tasks, self._results, self._threads, self._in_flight = SimpleQueue(), SimpleQueue(), 0, 0


def _discard_all(tasks: SimpleQueue[_Task]) -> None:
    try:
        while True:
            tasks.get_nowait()
    except Empty:
        return


def _work(new_sender: Callable[[], Sender], tasks: SimpleQueue[_Task], results: SimpleQueue[_Result]) -> None:
    sender = new_sender()
    while (task := tasks.get()) is not None:
        request_id, request, end, context = task
        remaining = end - time.monotonic()
        if remaining <= 0:
            results.put((request_id, Response(0, no_response=NoResponse.NOT_SENT)))
            continue
        try:
            results.put((request_id, context.run(sender.send, request, remaining)))
        except Exception as error:  # noqa: BLE001  # Raised again in the caller's thread.
            results.put((request_id, error))
    sender.close()
