"""What loading users in bulk takes: against the floor, against the wire, again, and under a quota.

Each contestant runs in a new process on the first core, the sink on the last one; the contestants take turns, and the
medians over the rounds are told. Users are counted at the sink: distinct ones acknowledged, not calls made.
"""

import socket
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs

from benchmarks import users
from benchmarks.processes import Run, Sink, nginx, run, sink
from benchmarks.tables import Cell, Table, spread

Say: TypeAlias = Callable[[str], None]
Row: TypeAlias = dict[str, Cell]

LATENCY: Final = 0.05
CONNECTIONS: Final = 64
WINDOW: Final = 60.0


@attrs.frozen(kw_only=True)
class Sizes:
    """How much is measured.

    Attributes:
        users: Users loaded into Fullstory.
        many: Users for which memory is measured too.
        puts: Users sent to LogRocket one by one.
        slow_puts: The same at 50 ms latency.
        quota: Requests a minute that the sink allows.
        quota_minutes: How many minutes of that quota the users to send take.
        rounds: How often everything is measured.
    """

    users: int = 200_000
    many: int = 2_000_000
    puts: int = 50_000
    slow_puts: int = 12_800
    quota: int = 1_200
    quota_minutes: float = 2.5
    rounds: int = 5


QUICK: Final = Sizes(users=10_000, many=20_000, puts=2_000, slow_puts=1_280, quota=120, quota_minutes=1.25, rounds=2)


@attrs.frozen
class Bench:
    """Where the files are, how much is measured, and whom to tell about the progress."""

    folder: Path
    sizes: Sizes
    say: Say

    def file(self, count: int) -> str:
        """Return the path of a file of so many users."""
        return str(users.write(self.folder / f"users-{count}.jsonl", count))

    @contextmanager
    def ledger(self) -> Generator[str, None, None]:
        """Lend the path of a ledger that does not exist yet."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            yield f"{folder}/ledger.db"

    def rounds(self, measure: Callable[[], Mapping[str, Row]], what: str) -> list[Row]:
        """Measure all contestants in turn, several times, and return a row for each with the spread of its numbers."""
        found: list[Mapping[str, Row]] = []
        for number in range(self.sizes.rounds):
            self.say(f"{what}: round {number + 1} of {self.sizes.rounds}")
            found.append(measure())
        return [{"contestant": name, **_together([each[name] for each in found])} for name in found[0]]


def _together(rows: Sequence[Row]) -> Row:
    """Return one row of the spreads of numbers that differ, and of everything else as it was in the last round."""
    together: Row = {}
    for name, last in rows[-1].items():
        values = [row[name] for row in rows]
        numbers = [value for value in values if isinstance(value, int | float)]
        differ = len(numbers) == len(values) and len(set(numbers)) > 1
        together[name] = spread(numbers) if differ else last
    return together


def _row(taken: Run, count: int, **cells: Cell) -> Row:
    return {
        "users/s": count / taken.seconds,
        "CPU µs/user": taken.processor / count * 1e6,
        "peak MB": taken.peak,
        **cells,
    }


def _sent(taken: Run, target: Sink, count: int) -> Row:
    """Return what a contestant took until the last byte reached the sink, and which users the sink lacks."""
    stats = target.stats()
    until_sent = (stats["last"] or taken.ended) - taken.started
    return _row(
        taken,
        count,
        **{
            "users/s to last byte": count / until_sent,
            "lost": count - stats["distinct"],
            "twice": stats["users"] - stats["distinct"],
            "requests": sum(stats["requests"].values()),
            "429s": stats["refused"],
        },
    )


def fullstory(bench: Bench) -> Table:
    """Measure the load into a batch sink, ledger on, against parsing and serialising alone."""
    count = bench.sizes.users
    path = bench.file(count)

    def measure() -> Mapping[str, Row]:
        least = run("floor", path=path)
        rows = {"floor: orjson.loads + dumps": _row(least, count)}
        rows |= {name: _row(run(name, path=path), count) for name in ("reading", "planning")}
        with bench.ledger() as ledger, sink() as target:
            taken = run("ours_fullstory", path=path, url=target.url, ledger=ledger)
            rows["ours, ledger"] = _sent(taken, target, count)
        with sink() as target:
            rows["ready batches, bare httpx"] = _sent(run("bare_batches", path=path, url=target.url), target, count)
        return {name: {**row, "times the floor": _times(row, least, count)} for name, row in rows.items()}

    return Table(
        name="fullstory",
        title=f"(a) {count:,} users from JSON Lines into a Fullstory batch sink",
        rows=bench.rounds(measure, "fullstory"),
        note="users/s counts to the end of the call, the result of every user read. "
        "Ready batches show what the sink takes.",
    )


def _times(row: Row, least: Run, count: int) -> Cell:
    """Return how many times the floor's time a contestant took, until the last byte was sent where any was."""
    rate = row.get("users/s to last byte", row["users/s"])
    return count / rate / least.seconds if isinstance(rate, float) else None


def memory(bench: Bench) -> Table:
    """Measure the peak of memory at both sizes, once each, with the ledger."""
    rows: list[Row] = []
    for count in (bench.sizes.users, bench.sizes.many):
        path = bench.file(count)
        bench.say(f"memory: {count:,} users")
        with bench.ledger() as ledger, sink() as target:
            taken = run("ours_fullstory", path=path, url=target.url, ledger=ledger)
            size = sum(each.stat().st_size for each in Path(ledger).parent.iterdir()) / 1e6
            rows.append({"users": count, **_sent(taken, target, count), "ledger MB": size})
    return Table(name="memory", title="(a) Memory into a Fullstory batch sink, ledger on, one run each", rows=rows)


def logrocket(bench: Bench) -> Table:
    """Measure one PUT per user against nginx, with and without the ledger, against bare libcurl."""
    count = bench.sizes.puts
    path = bench.file(count)

    def one(contestant: str, ledger: str | None = None) -> Row:
        with nginx(_free_port()) as server:
            taken = run(contestant, path=path, url=server.url, ledger=ledger, connections=CONNECTIONS)
            paths, _ = server.stop()
        distinct = len(set(paths))
        return _row(taken, count, no_response=count - distinct, twice=len(paths) - distinct)

    def measure() -> Mapping[str, Row]:
        rows = {"ready requests, bare libcurl": one("bare_puts"), "ours, no ledger": one("ours_logrocket")}
        with bench.ledger() as ledger:
            rows["ours, ledger"] = one("ours_logrocket", ledger)
        return _shares(rows, "ready requests, bare libcurl", "share of bare libcurl")

    return Table(
        name="logrocket",
        title=f"(b) {count:,} users to LogRocket, one PUT each over {CONNECTIONS} connections, nginx answers at once",
        rows=bench.rounds(measure, "logrocket"),
    )


def _shares(rows: Mapping[str, Row], whole: str, column: str) -> Mapping[str, Row]:
    base = rows[whole]["users/s"]

    def share(row: Row) -> Cell:
        rate = row["users/s"]
        return rate / base if isinstance(rate, float) and isinstance(base, float) else None

    return {name: {**row, column: share(row)} for name, row in rows.items()}


def latency(bench: Bench) -> Table:
    """Measure the same where each answer takes 50 ms, against what that latency allows."""
    count = bench.sizes.slow_puts
    path = bench.file(count)
    allowed = CONNECTIONS / LATENCY

    def one(contestant: str, ledger: str | None = None) -> Row:
        with sink(latency=LATENCY) as target:
            taken = run(contestant, path=path, url=target.url, ledger=ledger, connections=CONNECTIONS)
            return {**_sent(taken, target, count), "share of allowed": count / taken.seconds / allowed}

    def measure() -> Mapping[str, Row]:
        with bench.ledger() as ledger:
            return {
                "ready requests, bare libcurl": one("bare_puts"),
                "ours, no ledger": one("ours_logrocket"),
                "ours, ledger": one("ours_logrocket", ledger),
            }

    title = f"(b) {count:,} users to LogRocket at 50 ms, {CONNECTIONS} connections: {allowed:,.0f}/s allowed"
    return Table(name="latency", title=title, rows=bench.rounds(measure, "latency"))


def again(bench: Bench) -> Table:
    """Measure a second run over the same unchanged file and ledger."""
    count = bench.sizes.users
    path = bench.file(count)

    def measure() -> Mapping[str, Row]:
        rows: dict[str, Row] = {}
        with bench.ledger() as ledger:
            for name in ("first run", "second run, nothing changed"):
                # A sink of its own, so that its requests are those of one run.
                with sink(port=port) as target:
                    taken = run("ours_fullstory", path=path, url=target.url, ledger=ledger)
                    stats: Mapping[str, Any] = target.stats()
                rows[name] = _row(taken, count, requests=sum(stats["requests"].values()), rejected=stats["refused"])
        return _shares(rows, "first run", "times as fast as the first")

    # A ledger may tell vendors apart by their address.
    port = _free_port()
    title = f"(c) The same {count:,} users again, unchanged, to Fullstory with the ledger"
    return Table(name="again", title=title, rows=bench.rounds(measure, "again"))


def quota(bench: Bench) -> Table:
    """Measure how much of a quota is used, and how many requests it refuses; once, since it takes minutes."""
    most = bench.sizes.quota
    count = int(most * bench.sizes.quota_minutes)
    path = bench.file(count)
    rows: list[Row] = []
    for name, told in (("ours, told the quota", most), ("ours, not told", None)):
        bench.say(f"quota: {name}")
        with bench.ledger() as ledger, sink(quota=most, window=WINDOW) as target:
            taken = run(
                "ours_logrocket", path=path, url=target.url, ledger=ledger, connections=CONNECTIONS, per_minute=told
            )
            stats = target.stats()
            minutes = (stats["last"] - stats["first"]) / 60
            rows.append(
                {
                    "contestant": name,
                    **_sent(taken, target, count),
                    "minutes": minutes,
                    "share of quota": stats["users"] / (minutes * most),
                }
            )
    return Table(
        name="quota",
        title=f"(d) {count:,} users to LogRocket at a sink of {most:,} requests in any {WINDOW:.0f} s",
        rows=rows,
        note="Share of quota: users acknowledged, over the quota times the minutes from the first request to the last. "
        "A first burst of a whole window is allowed, so that it may be over 1.",
    )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


MEASUREMENTS: Final[Mapping[str, Callable[[Bench], Table]]] = {
    each.__name__: each for each in (fullstory, memory, logrocket, latency, again, quota)
}
