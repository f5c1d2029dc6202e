"""What a fake vendor answers."""

from collections.abc import Mapping
from typing import TypeAlias
from urllib.parse import unquote

import attrs
import orjson
from starlette.datastructures import Headers, QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]

JSON_TYPE = "application/json"


@attrs.frozen(kw_only=True)
class VendorResponse:
    """One HTTP response, and whether the vendor's state changed for it."""

    status: int
    body: bytes = attrs.field(default=b"", repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    applied: bool = False


def json_response(status: int, value: JsonValue, *, applied: bool = False) -> VendorResponse:
    """Return an answer that holds *value* as JSON."""
    headers = {"content-type": JSON_TYPE}
    return VendorResponse(status=status, body=orjson.dumps(value), headers=headers, applied=applied)


def parse_json(body: bytes) -> JsonValue:
    """Return the JSON in *body*.

    Raises:
        ValueError: The body is not JSON.
    """
    value: JsonValue = orjson.loads(body)
    return value


BAD_REQUEST = 400
TOO_LARGE = 413


@attrs.frozen(kw_only=True)
class ReceivedRequest:
    """One HTTP request; `path` is as sent, `segments` are percent-decoded one by one."""

    method: str
    path: str = attrs.field(repr=False)
    segments: tuple[str, ...] = attrs.field(repr=False)
    query: QueryParams = attrs.field(factory=QueryParams, repr=False)
    headers: Headers = attrs.field(factory=Headers, repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    unreadable: int | None = None
    """The status to refuse it with, when no vendor could make sense of it."""


async def read_request(scope: Scope, receive: Receive, *, max_body: int) -> ReceivedRequest | None:
    """Return the whole request, or None when the client left while sending it."""
    request = Request(scope, receive)
    try:
        body = await _read_body(request, max_body)
    except ClientDisconnect:
        return None

    path = _raw_path(scope)
    segments = _segments(path)
    return ReceivedRequest(
        method=request.method,
        path=path,
        segments=segments or (),
        query=request.query_params,
        headers=request.headers,
        body=body or b"",
        unreadable=TOO_LARGE if body is None else BAD_REQUEST if segments is None else None,
    )


async def _read_body(request: Request, limit: int) -> bytes | None:
    body = bytearray()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit:
            body += chunk

    # A body over the limit is read to its end: a connection closed on unread bytes resets,
    # and the client would never see the 413.
    return bytes(body) if size <= limit else None


def _raw_path(scope: Scope) -> str:
    # scope["path"] is decoded, so an id with %2F in it has become two segments there.
    raw: bytes = scope["raw_path"]
    return raw.decode("ascii")


def _segments(path: str) -> tuple[str, ...] | None:
    try:
        return tuple(unquote(part, errors="strict") for part in path.split("/")[1:])
    except UnicodeDecodeError:
        return None
