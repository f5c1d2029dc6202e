"""The workloads that `benchmarks.bulk` measures, each in a process of its own.

A workload is a function that prepares everything and returns the work; only the work is timed.
"""

import importlib
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import orjson

Work: TypeAlias = Callable[[], object]

_BATCH_SIZE: Final = 50_000
# The rows that a run upserts at once.
_UPSERTED: Final = 4_000
_PEAK: Final = re.compile(r"VmHWM:\s*(\d+) kB")
_WRITTEN: Final = re.compile(r"wchar: (\d+)")
MISSING: Final = 3
"""The exit code if the library lacks a name that the workload needs."""


@attrs.frozen(kw_only=True)
class Task:
    """The file to read, the server to send to, and the options of the run.

    Attributes:
        path: Users as JSON Lines.
        url: Base URL of the server.
        ledger: Path of the ledger; None uses none.
        connections: Maximum number of connections.
        per_minute: Quota of requests a minute; None sets none.
        core: Processor core to run on; None runs on any.
    """

    path: str
    url: str = ""
    ledger: str | None = None
    connections: int = 64
    per_minute: int | None = None
    core: int | None = 0


def baseline(task: Task) -> Work:
    """Parse and serialise each row: the least that any program does with the file."""

    def work() -> None:
        with Path(task.path).open("rb") as file:
            for line in file:
                orjson.dumps(orjson.loads(line))

    return work


def read(task: Task) -> Work:
    """Read the file as users."""
    from replay_identity.sources import read_users  # noqa: PLC0415  # The baseline runs without the library.

    def work() -> int:
        return sum(1 for _ in read_users(task.path))

    return work


def read_and_plan(task: Task) -> Work:
    """Read and encode every user for Fullstory, and send nothing."""
    from replay_identity import Fullstory  # noqa: PLC0415  # As above.
    from replay_identity.sources import BadRow, read_users  # noqa: PLC0415

    plan = Fullstory("na1.key").plan

    def work() -> int:
        return sum(len(plan(row.user).violations) for row in read_users(task.path) if not isinstance(row, BadRow))

    return work


def sync_to_fullstory(task: Task) -> Work:
    """Load the file into Fullstory with `sync`."""
    return _sync_to("fullstory", task)


def sync_to_logrocket(task: Task) -> Work:
    """Load the file into LogRocket with `sync`."""
    return _sync_to("logrocket", task)


def _sync_to(vendor: str, task: Task) -> Work:
    """Return the whole run, from opening the ledger to the report and the closed ledger."""
    # Imported here so that the baseline runs without the library, and so that an older library may lack a name.
    bulk: Any = importlib.import_module("replay_identity.bulk")
    ledger_class: Any = importlib.import_module("replay_identity.ledger").Ledger
    read_users: Any = importlib.import_module("replay_identity.sources").read_users
    sync, delivery_options = bulk.sync, bulk.DeliveryOptions
    library: Any = importlib.import_module("replay_identity")
    backend = (
        library.Fullstory("na1.key", base_url=task.url)
        if vendor == "fullstory"
        else library.LogRocket("org:app:secret", base_url=task.url)
    )
    options = {vendor: delivery_options(connections=task.connections, requests_per_minute=task.per_minute)}

    def work() -> str:
        ledger = None if task.ledger is None else ledger_class(task.ledger)
        report = sync(read_users(task.path), [backend], ledger=ledger, options=options)
        if ledger is not None:
            ledger.close()
        return json.dumps(report.as_dict())

    return work


def upsert(task: Task) -> Work:
    """Upsert the file into a ledger, in a transaction for each 4,000 rows; the figures are those of each quarter."""
    ledger_class: Any = importlib.import_module("replay_identity.ledger").Ledger
    read_users: Any = importlib.import_module("replay_identity.sources").read_users
    upsert_users = ledger_class.upsert

    def work() -> Mapping[str, object]:
        users = (row.user for row in read_users(task.path))
        steps: list[tuple[int, float, int]] = []
        with ledger_class(task.ledger) as ledger:
            while chunk := list(islice(users, _UPSERTED)):
                cpu, written = time.process_time(), _bytes_written()
                upsert_users(ledger, chunk, ["fullstory"], replace=True)
                steps.append((len(chunk), time.process_time() - cpu, _bytes_written() - written))
        return {"quarters": [_mean_per_user(steps[len(steps) * n // 4 : len(steps) * (n + 1) // 4]) for n in range(4)]}

    return work


def _bytes_written() -> int:
    """Return the bytes that this process has passed to the system to write, to any file."""
    match = _WRITTEN.search(Path("/proc/self/io").read_text())
    return int(match[1]) if match else 0


def _mean_per_user(steps: Sequence[tuple[int, float, int]]) -> tuple[float, float]:
    """Return the CPU time in µs and the bytes written, for each user of *steps*."""
    count = sum(users for users, _, _ in steps)
    return sum(cpu for _, cpu, _ in steps) / count * 1e6, sum(written for _, _, written in steps) / count


def httpx_batches(task: Task) -> Work:
    """Send finished batches with bare httpx and read all results: the speed limit of the sink."""
    import httpx  # noqa: PLC0415

    bodies = _batch_bodies(task.path)

    def work() -> None:
        with httpx.Client(timeout=60) as client:
            for body in bodies:
                job = client.post(f"{task.url}/v2/users/batch", content=body).json()["job"]["id"]
                client.get(f"{task.url}/v2/users/batch/{job}").raise_for_status()
                token: str | None = "0"  # noqa: S105  # Of a page.
                while token is not None:
                    page = client.get(f"{task.url}/v2/users/batch/{job}/imports?page_token={token}")
                    token = orjson.loads(page.content)["next_page_token"]

    return work


def _batch_bodies(path: str) -> list[bytes]:
    with Path(path).open("rb") as file:
        users = [_batch_user(orjson.loads(line)) for line in file]
    return [
        b'{"requests":[%b]}' % b",".join(users[start : start + _BATCH_SIZE])
        for start in range(0, len(users), _BATCH_SIZE)
    ]


def _batch_user(row: dict[str, Any]) -> bytes:
    return orjson.dumps({"uid": row.pop("user_id"), "display_name": row.pop("name"), "properties": row})


def pycurl_puts(task: Task) -> Work:
    """Send finished LogRocket requests with bare libcurl over `task.connections` connections."""
    pycurl: Any = importlib.import_module("pycurl")  # It has no type hints.
    requests = _logrocket_requests(task)
    headers = ["content-type: application/json", "authorization: Token org:app:secret", "expect:"]

    def make_handle() -> Any:  # noqa: ANN401  # pycurl has no public types.
        handle = pycurl.Curl()
        handle.setopt(pycurl.CUSTOMREQUEST, "PUT")
        handle.setopt(pycurl.HTTPHEADER, headers)
        handle.setopt(pycurl.WRITEFUNCTION, len)
        return handle

    def work() -> None:
        multi, waiting = pycurl.CurlMulti(), iter(requests)
        handles = [make_handle() for _ in range(task.connections)]

        def start_next(handle: Any) -> int:  # noqa: ANN401  # As above.
            url, body = next(waiting, (None, None))
            if url is None:
                return 0
            handle.setopt(pycurl.URL, url)
            handle.setopt(pycurl.POSTFIELDS, body)
            multi.add_handle(handle)
            return 1

        active = sum(start_next(handle) for handle in handles)
        while active:
            multi.perform()
            _, done, failed = multi.info_read()
            if failed:
                raise ConnectionError(failed[0][2])
            for handle in done:
                multi.remove_handle(handle)
                active += start_next(handle) - 1
            if not done:
                multi.poll(1.0) if hasattr(multi, "poll") else multi.select(1.0)

    return work


def _logrocket_requests(task: Task) -> Sequence[tuple[str, bytes]]:
    """Return the URL and the body of each request, as written by hand."""
    users_url = f"{task.url}/v1/orgs/org/apps/app/users/"
    with Path(task.path).open("rb") as file:
        return [(f"{users_url}{row.pop('user_id')}", _logrocket_body(row)) for row in map(orjson.loads, file)]


def _logrocket_body(row: dict[str, Any]) -> bytes:
    name, email = row.pop("name"), row.pop("email")
    traits = {key: value if isinstance(value, str) else orjson.dumps(value).decode() for key, value in row.items()}
    return orjson.dumps({"name": name, "email": email, "traits": traits})


WORKLOADS: Final[Mapping[str, Callable[[Task], Work]]] = {
    workload.__name__: workload
    for workload in (
        baseline,
        read,
        read_and_plan,
        httpx_batches,
        pycurl_puts,
        sync_to_fullstory,
        sync_to_logrocket,
        upsert,
    )
}


def main() -> None:
    """Run one workload and print its times and its peak memory as JSON."""
    name, task = sys.argv[1], Task(**json.loads(sys.argv[2]))
    if task.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {task.core})
    try:
        work = WORKLOADS[name](task)
    except (ImportError, AttributeError) as error:
        print(f"{error}; the library lacks a name that benchmarks/workloads.py needs", file=sys.stderr)
        sys.exit(MISSING)
    started, cpu_started = time.monotonic(), time.process_time()
    figures = work()
    ended = time.monotonic()
    cpu_seconds = time.process_time() - cpu_started
    times = {"started": started, "ended": ended, "cpu_seconds": cpu_seconds}
    print(json.dumps({**times, "peak_mb": peak_mb(), "figures": figures if isinstance(figures, dict) else {}}))


def peak_mb() -> float:
    """Return the peak memory of this process in MB.

    `ru_maxrss` of a new process includes the memory of its parent at the fork; the kernel's VmHWM does not.
    """
    status = Path("/proc/self/status")
    match = _PEAK.search(status.read_text()) if status.exists() else None
    return int(match[1]) / 1024 if match else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
