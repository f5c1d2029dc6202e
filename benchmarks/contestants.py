"""What `benchmarks.bulk` measures, one contestant in a process of its own.

A contestant gets everything ready and returns the work; only the work is timed. The calls of our library are all in
`synced`: adjust them there.
"""

import importlib
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import orjson

Work: TypeAlias = Callable[[], object]
_PEAK: Final = re.compile(r"VmHWM:\s*(\d+) kB")
_MISSING: Final = 3


@attrs.frozen(kw_only=True)
class Task:
    """What is to be done: the users of a file, to a vendor, perhaps with a ledger."""

    path: str
    url: str = ""
    ledger: str | None = None
    connections: int = 64
    per_minute: int | None = None
    core: int | None = 0


def synced(task: Task, vendor: str) -> Work:
    """Return the work of our own: the whole file through `sync`, from opening the ledger to closing the books."""
    # Looked up late, so that the floor runs without them and a name that has moved is told of.
    try:
        bulk: Any = importlib.import_module("replay_identity.bulk")
        keep: Any = importlib.import_module("replay_identity.ledger").Ledger
        read: Any = importlib.import_module("replay_identity.sources").read_users
        sync, options = bulk.sync, bulk.DeliveryOptions
    except (ImportError, AttributeError) as error:
        print(f"{error}; adjust synced in benchmarks/contestants.py", file=sys.stderr)
        sys.exit(_MISSING)
    library: Any = importlib.import_module("replay_identity")
    backend = (
        library.Fullstory("na1.key", base_url=task.url)
        if vendor == "fullstory"
        else library.LogRocket("org:app:secret", base_url=task.url)
    )
    given = {vendor: options(connections=task.connections, requests_per_minute=task.per_minute)}

    def work() -> str:
        ledger = None if task.ledger is None else keep(task.ledger)
        report = sync(read(task.path), [backend], ledger=ledger, options=given)
        if ledger is not None:
            ledger.close()
        return json.dumps(report.as_dict())

    return work


def ours_fullstory(task: Task) -> Work:
    """Return our bulk load into Fullstory."""
    return synced(task, "fullstory")


def ours_logrocket(task: Task) -> Work:
    """Return ours into LogRocket."""
    return synced(task, "logrocket")


def floor(task: Task) -> Work:
    """Return the least that anything does with the file: each row parsed and serialised."""

    def work() -> None:
        with Path(task.path).open("rb") as file:
            for line in file:
                orjson.dumps(orjson.loads(line))

    return work


def reading(task: Task) -> Work:
    """Return the reading of the file into users."""
    from replay_identity.sources import read_users  # noqa: PLC0415

    def work() -> int:
        return sum(1 for _ in read_users(task.path))

    return work


def planning(task: Task) -> Work:
    """Return the reading and wording of every user for Fullstory, with nothing sent."""
    from replay_identity import Fullstory  # noqa: PLC0415
    from replay_identity.sources import BadRow, read_users  # noqa: PLC0415

    plan = Fullstory("na1.key").plan

    def work() -> int:
        return sum(len(plan(row.user).violations) for row in read_users(task.path) if not isinstance(row, BadRow))

    return work


def bare_batches(task: Task) -> Work:
    """Return the sending of ready batches of 50,000 with bare httpx: what the sink takes."""
    import httpx  # noqa: PLC0415

    with Path(task.path).open("rb") as file:
        rows = [orjson.loads(line) for line in file]
    items = [
        orjson.dumps({"uid": row.pop("user_id"), "display_name": row.pop("name"), "properties": row}) for row in rows
    ]
    bodies = [b'{"requests":[%b]}' % b",".join(items[start : start + 50_000]) for start in range(0, len(items), 50_000)]
    del rows, items

    def work() -> None:
        with httpx.Client(timeout=60) as client:
            for body in bodies:
                job = client.post(f"{task.url}/v2/users/batch", content=body).json()["job"]["id"]
                client.get(f"{task.url}/v2/users/batch/{job}").raise_for_status()
                start: str | None = "0"
                while start is not None:
                    page = client.get(f"{task.url}/v2/users/batch/{job}/imports?page_token={start}")
                    start = orjson.loads(page.content)["next_page_token"]

    return work


def bare_puts(task: Task) -> Work:
    """Return the sending of LogRocket's requests, made beforehand, with bare libcurl over so many connections."""
    # Without types of its own.
    pycurl: Any = importlib.import_module("pycurl")
    requests = _logrocket_requests(task)
    headers = ["content-type: application/json", "authorization: Token org:app:secret", "expect:"]

    def prepared() -> Any:  # noqa: ANN401  # pycurl has no public types.
        handle = pycurl.Curl()
        handle.setopt(pycurl.CUSTOMREQUEST, "PUT")
        handle.setopt(pycurl.HTTPHEADER, headers)
        handle.setopt(pycurl.WRITEFUNCTION, len)
        return handle

    def work() -> None:
        multi, waiting = pycurl.CurlMulti(), iter(requests)
        handles = [prepared() for _ in range(task.connections)]

        def begin(handle: Any) -> int:  # noqa: ANN401
            url, body = next(waiting, (None, None))
            if url is None:
                return 0
            handle.setopt(pycurl.URL, url)
            handle.setopt(pycurl.POSTFIELDS, body)
            multi.add_handle(handle)
            return 1

        active = sum(begin(handle) for handle in handles)
        while active:
            multi.perform()
            _, done, failed = multi.info_read()
            if failed:
                raise ConnectionError(failed[0][2])
            for handle in done:
                multi.remove_handle(handle)
                active += begin(handle) - 1
            if not done:
                multi.poll(1.0) if hasattr(multi, "poll") else multi.select(1.0)

    return work


def _logrocket_requests(task: Task) -> Sequence[tuple[str, bytes]]:
    """Return LogRocket's requests as one writes them by hand: every trait a text."""
    address = f"{task.url}/v1/orgs/org/apps/app/users/"
    with Path(task.path).open("rb") as file:
        return [(f"{address}{row.pop('user_id')}", _logrocket_body(row)) for row in map(orjson.loads, file)]


def _logrocket_body(row: dict[str, Any]) -> bytes:
    name, email = row.pop("name"), row.pop("email")
    traits = {key: value if isinstance(value, str) else orjson.dumps(value).decode() for key, value in row.items()}
    return orjson.dumps({"name": name, "email": email, "traits": traits})


CONTESTANTS: Final[Mapping[str, Callable[[Task], Work]]] = {
    each.__name__: each for each in (floor, reading, planning, bare_batches, bare_puts, ours_fullstory, ours_logrocket)
}


def peak() -> float:
    """Return the most memory this process had, in MB.

    `ru_maxrss` of a new process includes what its parent had when it was started; the kernel's own mark does not.
    """
    status = Path("/proc/self/status")
    found = _PEAK.search(status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run one contestant and print what it took."""
    task = Task(**json.loads(sys.argv[2]))
    if task.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {task.core})
    work = CONTESTANTS[sys.argv[1]](task)
    started, processor = time.monotonic(), time.process_time()
    said = work()
    ended = time.monotonic()
    took = {"started": started, "ended": ended, "processor": time.process_time() - processor, "peak": peak()}
    print(json.dumps({**took, "said": "" if said is None else str(said)}))


if __name__ == "__main__":
    main()
