"""The lines of a file as bytes, however it was opened and however long they are."""

import codecs
from collections.abc import Iterator, Mapping
from typing import IO, Any, Final, TypeAlias

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


# The number of a line, counted from 1, and its bytes with the line break, or None when it is longer than `MAX_LINE`.
# One is made for each row of a bulk load, and a tuple is the fastest to make.
Line: TypeAlias = tuple[int, bytes | None]

TOO_LONG: Final = f"is longer than {MAX_LINE // 1024 // 1024} MiB"


def read_lines(stream: IO[bytes], source: str) -> Iterator[Line]:
    """Yield the lines of *stream* without a byte order mark.

    Raises:
        SourceError: It cannot be read, or is not UTF-8 from its first bytes on.
    """
    number = 0
    try:
        while chunk := stream.readline(MAX_LINE):
            number += 1
            if number == 1:
                chunk = _without_mark(chunk, source)
                if not chunk:  # The file is a mark and nothing else.
                    return
            if len(chunk) < MAX_LINE or chunk.endswith(b"\n"):
                yield number, chunk
            else:
                _skip_line(stream)
                yield number, None
    except (OSError, ValueError) as error:
        # A ValueError may quote what was read, for example from a stream that decodes.
        raise SourceError(source, f"cannot be read: {type(error).__name__}") from None


def _skip_line(stream: IO[bytes]) -> None:
    while (chunk := stream.readline(MAX_LINE)) and not chunk.endswith(b"\n"):
        pass


def _without_mark(first: Any, source: str) -> bytes:  # noqa: ANN401  # A stream of text gives text.
    if not isinstance(first, bytes):
        raise SourceError(source, "gives text; open it in binary mode")
    for mark, encoding in _OTHER_ENCODINGS.items():
        if first.startswith(mark):
            raise SourceError(source, f"is {encoding}; save it as UTF-8")
    return first.removeprefix(codecs.BOM_UTF8)
