"""A minimal asyncio HTTP/1.1 server that reads whole bodies, so that the client is measured and not the server.

It reads requests with a content-length that are not pipelined, and nothing else.
"""

import asyncio
import gzip
import importlib
import importlib.util
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs
import orjson

_PHRASES: Final[Mapping[int, str]] = {200: "OK", 404: "Not Found", 411: "Length Required", 429: "Too Many Requests"}
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_EXPECT: Final = b"expect: 100-continue"
_UNSUPPORTED: Final = b"transfer-encoding:"
_MAX_LATE: Final = 0.02


@attrs.define
class Request:
    """A request with its decompressed body."""

    method: str
    target: str
    body: bytes = attrs.field(repr=False)


Handler: TypeAlias = Callable[[Request], bytes | None]
"""Handles a request and returns the body of a 200, or None for a 404."""


@attrs.define
class Stats:
    """Counts of users and requests, and the times of the first and the last write.

    Attributes:
        users: Number of acknowledged users; a user sent twice counts twice.
        distinct: Ids of the acknowledged users.
        requests: Acknowledged requests by method and start of the path.
        rate_limited: Number of responses with 429.
        first: Time on `time.monotonic` when the first byte of the first write arrived.
        last: Time on `time.monotonic` when the last byte of the last write arrived.
    """

    users: int = 0
    distinct: set[bytes] = attrs.field(factory=set[bytes], repr=False)
    requests: dict[str, int] = attrs.field(factory=dict[str, int])
    rate_limited: int = 0
    first: float | None = None
    last: float | None = None

    def add(self, user_ids: list[bytes]) -> None:
        """Count acknowledged users."""
        self.users += len(user_ids)
        self.distinct.update(user_ids)

    def as_json(self) -> bytes:
        """Return the counts as JSON."""
        counts = {
            "users": self.users,
            "distinct": len(self.distinct),
            "requests": self.requests,
            "rate_limited": self.rate_limited,
            "first": self.first,
            "last": self.last,
        }
        return orjson.dumps(counts)


@attrs.define
class Quota:
    """A maximum number of requests in any window of *seconds*; rejected requests do not count."""

    max_requests: int
    seconds: float
    _accepted: deque[float] = attrs.field(init=False, factory=deque[float])

    def acquire(self, now: float) -> float:
        """Count a request and return 0, or return the seconds until the quota has room for it."""
        while self._accepted and self._accepted[0] <= now - self.seconds:
            self._accepted.popleft()
        if len(self._accepted) >= self.max_requests:
            return self._accepted[0] + self.seconds - now

        self._accepted.append(now)
        return 0.0


@attrs.define
class Pace:
    """Responses one after another, each at least *seconds* after the one before, like a vendor that is busy."""

    seconds: float
    _next: float = attrs.field(init=False, default=0.0)

    def wait(self) -> None:
        """Block until the next response may leave."""
        now = time.monotonic()
        # What is late, as on a busy machine, is made up for, but a pause of the clients is not.
        self._next = max(self._next, now - _MAX_LATE) + self.seconds
        time.sleep(max(self._next - self.seconds - now, 0.0))


@attrs.define
class Server:
    """The state that all connections share.

    Attributes:
        handle: Handles a request.
        stats: The counts.
        latency: Seconds to wait before each response.
        quota: Quota for all requests but GET; None sets none.
        pace: Blocks the whole server before each response; None responds at once.
        finish: Completes the work that `handle` deferred; called before the counts are read.
    """

    handle: Handler
    stats: Stats
    latency: float = 0.0
    quota: Quota | None = None
    pace: Pace | None = None
    finish: Callable[[], None] = lambda: None

    def respond(self, request: Request, received_at: float) -> bytes:
        """Handle *request* and return the whole response."""
        if request.target == "/_stats":
            self.finish()
            return response(200, self.stats.as_json())

        now = time.monotonic()
        if wait := self.quota.acquire(now) if self.quota and request.method != "GET" else 0.0:
            self.stats.rate_limited += 1
            return response(429, b'{"message":"slow down"}', f"retry-after: {int(wait) + 1}\r\n")

        content = self.handle(request)
        if content is None:
            return response(404, b'{"message":"no such endpoint"}')

        self._count(request, received_at, now)
        return response(200, content)

    def _count(self, request: Request, received_at: float, now: float) -> None:
        if request.method != "GET":
            self.stats.first = self.stats.first or received_at
            self.stats.last = now
        endpoint = f"{request.method} {'/'.join(request.target.partition('?')[0].split('/')[:4])}"
        self.stats.requests[endpoint] = self.stats.requests.get(endpoint, 0) + 1


def response(status: int, content: bytes, header: str = "") -> bytes:
    """Return a whole HTTP response."""
    head = f"HTTP/1.1 {status} {_PHRASES[status]}\r\ncontent-type: application/json\r\n{header}"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.received = bytearray()
        # The size of the current request in bytes; 0 until its head is complete.
        self.size = 0
        self.head_size, self.received_at = 0, 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # Untyped, because uvloop's transport is not a subclass of asyncio's.
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Respond to each complete request."""
        if not self.received:
            self.received_at = time.monotonic()
        self.received += data
        while self._is_complete():
            head = bytes(self.received[: self.head_size])
            body = bytes(self.received[self.head_size : self.size])
            del self.received[: self.size]
            self.size = 0
            self._respond(head, body)

    def _is_complete(self) -> bool:
        if not self.size:
            end = self.received.find(_HEAD_END)
            if end < 0:
                return False
            head = bytes(self.received[:end]).lower()
            if _UNSUPPORTED in head:
                self.transport.write(response(411, b'{"message":"send a content-length"}'))
                self.transport.close()
                return False
            self.head_size = end + len(_HEAD_END)
            self.size = self.head_size + int(head.partition(_LENGTH)[2].partition(b"\r")[0] or 0)
            if _EXPECT in head and len(self.received) < self.size:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return len(self.received) >= self.size

    def _respond(self, head: bytes, body: bytes) -> None:
        if b"content-encoding: gzip" in head.lower():
            body = gzip.decompress(body)
        method, target, _ = head.split(b" ", 2)
        response = self.server.respond(Request(method.decode(), target.decode(), body), self.received_at)
        if self.server.pace and not target.startswith(b"/_"):
            self.server.pace.wait()
        if self.server.latency and not target.startswith(b"/_"):
            asyncio.get_running_loop().call_later(self.server.latency, self._send, response)
        else:
            self.transport.write(response)

    def _send(self, response: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(response)


def serve(server: Server, *, core: int | None, port: int) -> None:
    """Serve on *port* of the loopback interface until killed; 0 chooses a free port. Print the port."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})

    async def run() -> None:
        listener = await asyncio.get_running_loop().create_server(
            lambda: Connection(server), "127.0.0.1", port, backlog=1024
        )
        print(listener.sockets[0].getsockname()[1], flush=True)
        await listener.serve_forever()

    # Only the environment of the peers has uvloop. It writes at the end of a turn of its loop: too late for a pace.
    has_uvloop = server.pace is None and importlib.util.find_spec("uvloop")
    uvloop: Any = importlib.import_module("uvloop") if has_uvloop else None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None) as runner:
        try:
            runner.run(run())
        except KeyboardInterrupt:
            sys.exit(0)
