"""Users as rows of JSON Lines that `sync` reads back."""

import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final
from uuid import UUID

import attrs
import typer

from ..model import UserTraits
from ..values import iso8601

_STDOUT: Final = Path("-")


@attrs.define
class RowsFile:
    """Where users are written, each once however many backends refused them.

    Attributes:
        stream: Where to, or None to only count.
        count: Users written.
        nameless: Users without an id of the application's own, of whom no row can be made.
    """

    stream: IO[bytes] | None
    count: int = 0
    nameless: int = 0
    _written: set[str] = attrs.field(factory=set[str], repr=False)

    def write(self, user: UserTraits) -> None:
        """Write *user*, unless that is done already."""
        if self.stream is None:
            return
        if user.user_id is None:
            self.nameless += 1
        elif user.user_id not in self._written:
            self._written.add(user.user_id)
            self.stream.write(row_line(user))
            self.count += 1


@contextmanager
def writing(path: Path | None) -> Generator[RowsFile]:
    """Yield what writes users to a new file at *path*, for its owner alone; ``-`` is stdout, None nowhere."""
    if path is None:
        yield RowsFile(None)
    elif path == _STDOUT:
        yield RowsFile(sys.stdout.buffer)
        sys.stdout.buffer.flush()
    else:
        with new_file(path) as stream:
            yield RowsFile(stream)


def row_line(user: UserTraits) -> bytes:
    """Return *user* as a line that `UserTraits.from_mapping` reads back, as far as JSON has types for the values."""
    own = {"user_id": user.user_id, "name": user.name, "email": user.email}
    said = {field: value for field, value in own.items() if value is not None}
    row = {**said, **user.traits, **said}
    return f"{json.dumps(row, ensure_ascii=False, default=_plain)}\n".encode()


def _plain(value: object) -> Any:  # noqa: ANN401  # What JSON has a type for.
    """Return a trait's value that JSON has no type for as one that it has."""
    match value:
        case date():
            return iso8601(value)
        case Decimal():
            number = float(value)
            return number if Decimal(repr(number)) == value else str(value)
        case UUID():
            return str(value)
        case _:  # REMOVE: the ledger still has it, and a null says nothing against it.
            return None


def new_file(path: Path) -> IO[bytes]:
    """Open a file that does not exist yet, so that nothing half mended is written over."""
    try:
        return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
    except FileExistsError:
        raise typer.BadParameter("the file exists; name a new one", param_hint="--output") from None
    except OSError as error:
        raise typer.BadParameter(f"cannot be written: {error.strerror}", param_hint="--output") from None
