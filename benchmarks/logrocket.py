"""The speed of one PUT per user to LogRocket, beside bare libcurl that sends the same requests, already finished.

The servers: nginx with a short response, a sink that responds with the user as LogRocket does, the same sink at 2,000
responses a second, and the same at a latency of 50 ms.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Final, TypeAlias

from benchmarks.bulk import CONNECTIONS, CPU, LATENCY, Bench, Row, add_ratio, free_port, run_row, sink_row
from benchmarks.processes import Nginx, Run, nginx, run, sink
from benchmarks.tables import Table

# Responses a second of a vendor that is busy.
PACE: Final = 2_000
_LIBCURL: Final = "bare libcurl, finished requests"
_WORKLOADS: Final = {
    _LIBCURL: ("pycurl_puts", False),
    "sync, no ledger": ("sync_to_logrocket", False),
    "sync, ledger": ("sync_to_logrocket", True),
}

RowOf: TypeAlias = Callable[[Run], Row]


def logrocket(bench: Bench) -> Table:
    """Compare with bare libcurl at nginx, whose responses are short."""
    count = bench.sizes.puts

    @contextmanager
    def serve() -> Generator[tuple[str, RowOf]]:
        with nginx(free_port()) as server:
            yield server.url, lambda result: _nginx_row(result, server, count)

    return Table(
        name="logrocket",
        title=f"(b) {count:,} users to LogRocket, one PUT each over {CONNECTIONS} connections to nginx",
        rows=bench.rounds(lambda: _add_ratios(_measure(bench, count, serve)), "logrocket"),
        ratios={CPU: _LIBCURL},
        floors=(_LIBCURL,),
    )


def logrocket_echo(bench: Bench) -> Table:
    """Compare with bare libcurl at a sink that responds with the user, as LogRocket does."""
    count = bench.sizes.puts
    return Table(
        name="logrocket_echo",
        title=f"(b) {count:,} users to LogRocket, one PUT each, answered with the user",
        rows=bench.rounds(lambda: _add_ratios(_measure(bench, count, lambda: _serve(count))), "logrocket_echo"),
        note="The sink takes about as long for a user as bare libcurl, so read the CPU time. "
        "Bare libcurl does not parse the responses.",
        ratios={CPU: _LIBCURL},
        floors=(_LIBCURL,),
    )


def logrocket_busy(bench: Bench) -> Table:
    """Compare a vendor that responds to 2,000 requests a second, one after another, with the same at full speed."""
    count = bench.sizes.slow_puts

    def measure() -> Mapping[str, Row]:
        fast = _measure(bench, count, lambda: _serve(count))
        busy = _measure(bench, count, lambda: _serve(count, per_second=PACE))
        return {
            **add_ratio(fast, _LIBCURL, column="CPU x libcurl", figure=CPU),
            **{f"{name}, busy vendor": _add_ratio_to(row, fast[name]) for name, row in busy.items()},
        }

    return Table(
        name="logrocket_busy",
        title=f"(b) {count:,} users to LogRocket at {PACE:,} responses a second, beside as many as it takes",
        rows=bench.rounds(measure, "logrocket_busy"),
        ratios={CPU: _LIBCURL},
        floors=(_LIBCURL, f"{_LIBCURL}, busy vendor"),
    )


def logrocket_latency(bench: Bench) -> Table:
    """Compare the same at a latency of 50 ms with the rate that this latency allows."""
    count = bench.sizes.slow_puts
    max_rate = CONNECTIONS / LATENCY

    def measure() -> Mapping[str, Row]:
        rows = _measure(bench, count, lambda: _serve(count, latency=LATENCY))
        return {
            name: {**row, "share of maximum": rate / max_rate, "time x maximum": max_rate / rate}
            for name, row in rows.items()
            if isinstance(rate := row["users/s"], float)
        }

    return Table(
        name="logrocket_latency",
        title=f"(b) {count:,} users to LogRocket at 50 ms over {CONNECTIONS} connections, maximum {max_rate:,.0f}/s",
        rows=bench.rounds(measure, "logrocket_latency"),
        ratios={"time x maximum": None},
        floors=(_LIBCURL,),
    )


def _measure(
    bench: Bench, count: int, serve: Callable[[], AbstractContextManager[tuple[str, RowOf]]]
) -> dict[str, Row]:
    """Run every workload, each with a server of its own."""
    path = bench.file(count)

    def measure_case(workload: str, has_ledger: bool) -> Row:  # noqa: FBT001  # From `_WORKLOADS`.
        with bench.ledger() as ledger, serve() as (url, row_of):
            return row_of(
                run(workload, path=path, url=url, ledger=ledger if has_ledger else None, connections=CONNECTIONS)
            )

    return bench.measure({name: partial(measure_case, *arguments) for name, arguments in _WORKLOADS.items()})


@contextmanager
def _serve(count: int, **options: float) -> Generator[tuple[str, RowOf]]:
    with sink(**options) as server:
        yield server.url, lambda result: sink_row(result, server, count)


def _nginx_row(result: Run, server: Nginx, count: int) -> Row:
    paths, _ = server.stop()
    distinct = len(set(paths))
    return run_row(result, count, lost=count - distinct, duplicates=len(paths) - distinct)


def _add_ratios(rows: Mapping[str, Row]) -> Mapping[str, Row]:
    rows = add_ratio(rows, _LIBCURL, column="share of bare libcurl")
    return add_ratio(rows, _LIBCURL, column="CPU x libcurl", figure=CPU)


def _add_ratio_to(row: Row, fast: Row) -> Row:
    return add_ratio({"busy": row, "fast": fast}, "fast", column="CPU x full speed", figure=CPU)["busy"]


BENCHMARKS: Final[Mapping[str, Callable[[Bench], Table]]] = {
    benchmark.__name__: benchmark for benchmark in (logrocket, logrocket_echo, logrocket_busy, logrocket_latency)
}
