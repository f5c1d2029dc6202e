"""What may go wrong between a client and a fake vendor."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import attrs
from attrs import validators
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Send

from .http import VendorResponse

Drop: TypeAlias = Literal["before", "after"]
Garbage: TypeAlias = Literal["html", "empty", "broken", "huge", "drip"]


def _is_probability(_: object, __: object, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ValueError("probability must be from 0 to 1")


def _is_count(_: object, __: object, value: object) -> None:
    if value is not None and (not isinstance(value, int) or value < 1):
        raise ValueError("times must be a whole number from 1, or null")


def _copy(headers: Mapping[str, str]) -> dict[str, str]:
    return dict(headers)


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong, and for which requests.

    A fault without `status`, `drop="before"` or `hang` lets the vendor act on the request, so that `body`
    and `garbage` make a success that cannot be read.

    Attributes:
        status: Answer this, and do not act on the request.
        headers: Headers added to the answer.
        body: Bytes answered instead of the vendor's.
        latency: Seconds before the vendor acts. A client that leaves meanwhile does not stop it.
        drop: Close the connection without an answer, before or after acting on the request.
        hang: Never answer and never act, until the client leaves or the server stops.
        garbage: Spoil the answer's body: an HTML page, nothing, JSON cut in half, the true body after
            `size` bytes of blanks without a Content-Length, or that one byte at a time, `pause` apart.
        size: Bytes of blanks for `huge` (64 MiB unless said) and `drip` (none unless said).
        pause: Seconds between the bytes of a `drip`.
        skip: How many matching requests are let through before it hits the first.
        times: How many requests it hits; None is all of them.
        method: Only requests with this method.
        path: Only requests whose path, as sent, starts with this.
        route: Only requests whose path, as sent, is this, segment by segment; `*` is any one segment.
        probability: How likely a matching request is hit; a miss uses up none of the `times`.
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
            raise ValueError("status, drop and hang exclude each other")

    def matches(self, method: str, path: str) -> bool:
        """Say whether the fault is meant for such a request."""
        return (
            self.method in {None, method}
            and path.startswith(self.path or "")
            and (self.route is None or _fits(self.route.split("/"), path.split("/")))
        )


def _fits(route: Sequence[str], segments: Sequence[str]) -> bool:
    return len(route) == len(segments) and all(
        wanted in {"*", given} for wanted, given in zip(route, segments, strict=True)
    )


@attrs.define(eq=False)
class _Waiting:
    fault: Fault
    skips: int
    left: int | None


@attrs.define(kw_only=True)
class Faults:
    """The faults that wait for requests, first added first taken; safe to use from any thread."""

    draw: Callable[[], float] = attrs.field(default=random.random, repr=False)
    """Gives a number in [0, 1) for every fault that is not certain."""

    _waiting: list[_Waiting] = attrs.field(init=False, factory=list[_Waiting])
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock, repr=False)

    def add(self, fault: Fault) -> None:
        """Let *fault* happen to the next requests it matches."""
        with self._lock:
            self._waiting.append(_Waiting(fault, skips=fault.skip, left=fault.times))

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        with self._lock:
            self._waiting.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault that hits this request, and use up one of its times."""
        with self._lock:
            for waiting in self._waiting:
                if waiting.fault.matches(method, path) and self._strikes(waiting):
                    self._use_up(waiting)
                    return waiting.fault
        return None

    def _strikes(self, waiting: _Waiting) -> bool:
        if waiting.skips:
            waiting.skips -= 1
            return False
        return waiting.fault.probability >= 1.0 or self.draw() < waiting.fault.probability

    def _use_up(self, waiting: _Waiting) -> None:
        if waiting.left is None:
            return
        waiting.left -= 1
        if not waiting.left:
            self._waiting.remove(waiting)


HUGE = 64 * 1024 * 1024
CHUNK = 64 * 1024

HTML = b"<!DOCTYPE html><html><head><title>Bad gateway</title></head><body>Bad gateway</body></html>"


def corrupt(answer: VendorResponse, fault: Fault) -> Response:
    """Return the response for *answer* with the body that *fault* wants."""
    match fault.garbage:
        case "html":
            html = {**answer.headers, "content-type": "text/html"}
            return _whole(attrs.evolve(answer, body=HTML, headers=html))
        case "empty":
            return _whole(attrs.evolve(answer, body=b""))
        case "broken":
            return _whole(attrs.evolve(answer, body=answer.body[: len(answer.body) // 2]))
        case "huge":
            return _streamed(answer, _huge(answer.body, HUGE if fault.size is None else fault.size))
        case "drip":
            return _streamed(answer, _drip(b" " * (fault.size or 0) + answer.body, fault.pause))
        case _:
            return _whole(answer)


def _whole(answer: VendorResponse) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))


def _streamed(answer: VendorResponse, chunks: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(chunks, answer.status, dict(answer.headers))


async def _huge(body: bytes, size: int) -> AsyncIterator[bytes]:
    # Blanks before JSON are JSON: only a client that caps what it reads is safe.
    for start in range(0, size, CHUNK):
        yield b" " * min(CHUNK, size - start)
        # uvicorn does not wait for a client that has left; give it a chance to notice.
        await asyncio.sleep(0)
    yield body


async def _drip(body: bytes, pause: float) -> AsyncIterator[bytes]:
    for position in range(len(body)):
        yield body[position : position + 1]
        await asyncio.sleep(pause)


@runtime_checkable
class Abortable(Protocol):
    """The part of an asyncio transport that is needed here."""

    def abort(self) -> None:
        """Close the connection at once."""
        ...


async def wait_until_client_leaves(receive: Receive) -> None:
    """Return when the connection is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def drop_connection(receive: Receive, send: Send) -> None:
    """Close the TCP connection without an HTTP answer.

    Raises:
        ConnectionAbortedError: The app is not served by uvicorn, so there is no connection to close.
    """
    # ASGI has no message for this. The `send` that uvicorn hands to the outermost app is a bound method
    # of the object that owns the connection (uvicorn 0.54, read on 2026-11-21,
    # https://github.com/encode/uvicorn/blob/main/uvicorn/protocols/http/h11_impl.py).
    transport: object = getattr(getattr(send, "__self__", None), "transport", None)
    if not isinstance(transport, Abortable):
        raise ConnectionAbortedError("The emulator dropped the connection.")

    transport.abort()
    # uvicorn reports an app that returns unanswered, unless it has seen the connection go.
    await wait_until_client_leaves(receive)
