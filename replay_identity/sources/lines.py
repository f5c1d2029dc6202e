"""The lines of a file as bytes, however it was opened and however long they are."""

import codecs
from collections.abc import Iterator, Mapping
from typing import IO, Any, Final

import attrs

from ..errors import SourceError

# A file without line breaks must not fill the memory; no user is this long.
MAX_LINE: Final = 32 * 1024 * 1024

# UTF-32 comes first: its mark begins with that of UTF-16.
_OTHER_ENCODINGS: Final[Mapping[bytes, str]] = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


@attrs.frozen
class Line:
    """One line.

    Attributes:
        number: Its number, counted from 1.
        content: Its bytes with the line break, or None when it is longer than `MAX_LINE`.
    """

    number: int
    content: bytes | None = attrs.field(repr=False)


TOO_LONG: Final = f"is longer than {MAX_LINE // 1024 // 1024} MiB"


def read_lines(stream: IO[bytes], source: str) -> Iterator[Line]:
    """Yield the lines of *stream* without a byte order mark.

    Raises:
        SourceError: It cannot be read, or is not UTF-8 from its first bytes on.
    """
    number = 0
    while chunk := _read(stream, source):
        number += 1
        if number == 1:
            chunk = _without_mark(chunk, source)
        if len(chunk) < MAX_LINE or chunk.endswith(b"\n"):
            yield Line(number, chunk)
        else:
            _skip_line(stream, source)
            yield Line(number, None)


def _read(stream: IO[bytes], source: str) -> bytes:
    try:
        chunk: Any = stream.readline(MAX_LINE)
    except (OSError, ValueError) as error:
        # A ValueError may quote what was read, for example from a stream that decodes.
        raise SourceError(source, f"cannot be read: {type(error).__name__}") from None
    if isinstance(chunk, bytes):
        return chunk
    raise SourceError(source, "gives text; open it in binary mode")


def _skip_line(stream: IO[bytes], source: str) -> None:
    while (chunk := _read(stream, source)) and not chunk.endswith(b"\n"):
        pass


def _without_mark(first: bytes, source: str) -> bytes:
    for mark, encoding in _OTHER_ENCODINGS.items():
        if first.startswith(mark):
            raise SourceError(source, f"is {encoding}; save it as UTF-8")
    return first.removeprefix(codecs.BOM_UTF8)
