"""One way in for every format."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Final, Literal, TypeAlias

from ..errors import SourceError
from ..model import USER_ID_NAMES
from .csv_rows import csv_rows
from .json_lines import json_rows
from .lines import Line, read_lines
from .rows import BadRow, Row

Format: TypeAlias = Literal["jsonl", "csv"]

STDIN: Final = "-"
_NO_ID: Final = f"has none of {', '.join(USER_ID_NAMES)}, so it would be an anonymous user"

_FORMATS: Final[Mapping[str, Format]] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv"}
_ROWS: Final[Mapping[Format, Callable[[Iterator[Line], str], Iterator[Row | BadRow]]]] = {
    "jsonl": json_rows,
    "csv": csv_rows,
}


def read_users(
    path: str | Path | IO[bytes],
    *,
    format: Format | None = None,  # noqa: A002  # The word a caller looks for.
    anonymous: bool = False,
) -> Iterator[Row | BadRow]:
    """Yield the users of a file one after another, in constant memory.

    A row that is no user is a BadRow, and the reading goes on. In JSON Lines each line is an object; in CSV all
    values are strings and an empty cell says nothing. Blank lines are skipped. Nothing is opened before the
    first row is asked for.

    Args:
        path: The file, ``-`` for standard input, or a binary stream, which stays the caller's to close.
        format: ``"jsonl"`` or ``"csv"``; by default what the suffix says, and JSON Lines where there is none to go by.
        anonymous: Whether a row without an id is an anonymous user. By default it is a BadRow: nearly always the id
            has another name in the file, and each run would create all users anew at Fullstory.

    Raises:
        SourceError: The file as a whole cannot be read, is not UTF-8, or has no usable header.
    """
    source = _name(path)
    with _open(path, source) as stream:
        chosen = format or _format(path, source)
        for row in _ROWS[chosen](read_lines(stream, source), source):
            if isinstance(row, Row) and row.user.user_id is None and not anonymous:
                yield BadRow(row.line, row.line, _NO_ID)
            else:
                yield row


def _name(path: str | Path | IO[bytes]) -> str:
    if isinstance(path, str | Path):
        return "standard input" if str(path) == STDIN else str(path)
    name: object = getattr(path, "name", None)
    return name if isinstance(name, str) else "stream"


def _open(path: str | Path | IO[bytes], source: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    if not isinstance(path, str | Path):
        return contextlib.nullcontext(path)
    if str(path) == STDIN:
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return Path(path).open("rb")
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else None
        raise SourceError(source, f"cannot be read: {problem or type(error).__name__}") from None


def _format(path: str | Path | IO[bytes], source: str) -> Format:
    if not isinstance(path, str | Path) or str(path) == STDIN:
        return "jsonl"
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        known = ", ".join(_FORMATS)
        raise SourceError(source, f"does not end in {known}; say whether its format is jsonl or csv")
    return _FORMATS[suffix]
