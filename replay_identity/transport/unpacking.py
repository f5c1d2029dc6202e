"""Bodies of responses, unpacked in bounded steps and within limits, for all our clients."""

import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Final

from ..adapters.exchange import NoResponse
from .senders import MAX_RESPONSE_BYTES

# Bytes that one step takes or returns, so that between two steps a deadline can pass, and an event loop can run.
STEP_BYTES: Final = 65_536

# The window that zlib expects: with a header of gzip, with one of zlib, or without any.
_GZIP: Final = zlib.MAX_WBITS | 16
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS
_ENCODINGS: Final = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}
# Enough to see whether deflated data has the header of zlib, which some servers leave out.
_HEADER_BYTES: Final = 2


class BodyAbortedError(Exception):
    """The response is too large, too slow, or cannot be unpacked."""

    def __init__(self, no_response: NoResponse) -> None:
        super().__init__(no_response)
        self.no_response = no_response


class Body:
    """The body of one response.

    Args:
        encoding: The header ``Content-Encoding``. At most one encoding is unpacked: gzip makes a response a thousand
            times larger, and gzip in gzip a million times.
    """

    def __init__(self, encoding: str = "") -> None:
        names = _names(encoding) if encoding else []
        self._is_packed = bool(names)
        self._window = _ENCODINGS.get(names[0]) if len(names) == 1 else None
        self._unpack = zlib.decompressobj(_GZIP) if self._window == _GZIP else None
        # Bytes that are not unpacked yet, and True if there is more to return before the next ones.
        self._packed, self._has_more = b"", False
        self._received = 0
        self._content = BytesIO()

    def add(self, chunk: bytes) -> Iterable[None]:
        """Add received bytes; each step through the result unpacks a part of them.

        Raises:
            BodyAbortedError: The body is too large, or cannot be unpacked.
        """
        self._received += len(chunk)
        if self._received > MAX_RESPONSE_BYTES:
            raise BodyAbortedError(NoResponse.TOO_LARGE)
        if self._is_packed:
            return self._steps(chunk)
        self._content.write(chunk)
        return ()

    def content(self) -> bytes:
        """Return the whole body.

        Raises:
            BodyAbortedError: The packed data ended early.
        """
        if self._is_packed and self._received and not (self._unpack and self._unpack.eof):
            raise BodyAbortedError(NoResponse.UNREADABLE)
        return self._content.getvalue()

    def _steps(self, chunk: bytes) -> Iterator[None]:
        if self._window is None and chunk:
            raise BodyAbortedError(NoResponse.UNREADABLE)
        for start in range(0, len(chunk), STEP_BYTES):
            self._packed += chunk[start : start + STEP_BYTES]
            if self._unpack is None:
                if len(self._packed) < _HEADER_BYTES:
                    continue
                self._unpack = zlib.decompressobj(_ZLIB if _has_header(self._packed) else _RAW)
            while self._packed or self._has_more:
                self._unpack_some()
                yield

    def _unpack_some(self) -> None:
        unpack = self._unpack
        if unpack is None or unpack.eof:
            # A gzip file may have several members, one after the other; other data must end here.
            if self._window != _GZIP:
                raise BodyAbortedError(NoResponse.UNREADABLE)
            unpack = self._unpack = zlib.decompressobj(_GZIP)
        try:
            piece = unpack.decompress(self._packed, STEP_BYTES)
        except zlib.error:
            raise BodyAbortedError(NoResponse.UNREADABLE) from None
        self._content.write(piece)
        self._has_more = len(piece) == STEP_BYTES and not unpack.eof
        self._packed = unpack.unused_data if unpack.eof else unpack.unconsumed_tail
        if self._content.tell() > MAX_RESPONSE_BYTES:
            raise BodyAbortedError(NoResponse.TOO_LARGE)


def _names(encoding: str) -> list[str]:
    return [name for part in encoding.split(",") if (name := part.strip().lower()) not in {"", "identity"}]


def _has_header(packed: bytes) -> bool:
    """Return True if deflated data starts with the header of zlib (RFC 1950, section 2.2)."""
    first, second = packed[:_HEADER_BYTES]
    return first & 0x0F == zlib.DEFLATED and (first << 8 | second) % 31 == 0
