"""Many requests at once without libcurl: one thread with a blocking sender for each connection."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TypeAlias

import attrs

from ..adapters.exchange import NoResponse, Request, Response
from .senders import Sender

# A request with its ticket and the moment its time is over; None sends the thread home.
Task: TypeAlias = tuple[int, Request, float] | None
Answer: TypeAlias = tuple[int, Response | Exception]


def _own_sender() -> Sender:
    from .httpx_sender import HttpxSender  # noqa: PLC0415  # As in runners.py.

    return HttpxSender()


@attrs.define(eq=False)
class ThreadSender:
    """Send many requests at once over as many blocking senders; not to be shared between threads.

    Attributes:
        connections: Requests in flight at most; the others wait, and their waiting counts.
        new_sender: Makes the sender of one thread.
    """

    connections: int = 64
    new_sender: Callable[[], Sender] = _own_sender
    _tasks: SimpleQueue[Task] = attrs.field(factory=SimpleQueue[Task], init=False, repr=False)
    _answers: SimpleQueue[Answer] = attrs.field(factory=SimpleQueue[Answer], init=False, repr=False)
    _threads: int = attrs.field(default=0, init=False, repr=False)
    _under_way: int = attrs.field(default=0, init=False, repr=False)
    _process: int = attrs.field(factory=os.getpid, init=False, repr=False)
    _is_closed: bool = attrs.field(default=False, init=False, repr=False)

    def _be_in_this_process(self) -> None:
        if self._process != os.getpid():
            # A fork leaves the threads, and what they were doing, to the parent.
            self._tasks, self._answers, self._threads, self._under_way = SimpleQueue(), SimpleQueue(), 0, 0
            self._process = os.getpid()

    def submit(self, request_id: int, request: Request, timeout: float) -> None:
        """Begin to send *request*, whose reply comes back under *request_id* within *timeout* seconds."""
        self._be_in_this_process()
        self._under_way += 1
        if self._is_closed:
            self._answers.put((request_id, Response(0, no_response=NoResponse.STOPPED)))
            return
        self._tasks.put((request_id, request, time.monotonic() + timeout))
        if self._threads < min(self._under_way, self.connections):
            self._threads += 1
            threading.Thread(target=_work, args=(self.new_sender, self._tasks, self._answers), daemon=True).start()

    def completed(self, timeout: float) -> Sequence[tuple[int, Response]]:
        """Return the replies that are in, with their tickets; wait at most *timeout* seconds for the first one.

        With no request under way it returns at once.
        """
        self._be_in_this_process()
        done: list[tuple[int, Response]] = []
        wait = timeout if self._under_way else 0.0
        try:
            while True:
                request_id, answer = self._answers.get(timeout=wait)
                self._under_way -= 1
                if isinstance(answer, Exception):
                    raise answer
                done.append((request_id, answer))
                wait = 0.0
        except Empty:
            return done

    def close(self) -> None:
        """Free the connections, each as soon as its thread is done; requests under way lose their answers."""
        self._be_in_this_process()
        self._is_closed = True
        # What still waits is not begun, and nobody waits for a thread that waits for a dead vendor.
        self._under_way = 0
        tasks, self._tasks, self._answers = self._tasks, SimpleQueue(), SimpleQueue()
        _empty(tasks)
        for _ in range(self._threads):
            tasks.put(None)


def _empty(tasks: SimpleQueue[Task]) -> None:
    try:
        while True:
            tasks.get_nowait()
    except Empty:
        return


def _work(new_sender: Callable[[], Sender], tasks: SimpleQueue[Task], answers: SimpleQueue[Answer]) -> None:
    """Send one request after another until sent home."""
    sender = new_sender()
    while (task := tasks.get()) is not None:
        request_id, request, until = task
        left = until - time.monotonic()
        try:
            answers.put(
                (request_id, sender.send(request, left) if left > 0 else Response(0, no_response=NoResponse.NOT_SENT))
            )
        except Exception as error:  # noqa: BLE001  # Raised again in the caller's thread.
            answers.put((request_id, error))
    sender.close()
