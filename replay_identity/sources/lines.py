"""Read a stream of bytes line by line, and number the lines."""

import codecs
from collections.abc import Iterator
from functools import partial
from typing import IO, Final, TypeAlias

from ..errors import SourceError
from .encoding import likely_encoding

# A file without line breaks must not fill the memory; no user is this long.
MAX_LINE: Final = 32 * 1024 * 1024
TOO_LONG: Final = f"is longer than {MAX_LINE // 1024 // 1024} MiB"

# The number of a line, starting at 1, and its bytes with the line break, or None for a line longer than `MAX_LINE`.
# A bulk load makes one for each row, and a tuple is the fastest to make.
Line: TypeAlias = tuple[int, bytes | None]


def read_lines(stream: IO[bytes], source: str) -> Iterator[Line]:
    """Yield the lines of *stream* without a byte order mark, which any line may have in files that were joined.

    Raises:
        SourceError: The stream cannot be read.
    """
    number = 0
    try:
        while chunk := stream.readline(MAX_LINE):
            number += 1
            if len(chunk) < MAX_LINE or chunk.endswith(b"\n"):
                yield number, without_mark(chunk) if chunk.startswith(codecs.BOM_UTF8) else chunk
            else:
                _skip_line(stream)
                yield number, None
    except (OSError, ValueError) as error:
        # A ValueError may quote content, for example from a stream that decodes.
        raise SourceError(source, f"cannot be read: {type(error).__name__}") from None


def line_chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of *stream* faster than `read_lines`, those that are too long in pieces."""
    yield stream.readline(MAX_LINE).removeprefix(codecs.BOM_UTF8)
    yield from iter(partial(stream.readline, MAX_LINE), b"")


def without_mark(content: bytes) -> bytes:
    """Return *content* without the byte order marks at its start."""
    while content.startswith(codecs.BOM_UTF8):
        content = content.removeprefix(codecs.BOM_UTF8)
    return content


def not_utf8(content: bytes) -> str:
    """Return the problem of *content*, which is not UTF-8, with its likely encoding."""
    likely = likely_encoding(content)
    return f"not valid UTF-8; set encoding{'' if likely is None else f', perhaps to {likely}'} (--encoding)"


def _skip_line(stream: IO[bytes]) -> None:
    while (chunk := stream.readline(MAX_LINE)) and not chunk.endswith(b"\n"):
        pass
