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
from benchmarks.processes import MissingError, Run, Sink, run, sink
from benchmarks.tables import Cell, Table, summarize

Progress: TypeAlias = Callable[[str], None]
Row: TypeAlias = dict[str, Cell]

LATENCY: Final = 0.05
CONNECTIONS: Final = 64
WINDOW: Final = 60.0
CPU: Final = "CPU µs/user"
BASELINE: Final = "baseline: orjson.loads + dumps"
_HTTPX: Final = "bare httpx, finished batches"


@attrs.frozen(kw_only=True)
class Sizes:
    """The sizes of the benchmarks.

    Attributes:
        users: Number of users loaded into Fullstory.
        memory_users: Number of users of the second measurement of memory.
        growth_users: Number of users upserted into one ledger.
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
    growth_users: int = 1_000_000
    puts: int = 50_000
    slow_puts: int = 12_800
    quota: int = 1_200
    quota_minutes: float = 2.5
    input_rows: int = 1_000_000
    durable_calls: int = 20_000
    rounds: int = 5


MEDIUM: Final = Sizes(
    users=20_000,
    memory_users=100_000,
    growth_users=200_000,
    puts=10_000,
    slow_puts=6_400,
    quota=240,
    quota_minutes=1.25,
    input_rows=100_000,
    rounds=3,
)
QUICK: Final = Sizes(
    users=10_000,
    memory_users=20_000,
    growth_users=40_000,
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
    """What a benchmark is run with.

    Attributes:
        folder: The folder of the user files.
        sizes: The sizes.
        on_progress: Callback for progress messages.
        is_before: True if the library is an older one, which may lack something and is compared with a newer one.
    """

    folder: Path
    sizes: Sizes
    on_progress: Progress
    is_before: bool = False

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
        return [{"workload": name, **summarize([rows[name] for rows in rounds])} for name in rounds[0]]

    def measure(self, cases: Mapping[str, Callable[[], Row]]) -> dict[str, Row]:
        """Measure each case, except those that an older library lacks."""
        rows: dict[str, Row] = {}
        for name, measure_case in cases.items():
            try:
                rows[name] = measure_case()
            except MissingError:
                if not self.is_before:
                    raise
        return rows


def run_row(result: Run, count: int, **cells: Cell) -> Row:
    """Return the row of a workload over *count* users."""
    return {
        "users/s": count / result.seconds,
        CPU: result.cpu_seconds / count * 1e6,
        "peak MB": result.peak_mb,
        **cells,
    }


def sink_row(result: Run, server: Sink, count: int) -> Row:
    """Return the row of a workload with the counts of the sink."""
    stats = server.stats()
    until_last_byte = (stats["last"] or result.ended) - result.started
    return run_row(
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
    """Compare a load into the sink, with and without a ledger, with parsing and serialising the same rows."""
    count = bench.sizes.users
    path = bench.file(count)

    def sync(server: Sink, ledger: str | None) -> Row:
        return sink_row(run("sync_to_fullstory", path=path, url=server.url, ledger=ledger), server, count)

    def measure_with_ledger() -> Row:
        with bench.ledger() as ledger, sink() as server:
            return sync(server, ledger)

    def measure_without_ledger() -> Row:
        with sink() as server:
            return sync(server, None)

    def measure_httpx() -> Row:
        with sink() as server:
            return sink_row(run("httpx_batches", path=path, url=server.url), server, count)

    cases: Mapping[str, Callable[[], Row]] = {
        BASELINE: lambda: run_row(run("baseline", path=path), count),
        "read_users": lambda: run_row(run("read", path=path), count),
        "read_users + plan": lambda: run_row(run("read_and_plan", path=path), count),
        "sync, ledger": measure_with_ledger,
        "sync, no ledger": measure_without_ledger,
        _HTTPX: measure_httpx,
    }
    return Table(
        name="fullstory",
        title=f"(a) {count:,} users from JSON Lines into a Fullstory batch sink",
        rows=bench.rounds(lambda: _add_time_ratio(bench.measure(cases)), "fullstory"),
        note="users/s counts until the call returns, with the result of every user read. "
        "Finished batches with bare httpx are the speed limit of the sink.",
        ratios={CPU: BASELINE, "peak MB": BASELINE},
        floors=(BASELINE, _HTTPX),
    )


def _add_time_ratio(rows: Mapping[str, Row]) -> Mapping[str, Row]:
    """Return *rows* with the time until the last byte, or of the whole work, as a multiple of the baseline's."""
    rates = {name: row.get("users/s to last byte", row["users/s"]) for name, row in rows.items()}
    return {name: {**row, "time x baseline": divided(rates[BASELINE], rates[name])} for name, row in rows.items()}


def memory(bench: Bench) -> Table:
    """Measure the peak memory with a ledger at two sizes, once each."""
    rows: list[Row] = []
    for count in (bench.sizes.users, bench.sizes.memory_users):
        path = bench.file(count)
        bench.on_progress(f"memory: {count:,} users")
        with bench.ledger() as ledger, sink() as server:
            result = run("sync_to_fullstory", path=path, url=server.url, ledger=ledger)
            size = sum(file.stat().st_size for file in Path(ledger).parent.iterdir()) / 1e6
            row = sink_row(result, server, count)
        rows.append({"workload": f"sync, ledger, {count:,} users", **row, "ledger MB": size})
    baseline = run_row(run("baseline", path=bench.file(bench.sizes.users)), bench.sizes.users)
    return Table(
        name="memory",
        title="(a) Memory of a load into a Fullstory batch sink, with a ledger",
        rows=[{"workload": BASELINE, **baseline}, *rows],
        ratios={"peak MB": BASELINE},
        floors=(BASELINE,),
    )


def growth(bench: Bench) -> Table:
    """Compare the last quarter of the rows that are upserted into one ledger with the first quarter."""
    count = bench.sizes.growth_users
    path = bench.file(count)

    def measure() -> Mapping[str, Row]:
        baseline = run("baseline", path=path)
        with bench.ledger() as ledger:
            quarters = run("upsert", path=path, ledger=ledger).figures["quarters"]
        per_user = [baseline.cpu_seconds / count * 1e6, Path(path).stat().st_size / count]
        first: Sequence[float] = quarters[0]
        rows: dict[str, Sequence[float]] = {BASELINE: per_user, "upsert, first quarter": first}
        rows["upsert, last quarter"] = quarters[-1]
        return {
            name: {CPU: cpu, "bytes/user": size, "CPU x first": cpu / first[0], "bytes x first": size / first[1]}
            for name, (cpu, size) in rows.items()
        }

    return Table(
        name="growth",
        title=f"(a) {count:,} users upserted into one ledger: the last quarter beside the first",
        rows=bench.rounds(measure, "growth"),
        note="Bytes are those that the process passes to the system to write; those of the baseline are the file.",
        ratios={CPU: BASELINE, "bytes/user": BASELINE},
        floors=(BASELINE,),
    )


def rerun(bench: Bench) -> Table:
    """Compare a second run over the unchanged file, with the same ledger, with the first run."""
    count = bench.sizes.users
    path = bench.file(count)
    # The same port for every sink: a ledger knows an account by its URL, among others.
    port = free_port()

    def measure() -> Mapping[str, Row]:
        rows = {BASELINE: run_row(run("baseline", path=path), count)}
        with bench.ledger() as ledger:
            for name in ("first run", "second run, no changes"):
                # A new sink for each run, so that it counts the requests of this run only.
                with sink(port=port) as server:
                    result = run("sync_to_fullstory", path=path, url=server.url, ledger=ledger)
                    stats: Mapping[str, Any] = server.stats()
                rows[name] = run_row(
                    result, count, **{"requests": sum(stats["requests"].values()), "429s": stats["rate_limited"]}
                )
        return add_ratio(rows, "first run", column="speed-up")

    return Table(
        name="rerun",
        title=f"(c) The same {count:,} unchanged users to Fullstory again, with the ledger",
        rows=bench.rounds(measure, "rerun"),
        ratios={CPU: BASELINE},
        floors=(BASELINE,),
    )


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
                **sink_row(result, server, count),
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


def free_port() -> int:
    """Return a port of the loopback interface that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def add_ratio(rows: Mapping[str, Row], base_name: str, *, column: str, figure: str = "users/s") -> Mapping[str, Row]:
    """Return *rows* with each *figure* as a multiple of the one in row *base_name*."""
    base = rows[base_name][figure]
    return {name: {**row, column: divided(row[figure], base)} for name, row in rows.items()}


def divided(dividend: Cell, divisor: Cell) -> Cell:
    """Return a ratio, or None unless both cells are numbers."""
    return dividend / divisor if isinstance(dividend, int | float) and isinstance(divisor, int | float) else None


BENCHMARKS: Final[Mapping[str, Callable[[Bench], Table]]] = {
    benchmark.__name__: benchmark for benchmark in (fullstory, memory, growth, rerun, quota)
}
