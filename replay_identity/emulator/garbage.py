"""Bodies that a client must survive."""

import asyncio
from collections.abc import AsyncIterator

import attrs
from starlette.responses import Response, StreamingResponse

from .answer import Answer
from .faults import Fault

HUGE = 64 * 1024 * 1024
CHUNK = 64 * 1024

HTML = b"<!DOCTYPE html><html><head><title>Bad gateway</title></head><body>Bad gateway</body></html>"


def spoil(answer: Answer, fault: Fault) -> Response:
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


def _whole(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))


def _streamed(answer: Answer, chunks: AsyncIterator[bytes]) -> Response:
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
