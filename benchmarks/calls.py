"""What one call takes: planning, making a user, identifying through a router, importing the library.

Each figure is compared with its yardstick in the same run, the two in turn, since absolute times drift on a shared
machine; the medians over the rounds are told.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import attrs
import httpx
import orjson

from benchmarks.tables import Cell, Table
from replay_identity import AsyncRouter, Fullstory, LogRocket, Router, UserTraits
from replay_identity._values import TraitValue

ROUNDS = 15
CALLS = 150
MOMENT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
Traits = Mapping[str, TraitValue]
FLAT: Traits = {
    "plan": "enterprise",
    "role": "admin",
    "country": "FR",
    "company": "Wirth KG",
    "campaign": "newsletter",
    "language": "fr",
    "seats": 12,
    "logins": 431,
    "mrr": 2413.2,
    "is_admin": True,
    "is_beta": False,
    "created_at": "2024-07-27T08:48:41.240Z",
}
MIXED: Traits = {
    **{name: FLAT[name] for name in ("plan", "role", "country", "seats", "logins", "mrr", "is_admin", "is_beta")},
    "created_at": MOMENT,
    "last_invoice": date(2026, 11, 1),
    "tags": ["vip", "eu"],
    "company": {"id": 36, "name": "Wirth KG"},
}


@attrs.frozen
class Figure:
    """One comparison: what was measured, its yardstick, and the target for the ratio or the time."""

    name: str
    microseconds: float
    yardstick: str
    yardstick_microseconds: float
    target: str

    @property
    def ratio(self) -> float:
        """Return how many times the yardstick it takes."""
        return self.microseconds / self.yardstick_microseconds


def time_per_call(call: Callable[[], object], calls: int) -> float:
    """Return the microseconds one *call* takes, over *calls* of them."""
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - started) / calls * 1e6


def in_turn(one: Callable[[], object], other: Callable[[], object], calls: int) -> tuple[float, float]:
    """Return the median microseconds of both calls, measured in turn."""
    pairs = [(time_per_call(one, calls), time_per_call(other, calls)) for _ in range(ROUNDS)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def planning(name: str, traits: Traits) -> Figure:
    """Measure planning one user of twelve traits for both vendors, against encoding the two ready bodies."""
    user = UserTraits("usr_0000042", name="Ann Example", email="ann@example.com", traits=traits)
    fullstory, logrocket = Fullstory("na1.key"), LogRocket("org:app:secret")
    plans = [backend.plan(user).request for backend in (fullstory, logrocket)]
    one, other = (orjson.loads(request.body or b"") for request in plans if request)

    def plan_both() -> None:
        fullstory.plan(user)
        logrocket.plan(user)

    def encode_both() -> None:
        orjson.dumps(one)
        orjson.dumps(other)

    ours, floor = in_turn(plan_both, encode_both, 4000)
    return Figure(f"plan a user for both vendors, {name}", ours, "orjson.dumps of both bodies", floor, "≤ 15 µs")


def validating() -> Figure:
    """Measure making a user, against copying the mapping."""
    ours, floor = in_turn(lambda: UserTraits("usr_0000042", traits=MIXED), lambda: dict(MIXED), 4000)
    return Figure("make a UserTraits, 12 mixed traits", ours, "dict(traits)", floor, "none")


@contextmanager
def sink() -> Generator[str, None, None]:
    """Run the sink in a process of its own, on the last core."""
    core = str((os.cpu_count() or 1) - 1)
    script = Path(__file__).with_name("sink.py")
    process = subprocess.Popen([sys.executable, str(script), core], stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip() if process.stdout else ''}"
    finally:
        process.terminate()
        process.wait()
        if process.stdout:
            process.stdout.close()


BareRequest = tuple[str, str, dict[str, str], bytes]


def two_requests(url: str) -> tuple[list[BareRequest], tuple[Fullstory, LogRocket], UserTraits]:
    """Return the two requests that an identify call makes, the backends and the user."""
    user = UserTraits("u1", name="Ann", traits=FLAT)
    backends = Fullstory("na1.key", base_url=url), LogRocket("org:app:secret", base_url=url)
    requests = [backend.plan(user).request for backend in backends]
    return [(each.method, each.url, dict(each.headers), each.body or b"") for each in requests if each], backends, user


def routing(url: str) -> Figure:
    """Measure one blocking identify call, against the same two requests made at once with bare httpx."""
    bare, backends, user = two_requests(url)
    with Router(backends) as router, httpx.Client() as one, httpx.Client() as other, ThreadPoolExecutor(2) as pool:

        def send(client: httpx.Client, request: BareRequest) -> int:
            method, address, headers, body = request
            return client.request(method, address, headers=headers, content=body).status_code

        def both() -> list[int]:
            return list(pool.map(send, (one, other), bare))

        assert router.identify(user).status == "ok"  # noqa: S101  # A benchmark of failures would be fast.
        ours, theirs = in_turn(lambda: router.identify(user), both, CALLS)
    return Figure("Router.identify to two backends", ours, "the same two requests, bare httpx", theirs, "≤ 1.3 x")


def routing_async(url: str) -> Figure:
    """Measure one awaited identify call, against the same two requests gathered with bare httpx."""
    bare, backends, user = two_requests(url)

    async def measure() -> tuple[float, float]:
        async with AsyncRouter(backends) as router, httpx.AsyncClient() as one, httpx.AsyncClient() as other:

            async def send(client: httpx.AsyncClient, request: BareRequest) -> int:
                method, address, headers, body = request
                return (await client.request(method, address, headers=headers, content=body)).status_code

            pairs: list[tuple[float, float]] = []
            for _ in range(ROUNDS):
                started = time.perf_counter()
                for _ in range(CALLS):
                    await router.identify(user)
                middle = time.perf_counter()
                for _ in range(CALLS):
                    await asyncio.gather(send(one, bare[0]), send(other, bare[1]))
                pairs.append(((middle - started) / CALLS * 1e6, (time.perf_counter() - middle) / CALLS * 1e6))
            return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)

    ours, theirs = asyncio.run(measure())
    return Figure("AsyncRouter.identify to two backends", ours, "the same two requests, bare httpx", theirs, "≤ 1.3 x")


def importing() -> Figure:
    """Measure `import replay_identity` in a new process, against `import httpx` in another."""

    def seconds(module: str) -> float:
        program = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
        return float(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)

    pairs = [(seconds("replay_identity"), seconds("httpx")) for _ in range(ROUNDS)]
    ours, theirs = (statistics.median(column) * 1e6 for column in zip(*pairs, strict=True))
    return Figure("import replay_identity", ours, "import httpx", theirs, "< 150 ms")


def calls() -> Table:
    """Measure everything."""
    figures = [importing(), validating(), planning("12 flat traits", FLAT), planning("12 mixed traits", MIXED)]
    with sink() as url:
        figures += [routing(url), routing_async(url)]
    rows: list[dict[str, Cell]] = [
        {
            "what": figure.name,
            "µs": figure.microseconds,
            "target": figure.target,
            "times": figure.ratio,
            "yardstick": figure.yardstick,
            "yardstick µs": figure.yardstick_microseconds,
        }
        for figure in figures
    ]
    note = f"Medians of {ROUNDS} rounds, each figure and its yardstick in turn."
    return Table(name="calls", title="One call", rows=rows, note=note)
