"""Send one request to each hostile server, in a process of its own: `python -m support.ask_hostile_servers SENDER`.

Reads where the servers are from stdin, as a JSON object of name to URL and proxy, and prints one JSON line for each:
why there was no response, or the status, and what the request took and left behind.
"""

import asyncio
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from support.scripted import ask

from replay_identity import RetryPolicy
from replay_identity.adapters import Request, Response
from replay_identity.transport import AsyncTransport, Transport
from replay_identity.transport.curl_sender import CurlSender

TIMEOUT: Final = 1.0
_ONCE: Final = RetryPolicy(attempts=1)
# Seconds that a thread or a socket may take to end after the transport was closed.
_PATIENCE: Final = 10.0


def over_libcurl(request: Request) -> Response:
    """Send *request* as a bulk run does."""
    with closing(CurlSender(1)) as sender:
        sender.submit(1, request, TIMEOUT)
        while not (completed := sender.completed(TIMEOUT)):
            pass
        return completed[0][1]


def over_httpx(request: Request) -> Response:
    """Send *request* as `Router` does."""
    with Transport(retry=_ONCE, timeout=TIMEOUT) as transport:
        return transport.run(ask(request))


def over_httpx_async(request: Request) -> Response:
    """Send *request* as `AsyncRouter` does."""

    async def main() -> Response:
        async with AsyncTransport(retry=_ONCE, timeout=TIMEOUT) as transport:
            return await transport.run(ask(request))

    return asyncio.run(main())


SENDERS: Final[Mapping[str, Callable[[Request], Response]]] = {
    "libcurl": over_libcurl,
    "httpx": over_httpx,
    "httpx async": over_httpx_async,
}


def main() -> None:
    """Ask all servers with the sender that the first argument names."""
    send = SENDERS[sys.argv[1]]
    places: dict[str, dict[str, str]] = json.load(sys.stdin)
    first = next(iter(places.values()))
    send(_request(first["url"]))  # So that what is loaded only once does not count.
    for name, place in places.items():
        os.environ["HTTPS_PROXY"] = place["proxy"]
        sys.stdout.write(f"{json.dumps({'name': name, **_measure(send, _request(place['url']))})}\n")
        sys.stdout.flush()


def _request(url: str) -> Request:
    return Request("identify", "PUT", url, {"content-type": "application/json"}, b'{"name":"Ann"}')


def _measure(send: Callable[[Request], Response], request: Request) -> dict[str, object]:
    left, memory, started = _left(), _reset_peak_memory(), time.monotonic()
    response = send(request)
    seconds = time.monotonic() - started
    end = time.monotonic() + _PATIENCE
    while _left() > left and time.monotonic() < end:
        time.sleep(0.01)
    return {
        "result": _words(response),
        "seconds": seconds,
        "left": _left() - left,
        "mib": (_peak_memory() - memory) / 2**20,
    }


def _words(response: Response) -> str:
    """Return the status, or why there is none, as the documents write it."""
    return response.cause if response.no_response is None else response.no_response.name.replace("_", " ").lower()


def _left() -> int:
    """Return the number of threads and open files."""
    return threading.active_count() + len(list(Path("/dev/fd").iterdir()))


def _reset_peak_memory() -> int:
    """Forget the peak of this process's memory so far, where that is possible, and return the peak in bytes."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux.
    return _peak_memory()


def _peak_memory() -> int:
    """Return the most memory in bytes that this process has used."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # On a Mac in bytes.
    # Not the resource usage, which on Linux begins with that of the parent.
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
