"""The speed and the memory of bulk loads: compared with baselines, repeated, at a high latency and under a quota.

Each workload runs in a new process on the first core, and the server on the last one. The workloads alternate, and the
results are medians over the rounds. Users are counted at the server: distinct acknowledged users, not calls.
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

Progress: TypeAlias = Callable[[str], None]
Row: TypeAlias = dict[str, Cell]

LATENCY: Final = 0.05
CONNECTIONS: Final = 64
WINDOW: Final = 60.0
_LIBCURL: Final = "bare libcurl, finished requests"


@attrs.frozen(kw_only=True)
class Sizes:
    """The sizes of the benchmarks.

    Attributes:
        users: Number of users loaded into Fullstory.
        memory_users: Number of users of the second measurement of memory.
        puts: Number of users sent to LogRocket.
        slow_puts: Number of users sent to LogRocket at 50 ms latency.
        quota: Requests a minute that the sink allows.
        quota_minutes: Number of users sent under the quota, as minutes of the quota.
        input_rows: Number of rows that are read from files and frames.
        durable_calls: Number of calls of `DurableRouter.identify`.
        rounds: Number of rounds of each benchmark.
    """

    users: int = 200_000
    memory_users: int = 2_000_000
    puts: int = 50_000
    slow_puts: int = 12_800
    quota: int = 1_200
    quota_minutes: float = 2.5
    input_rows: int = 1_000_000
    durable_calls: int = 20_000
    rounds: int = 5


QUICK: Final = Sizes(
    users=10_000,
    memory_users=20_000,
    puts=2_000,
    slow_puts=1_280,
    quota=120,
    quota_minutes=1.25,
    input_rows=20_000,
    durable_calls=1_000,
    rounds=2,
)


@attrs.frozen
class Bench:
    """The folder of the user files, the sizes, and the callback for progress messages."""

    folder: Path
    sizes: Sizes
    on_progress: Progress

    def file(self, count: int) -> str:
        """Return the path of a file with *count* users."""
        return str(users.write(self.folder / f"users-{count}.jsonl", count))

    @contextmanager
    def ledger(self) -> Generator[str, None, None]:
        """Yield a path for a new ledger, which is deleted at the end."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            yield f"{folder}/ledger.db"

    def rounds(self, measure: Callable[[], Mapping[str, Row]], benchmark: str) -> list[Row]:
        """Measure all workloads in each round, and return one row of spreads for each workload."""
        rounds: list[Mapping[str, Row]] = []
        for number in range(self.sizes.rounds):
            self.on_progress(f"{benchmark}: round {number + 1} of {self.sizes.rounds}")
            rounds.append(measure())
        return [{"workload": name, **_summarize([rows[name] for rows in rounds])} for name in rounds[0]]


def _summarize(rows: Sequence[Row]) -> Row:
    """Return one row with the spreads of numbers that differ; other cells are taken from the last row."""
    summary: Row = {}
    for name, last in rows[-1].items():
        values = [row[name] for row in rows]
        numbers = [value for value in values if isinstance(value, int | float)]
        differ = len(numbers) == len(values) and len(set(numbers)) > 1
        summary[name] = spread(numbers) if differ else last
    return summary


def _row(result: Run, count: int, **cells: Cell) -> Row:
    return {
        "users/s": count / result.seconds,
        "CPU µs/user": result.cpu_seconds / count * 1e6,
        "peak MB": result.peak_mb,
        **cells,
    }


def _sink_row(result: Run, server: Sink, count: int) -> Row:
    """Return the row of a workload with the counts of the sink."""
    stats = server.stats()
    until_last_byte = (stats["last"] or result.ended) - result.started
    return _row(
        result,
        count,
        **{
            "users/s to last byte": count / until_last_byte,
            "lost": count - stats["distinct"],
            "duplicates": stats["users"] - stats["distinct"],
            "requests": sum(stats["requests"].values()),
            "429s": stats["rate_limited"],
        },
    )


def fullstory(bench: Bench) -> Table:
    """Compare a load into the sink, with a ledger, with parsing and serialising the same rows."""
    count = bench.sizes.users
    path = bench.file(count)

    def measure() -> Mapping[str, Row]:
        baseline = run("baseline", path=path)
        rows = {
            "baseline: orjson.loads + dumps": _row(baseline, count),
            "read_users": _row(run("read", path=path), count),
            "read_users + plan": _row(run("read_and_plan", path=path), count),
        }
        with bench.ledger() as ledger, sink() as server:
            result = run("sync_to_fullstory", path=path, url=server.url, ledger=ledger)
            rows["sync, ledger"] = _sink_row(result, server, count)
        with sink() as server:
            result = run("httpx_batches", path=path, url=server.url)
            rows["bare httpx, finished batches"] = _sink_row(result, server, count)
        return {name: {**row, "ratio to baseline": _ratio(row, baseline, count)} for name, row in rows.items()}

    return Table(
        name="fullstory",
        title=f"(a) {count:,} users from JSON Lines into a Fullstory batch sink",
        rows=bench.rounds(measure, "fullstory"),
        note="users/s counts until the call returns, with the result of every user read. "
        "Finished batches with bare httpx are the speed limit of the sink.",
    )


def _ratio(row: Row, baseline: Run, count: int) -> Cell:
    """Return the time until the last byte was sent, or of the whole work, as a multiple of the baseline's."""
    rate = row.get("users/s to last byte", row["users/s"])
    return count / rate / baseline.seconds if isinstance(rate, float) else None


def memory(bench: Bench) -> Table:
    """Measure the peak memory with a ledger at two sizes, once each."""
    rows: list[Row] = []
    for count in (bench.sizes.users, bench.sizes.memory_users):
        path = bench.file(count)
        bench.on_progress(f"memory: {count:,} users")
        with bench.ledger() as ledger, sink() as server:
            result = run("sync_to_fullstory", path=path, url=server.url, ledger=ledger)
            size = sum(file.stat().st_size for file in Path(ledger).parent.iterdir()) / 1e6
            rows.append({"users": count, **_sink_row(result, server, count), "ledger MB": size})
    return Table(name="memory", title="(a) Memory of a load into a Fullstory batch sink, with a ledger", rows=rows)


def logrocket(bench: Bench) -> Table:
    """Compare one PUT per user, with and without a ledger, with bare libcurl; nginx responds."""
    count = bench.sizes.puts
    path = bench.file(count)

    def measure_once(workload: str, ledger: str | None = None) -> Row:
        with nginx(_free_port()) as server:
            result = run(workload, path=path, url=server.url, ledger=ledger, connections=CONNECTIONS)
            paths, _ = server.stop()
        distinct = len(set(paths))
        return _row(result, count, lost=count - distinct, duplicates=len(paths) - distinct)

    return Table(
        name="logrocket",
        title=f"(b) {count:,} users to LogRocket, one PUT each over {CONNECTIONS} connections to nginx",
        rows=bench.rounds(lambda: _add_share(_logrocket_rows(bench, measure_once)), "logrocket"),
    )


def logrocket_latency(bench: Bench) -> Table:
    """Compare the same at a latency of 50 ms with the rate that this latency allows."""
    count = bench.sizes.slow_puts
    path = bench.file(count)
    max_rate = CONNECTIONS / LATENCY

    def measure_once(workload: str, ledger: str | None = None) -> Row:
        with sink(latency=LATENCY) as server:
            result = run(workload, path=path, url=server.url, ledger=ledger, connections=CONNECTIONS)
            return {**_sink_row(result, server, count), "share of maximum": count / result.seconds / max_rate}

    return Table(
        name="logrocket_latency",
        title=f"(b) {count:,} users to LogRocket at 50 ms over {CONNECTIONS} connections, maximum {max_rate:,.0f}/s",
        rows=bench.rounds(lambda: _logrocket_rows(bench, measure_once), "logrocket_latency"),
    )


def _logrocket_rows(bench: Bench, measure_once: Callable[[str, str | None], Row]) -> Mapping[str, Row]:
    with bench.ledger() as ledger:
        return {
            _LIBCURL: measure_once("pycurl_puts", None),
            "sync, no ledger": measure_once("sync_to_logrocket", None),
            "sync, ledger": measure_once("sync_to_logrocket", ledger),
        }


def _add_share(rows: Mapping[str, Row]) -> Mapping[str, Row]:
    return _add_ratio(rows, _LIBCURL, column="share of bare libcurl")


def _add_ratio(rows: Mapping[str, Row], base_name: str, *, column: str) -> Mapping[str, Row]:
    """Return *rows* with each rate as a multiple of the rate in row *base_name*."""
    base = rows[base_name]["users/s"]

    def ratio(row: Row) -> Cell:
        rate = row["users/s"]
        return rate / base if isinstance(rate, float) and isinstance(base, float) else None

    return {name: {**row, column: ratio(row)} for name, row in rows.items()}


def rerun(bench: Bench) -> Table:
    """Compare a second run over the unchanged file, with the same ledger, with the first run."""
    count = bench.sizes.users
    path = bench.file(count)
    # The same port for every sink: a ledger knows an account by its URL, among others.
    port = _free_port()

    def measure() -> Mapping[str, Row]:
        rows: dict[str, Row] = {}
        with bench.ledger() as ledger:
            for name in ("first run", "second run, no changes"):
                # A new sink for each run, so that it counts the requests of this run only.
                with sink(port=port) as server:
                    result = run("sync_to_fullstory", path=path, url=server.url, ledger=ledger)
                    stats: Mapping[str, Any] = server.stats()
                rows[name] = _row(
                    result, count, **{"requests": sum(stats["requests"].values()), "429s": stats["rate_limited"]}
                )
        return _add_ratio(rows, "first run", column="speed-up")

    title = f"(c) The same {count:,} unchanged users to Fullstory again, with the ledger"
    return Table(name="rerun", title=title, rows=bench.rounds(measure, "rerun"))


def quota(bench: Bench) -> Table:
    """Measure how much of a quota is used and how many requests exceed it; once, because it takes minutes."""
    max_requests = bench.sizes.quota
    count = int(max_requests * bench.sizes.quota_minutes)
    path = bench.file(count)

    def measure_once(name: str, per_minute: int | None) -> Row:
        bench.on_progress(f"quota: {name}")
        with bench.ledger() as ledger, sink(quota=max_requests, window=WINDOW) as server:
            result = run(
                "sync_to_logrocket",
                path=path,
                url=server.url,
                ledger=ledger,
                connections=CONNECTIONS,
                per_minute=per_minute,
            )
            stats = server.stats()
            minutes = (stats["last"] - stats["first"]) / 60
            share = stats["users"] / (minutes * max_requests)
            return {
                "workload": name,
                **_sink_row(result, server, count),
                "minutes": minutes,
                "share of quota": share,
            }

    return Table(
        name="quota",
        title=f"(d) {count:,} users to LogRocket with a quota of {max_requests:,} requests in any {WINDOW:.0f} s",
        rows=[
            measure_once("sync, requests_per_minute set", max_requests),
            measure_once("sync, requests_per_minute not set", None),
        ],
        note="Share of quota: acknowledged users, divided by the quota from the first to the last request. "
        "The sink allows a first burst of a whole window, so the share may exceed 1.",
    )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


BENCHMARKS: Final[Mapping[str, Callable[[Bench], Table]]] = {
    benchmark.__name__: benchmark for benchmark in (fullstory, memory, logrocket, logrocket_latency, rerun, quota)
}
