"""What the peers take to identify the same users at the same mock, and what they lose on the way.

They are installed into `.venv-bench`, never into ours; one that cannot be installed is told of in the table. Each case
is a process of its own on the first core: with the flush that its documentation asks for, or the script simply ends.
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
from benchmarks.tables import Cell, Table

# No multiple of a batch of 50 or 100, so that there is a rest to lose.
USERS: Final = 20_010
QUICK_USERS: Final = 1_010
# At 50 ms and one request for each user, the others would take a quarter of an hour.
FEW: Final = 510
LATENCY: Final = 0.05
LONGEST: Final = 120.0
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
    """How a peer is used.

    Attributes:
        name: Its name, perhaps with "tuned".
        is_flushed: Whether the script ends with the flush that the documentation asks for.
        is_one_by_one: Whether it makes a request for each user.
    """

    name: str
    is_flushed: bool = True
    is_one_by_one: bool = False

    def __str__(self) -> str:
        return self.name if self.is_flushed else f"{self.name}, script simply ends"


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


def install(say: Callable[[str], None]) -> Mapping[str, str]:
    """Make the peers' environment and return the version of each that is there."""
    if not PEERS_PYTHON.exists():
        say("peers: making .venv-bench")
        subprocess.run([sys.executable, "-m", "venv", str(PEERS_PYTHON.parent.parent)], check=True)
    for distribution, module in ((name, name) for name in _SINK_NEEDS):
        _install(distribution, module)
    for distribution, module in _DISTRIBUTIONS.values():
        _install(distribution, module)
    return {name: version for name, (distribution, _) in _DISTRIBUTIONS.items() if (version := _version(distribution))}


def _install(distribution: str, module: str) -> None:
    if not has_module(module):
        command = [str(PEERS_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", distribution]
        subprocess.run(command, check=False)


def _version(distribution: str) -> str | None:
    program = f"from importlib.metadata import version; print(version({distribution!r}))"
    found = subprocess.run([str(PEERS_PYTHON), "-c", program], capture_output=True, text=True, check=False)
    return None if found.returncode else found.stdout.strip()


def peers(bench: Bench) -> Table:
    """Measure the peers and ourselves where every answer comes at once."""
    return _compare(bench, 0.0)


def peers_slow(bench: Bench) -> Table:
    """Measure the same where every answer takes 50 ms."""
    return _compare(bench, LATENCY)


def _compare(bench: Bench, latency: float) -> Table:
    versions = install(bench.say)
    count = QUICK_USERS if bench.sizes.users < USERS else USERS
    path = bench.file(count)
    rows = [
        _ours(bench, contestant, path, count=count, latency=latency)
        for contestant in ("ours_fullstory", "ours_logrocket")
    ]
    for case in CASES:
        bench.say(f"peers at {latency * 1000:.0f} ms: {case}")
        if case.name.partition(" ")[0] in versions:
            few = min(FEW, count) if latency and case.is_one_by_one else count
            rows.append(_peer(case, path, few, latency))
        else:
            rows.append({"contestant": str(case), "remark": "cannot be installed here"})
    names = ", ".join(f"{_DISTRIBUTIONS[name][0]} {version}" for name, version in versions.items())
    return Table(
        name="peers_slow" if latency else "peers",
        title=f"(e) {count:,} identify calls at the same mock, {latency * 1000:.0f} ms an answer",
        rows=rows,
        note=f"{names}. Exit: from the last call to the end of the process. Tuned: 8 threads and a queue without end; "
        "mixpanel: its buffer. users/s: acknowledged ones, from the first call to the last byte at the mock.",
    )


def _ours(bench: Bench, contestant: str, path: str, *, count: int, latency: float) -> Row:
    bench.say(f"peers at {latency * 1000:.0f} ms: {contestant}")
    with bench.ledger() as ledger, sink(latency=latency) as target:
        name = f"{contestant.replace('_', ', ')}, ledger"
        try:
            taken = run(contestant, path=path, url=target.url, ledger=ledger)
        except FailedError as error:
            bench.say(str(error))
            return {"contestant": name, "remark": "failed, see stderr"}
        return {**_result(name, target, count, taken.started), "exit s": taken.exit_seconds}


def _peer(case: Case, path: str, count: int, latency: float) -> Row:
    flush = "flush" if case.is_flushed else "end"
    with sink(latency=latency) as target:
        words = [case.name, target.url, path, str(count), str(CLIENT_CORE), flush]
        command = [str(PEERS_PYTHON), "-m", "benchmarks.peer_calls", *words]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment(), cwd=ROOT
        )
        remark = ""
        try:
            said, _ = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            remark = f"killed after {LONGEST:.0f} s"
        exited = time.monotonic()
        if not said.strip():
            return {"contestant": str(case), "remark": remark or f"failed with {process.returncode}"}
        times: Mapping[str, Any] = json.loads(said.splitlines()[0])
        result = _result(str(case), target, count, times["started"])
    cells: dict[str, Cell] = {"exit s": exited - times["called"], "remark": remark}
    return {**result, "calls s": times["called"] - times["started"], **cells}


def _result(name: str, target: Sink, count: int, started: float) -> Row:
    stats = target.stats()
    return {
        "contestant": name,
        "users/s": stats["distinct"] / ((stats["last"] or started) - started) if stats["distinct"] else 0.0,
        "users": count,
        "lost": count - stats["distinct"],
        "lost %": (count - stats["distinct"]) / count * 100,
        "twice": stats["users"] - stats["distinct"],
    }


MEASUREMENTS: Final[Mapping[str, Callable[[Bench], Table]]] = {"peers": peers, "peers_slow": peers_slow}
