"""The speed of other clients, the peers, at identifying the same users at the same sink, and the users they lose.

They are installed into `.venv-bench`, not into the project's environment; the table names those that cannot be
installed. Each case is a process of its own on the first core. Its script ends with the documented flush or without it.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from benchmarks.bulk import Bench, Row
from benchmarks.processes import CLIENT_CORE, PEERS_PYTHON, ROOT, FailedError, Sink, environment, has_module, run, sink
from benchmarks.tables import REMARK, Table

# Not a multiple of 50 or 100, the sizes of the peers' batches, so that an incomplete batch remains.
USERS: Final = 20_010
QUICK_USERS: Final = 1_010
# With one request per user at 50 ms, all users would take a quarter of an hour.
SLOW_USERS: Final = 510
LATENCY: Final = 0.05
TIMEOUT: Final = 120.0
_SINK_NEEDS: Final = ("attrs", "orjson", "uvloop")
_DISTRIBUTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "segment": ("segment-analytics-python", "segment.analytics"),
    "rudder": ("rudder-sdk-python", "rudderstack.analytics"),
    "posthog": ("posthog", "posthog"),
    "mixpanel": ("mixpanel", "mixpanel"),
    "customerio": ("customerio", "customerio"),
}


@attrs.frozen
class Case:
    """One way to use a peer.

    Attributes:
        name: Name of the peer, followed by "tuned" for tuned settings.
        is_flushed: True if the script ends with the documented flush.
        is_one_by_one: True if the peer sends one request per user.
    """

    name: str
    is_flushed: bool = True
    is_one_by_one: bool = False

    def __str__(self) -> str:
        return self.name if self.is_flushed else f"{self.name}, no flush"


CASES: Final = (
    Case("segment"),
    Case("segment", is_flushed=False),
    Case("segment tuned"),
    Case("rudder"),
    Case("rudder", is_flushed=False),
    Case("rudder tuned"),
    Case("posthog"),
    Case("posthog", is_flushed=False),
    Case("posthog tuned"),
    Case("mixpanel", is_one_by_one=True),
    Case("mixpanel tuned"),
    Case("mixpanel tuned", is_flushed=False),
    Case("customerio", is_one_by_one=True),
    Case("customerio tuned", is_one_by_one=True),
    Case("customerio tuned", is_flushed=False, is_one_by_one=True),
)


def peers(bench: Bench) -> Table:
    """Compare the peers with this library at a sink that responds at once."""
    return _compare(bench, 0.0)


def peers_latency(bench: Bench) -> Table:
    """Compare the peers with this library at a sink that takes 50 ms for each response."""
    return _compare(bench, LATENCY)


def _compare(bench: Bench, latency: float) -> Table:
    versions = _install_peers(bench.on_progress)
    count = QUICK_USERS if bench.sizes.users < USERS else USERS
    path = bench.file(count)
    rows = [_measure_sync(bench, vendor, path, count=count, latency=latency) for vendor in ("fullstory", "logrocket")]
    for case in CASES:
        bench.on_progress(f"peers at {latency * 1000:.0f} ms: {case}")
        if case.name.partition(" ")[0] in versions:
            case_count = min(SLOW_USERS, count) if latency and case.is_one_by_one else count
            rows.append(_measure_peer(case, path, count=case_count, latency=latency))
        else:
            rows.append({"client": str(case), REMARK: "cannot be installed here"})
    names = ", ".join(f"{_DISTRIBUTIONS[name][0]} {version}" for name, version in versions.items())
    return Table(
        name="peers_latency" if latency else "peers",
        title=f"(e) {count:,} identify calls to the same sink, {latency * 1000:.0f} ms per response",
        rows=rows,
        note=f"{names}. users/s: acknowledged users, from the first call to the last byte at the sink. "
        "Exit: from the last call to the end of the process. "
        "Tuned: 8 threads and an unlimited queue; mixpanel: its buffer.",
    )


def _measure_sync(bench: Bench, vendor: str, path: str, *, count: int, latency: float) -> Row:
    name = f"sync to {vendor}, ledger"
    bench.on_progress(f"peers at {latency * 1000:.0f} ms: {name}")
    with bench.ledger() as ledger, sink(latency=latency) as server:
        try:
            result = run(f"sync_to_{vendor}", path=path, url=server.url, ledger=ledger)
        except FailedError as error:
            bench.on_progress(str(error))
            return {"client": name, REMARK: "failed, see stderr"}
        return {**_row(name, server, count=count, started=result.started), "exit s": result.exit_seconds}


def _measure_peer(case: Case, path: str, *, count: int, latency: float) -> Row:
    flush = "flush" if case.is_flushed else "end"
    with sink(latency=latency) as server:
        arguments = [case.name, server.url, path, str(count), str(CLIENT_CORE), flush]
        command = [str(PEERS_PYTHON), "-m", "benchmarks.peer_calls", *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment(ROOT), cwd=ROOT
        )
        remark = ""
        try:
            output, _ = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            remark = f"killed after {TIMEOUT:.0f} s"
        exited = time.monotonic()
        if not output.strip():
            return {"client": str(case), REMARK: remark or f"exited with {process.returncode}"}

        times: Mapping[str, Any] = json.loads(output.splitlines()[0])
        row = _row(str(case), server, count=count, started=times["started"])
    return {
        **row,
        "calls s": times["called"] - times["started"],
        "exit s": exited - times["called"],
        REMARK: remark,
    }


def _row(name: str, server: Sink, *, count: int, started: float) -> Row:
    stats = server.stats()
    lost = count - stats["distinct"]
    return {
        "client": name,
        "users/s": stats["distinct"] / ((stats["last"] or started) - started) if stats["distinct"] else 0.0,
        "users": count,
        "lost": lost,
        "lost %": lost / count * 100,
        "duplicates": stats["users"] - stats["distinct"],
    }


def _install_peers(on_progress: Callable[[str], None]) -> Mapping[str, str]:
    """Create the peers' environment and return the version of each peer in it."""
    if not PEERS_PYTHON.exists():
        on_progress("peers: creating .venv-bench")
        subprocess.run([sys.executable, "-m", "venv", str(PEERS_PYTHON.parent.parent)], check=True)
    for name in _SINK_NEEDS:
        _install(name, name)
    for distribution, module in _DISTRIBUTIONS.values():
        _install(distribution, module)
    return {name: version for name, (distribution, _) in _DISTRIBUTIONS.items() if (version := _version(distribution))}


def _install(distribution: str, module: str) -> None:
    if not has_module(module):
        command = [str(PEERS_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", distribution]
        subprocess.run(command, check=False)


def _version(distribution: str) -> str | None:
    program = f"from importlib.metadata import version; print(version({distribution!r}))"
    process = subprocess.run([str(PEERS_PYTHON), "-c", program], capture_output=True, text=True, check=False)
    return None if process.returncode else process.stdout.strip()


BENCHMARKS: Final[Mapping[str, Callable[[Bench], Table]]] = {"peers": peers, "peers_latency": peers_latency}
