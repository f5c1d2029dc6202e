"""The request that an emulator receives and the response that it sends."""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final, TypeAlias
from urllib.parse import unquote

import attrs
import orjson
from starlette.datastructures import Headers, QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]

BAD_REQUEST: Final = 400
FORBIDDEN: Final = 403
TOO_LARGE: Final = 413
MISDIRECTED: Final = 421

AUTHORITY: Final = re.compile(r"([^:@/\[\]\s]+|\[::1\])(?::\d{0,5})?", re.ASCII)
LOOPBACK_NAME: Final = re.compile(
    r"localhost|127(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}|\[::1\]", re.ASCII | re.IGNORECASE
)
ORIGIN: Final = re.compile(r"https?://(.+)", re.ASCII | re.IGNORECASE)


@attrs.frozen(kw_only=True)
class ReceivedRequest:
    """One HTTP request.

    Attributes:
        method: The HTTP method.
        path: The path as sent, still percent-encoded.
        segments: The segments of the path, each percent-decoded.
        query: The query parameters.
        headers: The headers; names are case-insensitive.
        body: The body.
        error_status: The status to reject the request with because it could not be read, or None.
    """

    method: str
    path: str = attrs.field(repr=False)
    segments: tuple[str, ...] = attrs.field(repr=False)
    query: QueryParams = attrs.field(factory=QueryParams, repr=False)
    headers: Headers = attrs.field(factory=Headers, repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    error_status: int | None = None


@attrs.frozen(kw_only=True)
class VendorResponse:
    """One HTTP response.

    Attributes:
        status: The HTTP status.
        body: The body.
        headers: The headers, with names in lower case.
        applied: Whether the request changed the vendor's state.
    """

    status: int
    body: bytes = attrs.field(default=b"", repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    applied: bool = False


def json_response(status: int, value: JsonValue, *, applied: bool = False) -> VendorResponse:
    """Return a response with *value* as its JSON body."""
    headers = {"content-type": "application/json"}
    return VendorResponse(status=status, body=orjson.dumps(value), headers=headers, applied=applied)


def parse_json(body: bytes) -> JsonValue:
    """Return the JSON value in *body*.

    Raises:
        ValueError: The body is not JSON, or is nested so deeply that it could not be shown within further JSON.
    """
    value: JsonValue = orjson.loads(body)
    try:
        # Responses and views repeat parts of it, and orjson reads deeper nesting than it writes.
        orjson.dumps([[[value]]])
    except orjson.JSONEncodeError:
        raise ValueError("nested too deeply") from None
    return value


def foreign_status(request: ReceivedRequest, allowed_hosts: AbstractSet[str]) -> int | None:
    """Return the status to refuse a request that was sent for another host or by a foreign web page, or None.

    A page can make a browser send requests to this machine. If the page's own name then resolves to this machine ("DNS
    rebinding"), it can also read the responses. Host has that name, and browsers say in Origin and Sec-Fetch-Site who
    sends.
    """
    hosts = request.headers.getlist("host")
    # A target such as "http://other/path" names a host of its own.
    if len(hosts) != 1 or not request.path.startswith("/") or not _is_own(hosts[0], allowed_hosts):
        return MISDIRECTED

    origins = [ORIGIN.fullmatch(origin) for origin in request.headers.getlist("origin")]
    sites = [site.strip().lower() for site in request.headers.getlist("sec-fetch-site")]
    if "cross-site" in sites or not all(match and _is_own(match[1], allowed_hosts) for match in origins):
        return FORBIDDEN
    return None


def _is_own(authority: str, allowed_hosts: AbstractSet[str]) -> bool:
    match = AUTHORITY.fullmatch(authority)
    if match is None:
        return False
    return LOOPBACK_NAME.fullmatch(match[1]) is not None or match[1].lower() in allowed_hosts


async def read_request(scope: Scope, receive: Receive, *, max_body: int) -> ReceivedRequest | None:
    """Return the whole request, or None if the client left while sending it."""
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
        error_status=TOO_LARGE if body is None else BAD_REQUEST if segments is None else None,
    )


async def _read_body(request: Request, limit: int) -> bytes | None:
    body = bytearray()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit:
            body += chunk

    # A body over the limit is still read to its end: closing a connection with unread bytes resets it,
    # and the client would never see the 413.
    return bytes(body) if size <= limit else None


def _raw_path(scope: Scope) -> str:
    # scope["path"] is decoded, so an id that contains %2F would already be two segments.
    raw: bytes = scope["raw_path"]
    return raw.decode("ascii")


def _segments(path: str) -> tuple[str, ...] | None:
    try:
        return tuple(unquote(part, errors="strict") for part in path.split("/")[1:])
    except UnicodeDecodeError:
        return None
