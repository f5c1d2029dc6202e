"""Run a function in forked children."""

import multiprocessing
import os
import signal
from collections.abc import Callable


def in_children(call: Callable[[], int], *, count: int) -> list[int]:
    """Return what *call* returns in each of *count* children, or -1 for a child that does not respond."""
    results: list[int] = []
    for _ in range(count):
        reader, writer = multiprocessing.Pipe(duplex=False)
        child = os.fork()
        if child == 0:
            writer.send(call())
            os._exit(0)
        if reader.poll(30):
            results.append(reader.recv())
        else:
            results.append(-1)
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return results
