"""The types of a source's fields, out of its rows."""

from collections.abc import Iterable

from ..mapping import Inference
from .rows import BadRow, Row


def infer_mapping(rows: Iterable[Row | BadRow]) -> Inference:
    """Return what *rows* tell of the types of their fields; rows that are no users tell nothing."""
    inference = Inference()
    for row in rows:
        if isinstance(row, Row):
            inference.add(row.user, row.line)
    return inference
