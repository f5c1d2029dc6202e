"""`DurableRouter.identify` in 1, 8 and 32 threads, beside bare SQLite inserts that each commit on their own.

Both return once the user is on disk. They take turns in one process, each with a new file per round. The inserts share
one connection under a lock, which is faster than a connection per thread, and write the bytes of one user each.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Final, TypeAlias

import attrs
import orjson

from benchmarks.bulk import Bench, Row
from benchmarks.calls import FLAT
from benchmarks.tables import Table
from replay_identity import DurableRouter, Fullstory, LogRocket, UserTraits

THREADS: Final = (1, 8, 32)
_PRAGMAS: Final = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL")

# Stores the user of that number.
Store: TypeAlias = Callable[[int], None]
Contestant: TypeAlias = Callable[[Path], AbstractContextManager[Store]]


@attrs.frozen
class Latencies:
    """The time that some calls took together, and the time of each, in seconds."""

    elapsed: float
    sorted_times: Sequence[float]

    @property
    def rate(self) -> float:
        """Return the calls per second."""
        return len(self.sorted_times) / self.elapsed

    def milliseconds(self, share: float) -> float:
        """Return the time that this *share* of the calls took at most, in milliseconds."""
        return 1000 * self.sorted_times[int(share * (len(self.sorted_times) - 1))]


def durable(bench: Bench) -> Table:
    """Measure each number of threads."""

    def measure() -> dict[str, Row]:
        return {f"{count} thread{'s' * (count > 1)}": _compare(bench, count) for count in THREADS}

    rows = bench.rounds(measure, "durable")
    note = f"{bench.sizes.durable_calls:,} calls per number of threads; nothing is delivered meanwhile."
    title = "DurableRouter.identify beside bare inserts"
    return Table(name="durable", title=title, rows=rows, note=note, ratios={"time x bare inserts": None})


@contextmanager
def router(path: Path) -> Generator[Store]:
    """Yield a function that identifies a user to both vendors."""
    backends = Fullstory("na1.key"), LogRocket("org:app:secret")
    with DurableRouter(backends, ledger=path, deliver=False) as durable_router:
        yield lambda number: durable_router.identify(UserTraits(f"usr_{number:07}", name="Ann", traits=FLAT))


@contextmanager
def bare_inserts(path: Path) -> Generator[Store]:
    """Yield a function that inserts a user with a commit of its own."""
    encoded, lock = orjson.dumps(FLAT), threading.Lock()
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        connection.execute("CREATE TABLE users (id TEXT PRIMARY KEY, encoded BLOB) WITHOUT ROWID")

        def insert(number: int) -> None:
            with lock:
                connection.execute("INSERT INTO users VALUES (?, ?)", (f"usr_{number:07}", encoded))

        yield insert


def timed(contestant: Contestant, path: Path, threads: int, calls: int) -> Latencies:
    """Make *calls* calls in that many *threads* at once."""
    times: list[float] = []
    with contestant(path) as store:

        def work(first: int) -> None:
            own: list[float] = []
            for number in range(first, calls, threads):
                started = time.perf_counter()
                store(number)
                own.append(time.perf_counter() - started)
            times.extend(own)

        workers = [threading.Thread(target=work, args=(first,)) for first in range(threads)]
        started = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        elapsed = time.perf_counter() - started
    return Latencies(elapsed, sorted(times))


def _compare(bench: Bench, threads: int) -> Row:
    results: list[Latencies] = []
    for contestant in (router, bare_inserts):
        with bench.ledger() as path:
            results.append(timed(contestant, Path(path), threads, bench.sizes.durable_calls))
    ours, bare = results
    return {
        "calls/s": ours.rate,
        "p50 ms": ours.milliseconds(0.5),
        "p99 ms": ours.milliseconds(0.99),
        "time x bare inserts": bare.rate / ours.rate,
        "bare inserts/s": bare.rate,
        "bare p50 ms": bare.milliseconds(0.5),
        "bare p99 ms": bare.milliseconds(0.99),
    }
