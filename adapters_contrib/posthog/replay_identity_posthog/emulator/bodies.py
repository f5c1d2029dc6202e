"""Unpack and parse the body of a capture request (2026-11-30: rust/capture/src/v1/util.rs and payload/common.rs)."""

import zlib
from base64 import b64decode
from urllib.parse import parse_qsl

from replay_identity.emulator.http import JsonValue, ReceivedRequest, parse_json

GZIP_MAGIC = b"\x1f\x8b\x08"
ZLIB_FIRST_BYTE = b"\x78"
# zlib's parameter `wbits` by format.
GZIP, ZLIB, RAW_DEFLATE = 31, 15, -15
# As serde_json, with which PostHog parses.
MAX_DEPTH = 127


class UnsupportedEncodingError(Exception):
    """The body has an encoding that is not supported."""


class UnpackedTooLargeError(Exception):
    """The unpacked body is over the limit."""


def unpacked(request: ReceivedRequest, limit: int) -> bytes:
    """Return the body without its Content-Encoding, as version 1 does; raise ValueError if it is broken."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    # Policy: br and zstd, which PostHog supports, are not supported here.
    match encoding:
        case "identity":
            return request.body
        case "gzip":
            return _inflate(request.body, GZIP, limit)
        case "deflate":
            return _inflate(request.body, ZLIB if request.body[:1] == ZLIB_FIRST_BYTE else RAW_DEFLATE, limit)
        case _:
            raise UnsupportedEncodingError


def sniffed(request: ReceivedRequest, limit: int) -> bytes:
    """Return the payload of version 0, whatever the headers say of its encoding; raise ValueError if it is broken."""
    payload = request.query.get("data", "").encode() or request.body
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        payload = dict(parse_qsl(payload.decode(errors="replace"))).get("data", "").replace(" ", "+").encode()
    # Policy: what is neither JSON nor packed is base64.
    if not payload.lstrip().startswith((b"{", b"[", GZIP_MAGIC)):
        payload = b64decode(payload)
    return _inflate(payload, GZIP, limit) if payload.startswith(GZIP_MAGIC) else payload


def parse_shallow(body: bytes) -> JsonValue:
    """Return the JSON value in *body*; raise ValueError if it is not JSON, or nested deeper than PostHog parses."""
    value = parse_json(body)
    if _is_deeper(value, MAX_DEPTH):
        raise ValueError("recursion limit exceeded")
    return value


def _inflate(body: bytes, wbits: int, limit: int) -> bytes:
    unpacker = zlib.decompressobj(wbits)
    try:
        content = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise ValueError("the body cannot be unpacked") from error
    if len(content) > limit:
        raise UnpackedTooLargeError
    if not unpacker.eof:
        raise ValueError("the packed body ends too early")
    return content


def _is_deeper(value: JsonValue, depth: int) -> bool:
    if not isinstance(value, list | dict):
        return False
    items = value.values() if isinstance(value, dict) else value
    return not depth or any(_is_deeper(item, depth - 1) for item in items)
