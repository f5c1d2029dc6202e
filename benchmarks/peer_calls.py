"""Identify the users of a file with one peer, as its documentation shows; `benchmarks.peers` runs this.

It runs in the peers' environment and reads the file with `json`, as users would. It prints one line of JSON: when the
first call started, when the last call returned, and when the flush returned.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias

Call: TypeAlias = Callable[[str, dict[str, Any]], object]
Flush: TypeAlias = Callable[[], object]
_THREADS: Final = 8


def segment(url: str) -> tuple[Call, Flush]:
    """Return the identify and flush functions of segment-analytics-python."""
    library: Any = importlib.import_module("segment.analytics")
    library.write_key, library.host = "key", url
    return library.identify, library.flush


def segment_tuned(url: str) -> tuple[Call, Flush]:
    """Return the same with eight threads and an unlimited queue."""
    library: Any = importlib.import_module("segment.analytics.client")
    client = library.Client("key", host=url, thread=_THREADS, max_queue_size=0)
    return client.identify, client.flush


def rudder(url: str) -> tuple[Call, Flush]:
    """Return the identify and flush functions of rudder-sdk-python."""
    library: Any = importlib.import_module("rudderstack.analytics")
    library.write_key, library.dataPlaneUrl = "key", url
    return library.identify, library.flush


def rudder_tuned(url: str) -> tuple[Call, Flush]:
    """Return the same with eight threads and an unlimited queue."""
    library: Any = importlib.import_module("rudderstack.analytics.client")
    client = library.Client("key", host=url, thread=_THREADS, max_queue_size=0)
    return client.identify, client.flush


def _posthog(url: str, **settings: object) -> tuple[Call, Flush]:
    library: Any = importlib.import_module("posthog")
    client = library.Posthog("key", host=url, **settings)
    return lambda user_id, traits: client.set(distinct_id=user_id, properties=traits), client.flush


def posthog(url: str) -> tuple[Call, Flush]:
    """Return the identify and flush functions of posthog."""
    return _posthog(url)


def posthog_tuned(url: str) -> tuple[Call, Flush]:
    """Return the same with eight threads and a queue for a million users."""
    return _posthog(url, thread=_THREADS, max_queue_size=1_000_000)


def mixpanel(url: str) -> tuple[Call, Flush]:
    """Return the identify and flush functions of mixpanel."""
    library: Any = importlib.import_module("mixpanel")
    client = library.Mixpanel("key", consumer=library.Consumer(people_url=f"{url}/engage"))
    return client.people_set, lambda: None


def mixpanel_tuned(url: str) -> tuple[Call, Flush]:
    """Return the same with its buffer of at most 50 users."""
    library: Any = importlib.import_module("mixpanel")
    consumer = library.BufferedConsumer(people_url=f"{url}/engage")
    return library.Mixpanel("key", consumer=consumer).people_set, consumer.flush


def _customerio(url: str) -> Call:
    library: Any = importlib.import_module("customerio")
    client = library.CustomerIO("site", "key")
    # It has no setting for a URL with plain http.
    client.base_url = f"{url}/api/v1"
    # Customer.io treats `name` and `email` like any other attribute.
    return lambda user_id, traits: client.identify(user_id, **traits)


def customerio(url: str) -> tuple[Call, Flush]:
    """Return the identify and flush functions of customerio."""
    return _customerio(url), lambda: None


def customerio_tuned(url: str) -> tuple[Call, Flush]:
    """Return the same with eight threads, each with its own client."""
    clients = [_customerio(url) for _ in range(_THREADS)]
    threads = [ThreadPoolExecutor(1) for _ in clients]

    def call(user_id: str, traits: dict[str, Any]) -> None:
        index = hash(user_id) % _THREADS
        threads[index].submit(clients[index], user_id, traits)

    def flush() -> None:
        for thread in threads:
            thread.shutdown()

    return call, flush


_PEERS: Final[Mapping[str, Callable[[str], tuple[Call, Flush]]]] = {
    "segment": segment,
    "segment tuned": segment_tuned,
    "rudder": rudder,
    "rudder tuned": rudder_tuned,
    "posthog": posthog,
    "posthog tuned": posthog_tuned,
    "mixpanel": mixpanel,
    "mixpanel tuned": mixpanel_tuned,
    "customerio": customerio,
    "customerio tuned": customerio_tuned,
}


def rows(path: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the id and the traits of the first *count* users of the file."""
    with Path(path).open(encoding="utf-8") as file:
        for line in islice(file, count):
            row: dict[str, Any] = json.loads(line)
            yield row.pop("user_id"), row


def main() -> None:
    """Identify the users, flush if the last argument is "flush", and let the peer's exit hooks do the rest."""
    name, url, path, count, core, ending = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})
    call, flush = _PEERS[name](url)
    started = time.monotonic()
    for user_id, traits in rows(path, int(count)):
        call(user_id, traits)
    called = time.monotonic()
    if ending == "flush":
        flush()
    print(json.dumps({"started": started, "called": called, "flushed": time.monotonic()}), flush=True)


if __name__ == "__main__":
    main()
