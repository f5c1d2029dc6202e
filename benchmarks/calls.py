"""The time of one call: plan a user, create one, identify it through a router, import the library.

Each call alternates with a baseline in the same run, because absolute times drift on a shared machine. The times are
CPU times of the process, all threads together, and the least of the rounds, since other programs only ever add to them.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
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
BARE_HTTPX = "the same two requests, bare httpx"
CREATED_AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
Traits = Mapping[str, TraitValue]
BareRequest = tuple[str, str, dict[str, str], bytes]
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
    "created_at": CREATED_AT,
    "last_invoice": date(2026, 11, 1),
    "tags": ["vip", "eu"],
    "company": {"id": 36, "name": "Wirth KG"},
}


@attrs.frozen
class Comparison:
    """A call and its baseline in microseconds of CPU time, and the target for the ratio or for the time."""

    name: str
    microseconds: float
    baseline: str
    baseline_microseconds: float
    target: str

    @property
    def ratio(self) -> float:
        """Return the time of the call as a multiple of the baseline's."""
        return self.microseconds / self.baseline_microseconds


def calls() -> Table:
    """Measure every call."""
    comparisons = [import_library(), create_user()]
    comparisons += [plan_user("12 flat traits", FLAT), plan_user("12 mixed traits", MIXED)]
    with running_sink() as url:
        comparisons += [identify(url), identify_async(url)]
    rows: list[dict[str, Cell]] = [
        {
            "call": each.name,
            "CPU µs": each.microseconds,
            "target": each.target,
            "ratio": each.ratio,
            "baseline": each.baseline,
            "baseline CPU µs": each.baseline_microseconds,
        }
        for each in comparisons
    ]
    note = f"The least of {ROUNDS} rounds, each alternating between the call and its baseline."
    return Table(name="calls", title="One call", rows=rows, note=note, ratios={"ratio": None})


def time_per_call(call: Callable[[], object], calls: int) -> float:
    """Return the mean CPU time of one *call* in microseconds over *calls* calls."""
    started = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - started) / calls * 1e6


def alternate(call: Callable[[], object], baseline: Callable[[], object], calls: int) -> tuple[float, float]:
    """Return the least CPU time of *call* and *baseline* in microseconds, measured alternately."""
    return least([(time_per_call(call, calls), time_per_call(baseline, calls)) for _ in range(ROUNDS)])


def least(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the least of the first and of the second values."""
    return min(first for first, _ in pairs), min(second for _, second in pairs)


def plan_user(name: str, traits: Traits) -> Comparison:
    """Compare planning one user for both vendors with serialising the two finished bodies."""
    user = UserTraits("usr_0000042", name="Ann Example", email="ann@example.com", traits=traits)
    fullstory, logrocket = Fullstory("na1.key"), LogRocket("org:app:secret")
    requests = [backend.plan(user).request for backend in (fullstory, logrocket)]
    bodies = [orjson.loads(request.body or b"") for request in requests if request]

    def plan_both() -> None:
        fullstory.plan(user)
        logrocket.plan(user)

    def dump_both() -> None:
        orjson.dumps(bodies[0])
        orjson.dumps(bodies[1])

    plan, dump = alternate(plan_both, dump_both, 4000)
    return Comparison(f"plan a user for both vendors, {name}", plan, "orjson.dumps of both bodies", dump, "≤ 15 µs")


def create_user() -> Comparison:
    """Compare creating a user with copying its traits."""
    create, copy = alternate(lambda: UserTraits("usr_0000042", traits=MIXED), lambda: dict(MIXED), 4000)
    return Comparison("create a UserTraits, 12 mixed traits", create, "dict(traits)", copy, "none")


@contextmanager
def running_sink() -> Generator[str, None, None]:
    """Run the sink in a process on the last core, and yield its URL."""
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


def two_requests(url: str) -> tuple[list[BareRequest], tuple[Fullstory, LogRocket], UserTraits]:
    """Return the two requests that identifying a user makes, the backends and the user."""
    user = UserTraits("u1", name="Ann", traits=FLAT)
    backends = Fullstory("na1.key", base_url=url), LogRocket("org:app:secret", base_url=url)
    requests = [backend.plan(user).request for backend in backends]
    return [(each.method, each.url, dict(each.headers), each.body or b"") for each in requests if each], backends, user


def identify(url: str) -> Comparison:
    """Compare one blocking identify call with the same two requests, sent concurrently with bare httpx."""
    bare, backends, user = two_requests(url)
    with Router(backends) as router, httpx.Client() as first, httpx.Client() as second, ThreadPoolExecutor(2) as pool:

        def send(client: httpx.Client, request: BareRequest) -> int:
            method, address, headers, body = request
            return client.request(method, address, headers=headers, content=body).status_code

        def send_both() -> list[int]:
            return list(pool.map(send, (first, second), bare))

        assert router.identify(user).status == "ok"  # noqa: S101  # Failures would be fast.
        router_time, httpx_time = alternate(lambda: router.identify(user), send_both, CALLS)
    return Comparison("Router.identify to two backends", router_time, BARE_HTTPX, httpx_time, "≤ 1.3 x")


def identify_async(url: str) -> Comparison:
    """Compare one awaited identify call with the same two requests, gathered with bare httpx."""
    bare, backends, user = two_requests(url)

    async def measure() -> tuple[float, float]:
        async with AsyncRouter(backends) as router, httpx.AsyncClient() as first, httpx.AsyncClient() as second:

            async def send(client: httpx.AsyncClient, request: BareRequest) -> int:
                method, address, headers, body = request
                return (await client.request(method, address, headers=headers, content=body)).status_code

            pairs: list[tuple[float, float]] = []
            for _ in range(ROUNDS):
                started = time.process_time()
                for _ in range(CALLS):
                    await router.identify(user)
                middle = time.process_time()
                for _ in range(CALLS):
                    await asyncio.gather(send(first, bare[0]), send(second, bare[1]))
                pairs.append(((middle - started) / CALLS * 1e6, (time.process_time() - middle) / CALLS * 1e6))
            return least(pairs)

    router_time, httpx_time = asyncio.run(measure())
    return Comparison("AsyncRouter.identify to two backends", router_time, BARE_HTTPX, httpx_time, "≤ 1.3 x")


def import_library() -> Comparison:
    """Compare `import replay_identity` with `import httpx`, each in a new process."""

    def import_time(module: str) -> float:
        program = f"import time; t = time.process_time(); import {module}; print(time.process_time() - t)"
        return 1e6 * float(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)

    library, httpx_time = least([(import_time("replay_identity"), import_time("httpx")) for _ in range(ROUNDS)])
    return Comparison("import replay_identity", library, "import httpx", httpx_time, "< 150 ms")
