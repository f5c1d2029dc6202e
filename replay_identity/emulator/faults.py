"""What can go wrong between a client and an emulator: the faults, and how they corrupt a response."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from random import SystemRandom
from typing import Final, Literal, Protocol, TypeAlias, runtime_checkable

import attrs
from attrs import validators
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Send

from .http import VendorResponse

Drop: TypeAlias = Literal["before", "after"]
Garbage: TypeAlias = Literal["html", "empty", "broken", "huge", "drip"]

# Bytes of padding in a huge body, unless the fault has a size.
HUGE: Final = 64 * 1024 * 1024
CHUNK: Final = 64 * 1024

HTML: Final = b"<!DOCTYPE html><html><head><title>Bad gateway</title></head><body>Bad gateway</body></html>"


def _is_probability(_: object, __: object, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ValueError("probability: expected a number from 0 to 1")


def _is_count(_: object, __: object, value: object) -> None:
    if value is not None and (not isinstance(value, int) or value < 1):
        raise ValueError("times: expected a whole number of at least 1, or null")


def _copy(headers: Mapping[str, str]) -> dict[str, str]:
    return dict(headers)


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong, and for which requests.

    A fault without `status`, `drop="before"` or `hang` still applies the request, so `body` and `garbage` simulate a
    success whose response cannot be read.

    Attributes:
        status: Respond with this status, without applying the request.
        headers: Headers to add to the response.
        body: Bytes to respond with instead of the vendor's body.
        latency: Seconds to wait before the request is applied, even if the client leaves meanwhile.
        drop: Close the connection without a response, before or after applying the request.
        hang: Never respond and never apply the request, until the client leaves or the server stops.
        garbage: Corrupt the body: `html` is an HTML page, `empty` has no bytes, `broken` is cut in half, `huge` puts
            `size` spaces before the body and has no Content-Length, `drip` also sends one byte every `pause` seconds.
        size: Spaces before the body; by default 64 Mi for `huge` and none for `drip`.
        pause: Seconds between two bytes of a `drip`.
        skip: Number of matching requests to let through first.
        times: Number of requests to hit, or None for all.
        method: Only hit requests with this method.
        path: Only hit requests whose path, as sent, starts with this.
        route: Only hit requests whose path, as sent, has these segments; `*` matches any segment.
        probability: Probability that a matching request is hit; a miss does not count towards `times`.
    """

    status: int | None = attrs.field(
        default=None,
        validator=validators.optional([validators.instance_of(int), validators.ge(200), validators.le(599)]),
    )
    headers: Mapping[str, str] = attrs.field(
        factory=dict[str, str],
        converter=_copy,
        validator=validators.deep_mapping(validators.instance_of(str), validators.instance_of(str)),
    )
    body: bytes | None = attrs.field(
        default=None, repr=False, validator=validators.optional(validators.instance_of(bytes))
    )
    latency: float = attrs.field(default=0.0, validator=validators.ge(0))
    drop: Drop | None = attrs.field(default=None, validator=validators.in_((None, "before", "after")))
    hang: bool = attrs.field(default=False, validator=validators.instance_of(bool))
    garbage: Garbage | None = attrs.field(
        default=None, validator=validators.in_((None, "html", "empty", "broken", "huge", "drip"))
    )
    size: int | None = attrs.field(
        default=None, validator=validators.optional([validators.instance_of(int), validators.ge(0)])
    )
    pause: float = attrs.field(default=0.05, validator=validators.ge(0))
    skip: int = attrs.field(default=0, validator=[validators.instance_of(int), validators.ge(0)])
    times: int | None = attrs.field(default=1, validator=_is_count)
    method: str | None = attrs.field(default=None, validator=validators.optional(validators.instance_of(str)))
    path: str | None = attrs.field(default=None, repr=False, validator=validators.optional(validators.instance_of(str)))
    route: str | None = attrs.field(
        default=None, repr=False, validator=validators.optional(validators.instance_of(str))
    )
    probability: float = attrs.field(default=1.0, validator=_is_probability)

    def __attrs_post_init__(self) -> None:
        if sum((self.status is not None, self.drop is not None, self.hang)) > 1:
            raise ValueError("fault: expected at most one of status, drop and hang")

    def matches(self, method: str, path: str) -> bool:
        """Return True if the fault may hit a request with this *method* and *path*."""
        return (
            self.method in {None, method}
            and path.startswith(self.path or "")
            and (self.route is None or _segments_match(self.route.split("/"), path.split("/")))
        )


def _segments_match(route: Sequence[str], segments: Sequence[str]) -> bool:
    return len(route) == len(segments) and all(
        pattern in {"*", segment} for pattern, segment in zip(route, segments, strict=True)
    )


@attrs.define(eq=False)
class _QueuedFault:
    fault: Fault
    skips_left: int
    hits_left: int | None


@attrs.define(kw_only=True)
class Faults:
    """A thread-safe queue of faults, tried in the order in which they were added.

    Attributes:
        draw: Returns a number in [0, 1) for faults with a probability below 1.
    """

    draw: Callable[[], float] = attrs.field(default=SystemRandom().random, repr=False)
    _queue: list[_QueuedFault] = attrs.field(init=False, factory=list[_QueuedFault])
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock, repr=False)

    def add(self, fault: Fault) -> None:
        """Inject *fault* into the next requests that match it."""
        with self._lock:
            self._queue.append(_QueuedFault(fault, skips_left=fault.skip, hits_left=fault.times))

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._queue.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault that hits this request and count the hit, or return None."""
        with self._lock:
            for queued in self._queue:
                if queued.fault.matches(method, path) and self._hits(queued):
                    self._count_hit(queued)
                    return queued.fault
        return None

    def _hits(self, queued: _QueuedFault) -> bool:
        if queued.skips_left:
            queued.skips_left -= 1
            return False
        return queued.fault.probability >= 1.0 or self.draw() < queued.fault.probability

    def _count_hit(self, queued: _QueuedFault) -> None:
        if queued.hits_left is None:
            return
        queued.hits_left -= 1
        if not queued.hits_left:
            self._queue.remove(queued)


def corrupt(response: VendorResponse, fault: Fault) -> Response:
    """Return the ASGI response for *response*, with the body that *fault* asks for."""
    match fault.garbage:
        case "html":
            html = {**response.headers, "content-type": "text/html"}
            return _whole(attrs.evolve(response, body=HTML, headers=html))
        case "empty":
            return _whole(attrs.evolve(response, body=b""))
        case "broken":
            return _whole(attrs.evolve(response, body=response.body[: len(response.body) // 2]))
        case "huge":
            return _streamed(response, _huge(response.body, HUGE if fault.size is None else fault.size))
        case "drip":
            return _streamed(response, _drip(b" " * (fault.size or 0) + response.body, fault.pause))
        case _:
            return _whole(response)


def _whole(response: VendorResponse) -> Response:
    return Response(response.body, response.status, dict(response.headers))


def _streamed(response: VendorResponse, chunks: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(chunks, response.status, dict(response.headers))


async def _huge(body: bytes, size: int) -> AsyncIterator[bytes]:
    # Spaces before JSON are valid JSON, so only a client that caps the size of a body is safe.
    for start in range(0, size, CHUNK):
        yield b" " * min(CHUNK, size - start)
        # Let uvicorn notice that the client has left; it does not wait for the client.
        await asyncio.sleep(0)
    yield body


async def _drip(body: bytes, pause: float) -> AsyncIterator[bytes]:
    for position in range(len(body)):
        yield body[position : position + 1]
        await asyncio.sleep(pause)


@runtime_checkable
class _Abortable(Protocol):
    """The part of an asyncio transport that `drop_connection` needs."""

    def abort(self) -> None:
        """Close the connection at once."""
        ...


async def wait_until_client_leaves(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def drop_connection(receive: Receive, send: Send) -> None:
    """Close the TCP connection without a response.

    Raises:
        ConnectionAbortedError: The app is not served by uvicorn, so there is no connection to close.
    """
    # ASGI has no message for this. The `send` that uvicorn hands to the outermost app is a bound method
    # of the object that owns the connection (uvicorn 0.54, read on 2026-11-21,
    # https://github.com/encode/uvicorn/blob/main/uvicorn/protocols/http/h11_impl.py).
    transport: object = getattr(getattr(send, "__self__", None), "transport", None)
    if not isinstance(transport, _Abortable):
        raise ConnectionAbortedError("the emulator dropped the connection")

    transport.abort()
    # uvicorn logs an error for an app that returns without a response, unless it saw the connection close.
    await wait_until_client_leaves(receive)
