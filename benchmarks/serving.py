"""The smallest HTTP/1.1 server on asyncio that takes whole bodies, so that what is measured is the client.

It reads requests with a content-length that come one after another on a connection, and nothing else.
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
_UNREADABLE: Final = b"transfer-encoding:"
_ROUNDS_TO_SHOW: Final = 3

Answer: TypeAlias = Callable[["Asked"], bytes | None]
"""Acts on a request and returns the body of a 200, or None for a 404."""


@attrs.define
class Asked:
    """A request as it arrived, with its body unpacked."""

    method: str
    target: str
    body: bytes = attrs.field(repr=False)


@attrs.define
class Stats:
    """Which users arrived, when the first and the last byte about any of them did, and how many requests there were.

    Attributes:
        users: Users acknowledged, with those that came twice.
        distinct: Their ids.
        requests: Requests acknowledged, by method and beginning of the path.
        refused: Requests answered with 429.
        first: `time.monotonic` of the first byte of a request that brings users.
        last: The same of the last byte.
    """

    users: int = 0
    distinct: set[bytes] = attrs.field(factory=set[bytes], repr=False)
    requests: dict[str, int] = attrs.field(factory=dict[str, int])
    refused: int = 0
    first: float | None = None
    last: float | None = None

    def note(self, user_ids: list[bytes]) -> None:
        """Count users that are acknowledged."""
        self.users += len(user_ids)
        self.distinct.update(user_ids)

    def as_json(self) -> bytes:
        """Return the counts."""
        shown = {
            "users": self.users,
            "distinct": len(self.distinct),
            "requests": self.requests,
            "refused": self.refused,
            "first": self.first,
            "last": self.last,
        }
        return orjson.dumps(shown)


@attrs.define
class Quota:
    """At most so many requests in any window of so many seconds; those refused do not count."""

    most: int
    seconds: float
    _taken: deque[float] = attrs.field(init=False, factory=deque[float])

    def wait(self, now: float) -> float:
        """Take a request on and return 0, or return the seconds until there is room for one."""
        while self._taken and self._taken[0] <= now - self.seconds:
            self._taken.popleft()
        if len(self._taken) >= self.most:
            return self._taken[0] + self.seconds - now
        self._taken.append(now)
        return 0.0


@attrs.define
class Server:
    """What all connections share."""

    answer: Answer
    stats: Stats
    latency: float = 0.0
    quota: Quota | None = None
    settle: Callable[[], None] = lambda: None
    """Finishes what an answer has left to be done; called before anything is counted."""

    def response(self, asked: Asked, begun: float) -> bytes:
        """Act on a request and return the whole response."""
        if asked.target == "/_tally":
            self.settle()
            return response(200, self.stats.as_json())
        if asked.target == "/_machine":
            return response(200, orjson.dumps({"pid": os.getpid(), "loop": loop_name()}))
        now = time.monotonic()
        if wait := self.quota.wait(now) if self.quota and asked.method != "GET" else 0.0:
            self.stats.refused += 1
            return response(429, b'{"message":"slow down"}', f"retry-after: {int(wait) + 1}\r\n")
        return self._acknowledge(asked, begun, now)

    def _acknowledge(self, asked: Asked, begun: float, now: float) -> bytes:
        content = self.answer(asked)
        if content is None:
            return response(404, b'{"message":"no such endpoint"}')
        if asked.method != "GET":
            self.stats.first = self.stats.first or begun
            self.stats.last = now
        kind = f"{asked.method} {'/'.join(asked.target.partition('?')[0].split('/')[:4])}"
        self.stats.requests[kind] = self.stats.requests.get(kind, 0) + 1
        return response(200, content)


def response(status: int, content: bytes, header: str = "") -> bytes:
    """Return a whole HTTP response."""
    head = f"HTTP/1.1 {status} {_PHRASES[status]}\r\ncontent-type: application/json\r\n{header}"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.received = bytearray()
        # How many bytes the request at hand has in all, once its head is here.
        self.wanted, self.head_size, self.begun = 0, 0, 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # uvloop's transport is none of asyncio's classes.
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        if not self.received:
            self.begun = time.monotonic()
        self.received += data
        while self._is_whole():
            head = bytes(self.received[: self.head_size])
            body = bytes(self.received[self.head_size : self.wanted])
            del self.received[: self.wanted]
            self.wanted = 0
            self._act(head, body)

    def _is_whole(self) -> bool:
        if not self.wanted:
            end = self.received.find(_HEAD_END)
            if end < 0:
                return False
            head = bytes(self.received[:end]).lower()
            if _UNREADABLE in head:
                self.transport.write(response(411, b'{"message":"send a content-length"}'))
                self.transport.close()
                return False
            self.head_size = end + len(_HEAD_END)
            self.wanted = self.head_size + int(head.partition(_LENGTH)[2].partition(b"\r")[0] or 0)
            if _EXPECT in head and len(self.received) < self.wanted:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return len(self.received) >= self.wanted

    def _act(self, head: bytes, body: bytes) -> None:
        if b"content-encoding: gzip" in head.lower():
            body = gzip.decompress(body)
        method, target, _ = head.split(b" ", 2)
        response = self.server.response(Asked(method.decode(), target.decode(), body), self.begun)
        if self.server.latency and not target.startswith(b"/_"):
            asyncio.get_running_loop().call_later(self.server.latency, self._send, response)
        else:
            self.transport.write(response)

    def _send(self, response: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(response)


def loop_name() -> str:
    """Return which event loop is in use."""
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def serve(server: Server, *, core: int | None, port: int) -> None:
    """Serve on *port* of loopback, or on a free one where it is 0, and print it; until killed."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})

    async def run() -> None:
        listener = await asyncio.get_running_loop().create_server(
            lambda: Connection(server), "127.0.0.1", port, backlog=1024
        )
        print(listener.sockets[0].getsockname()[1], flush=True)
        await listener.serve_forever()

    # Only the benchmarks' own environment has it.
    faster: Any = importlib.import_module("uvloop") if importlib.util.find_spec("uvloop") else None
    with asyncio.Runner(loop_factory=faster.new_event_loop if faster else None) as runner:
        try:
            runner.run(run())
        except KeyboardInterrupt:
            sys.exit(0)
