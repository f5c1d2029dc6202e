"""The rows of the file, or of the query, that the options ask for."""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Final

import typer

from ..mapping import load_mapping
from ..sources import BadRow, Row, read_query, read_users
from .options import FileFormat

# What FILE is where a query needs no database.
_NO_DATABASE: Final = frozenset({"-", ":memory:"})


def file_rows(
    file: Path, file_format: FileFormat | None, mapping: Path | None, sql: str | None, *, anonymous: bool = False
) -> Iterator[Row | BadRow]:
    """Return the rows of *file*, or of the query *sql* on it, with *anonymous* users if these are wanted."""
    row_mapping = None if mapping is None else load_mapping(mapping)
    if sql is None:
        return read_users(
            file,
            format=None if file_format is None else file_format.value,
            anonymous=anonymous,
            mapping=row_mapping,
        )
    if file_format is not None:
        raise typer.BadParameter("a query needs no format", param_hint="--format, --sql")
    return read_query(sql, None if str(file) in _NO_DATABASE else file, anonymous=anonymous, mapping=row_mapping)


def begun(rows: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
    """Return *rows* once the first is read: a file that is not there must not leave a ledger behind."""
    return chain(list(islice(rows, 1)), rows)
