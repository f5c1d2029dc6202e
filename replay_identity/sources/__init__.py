"""Read users from files, queries and rows of Python, one at a time."""

from .._paths import nest_fields
from .files import Format
from .frames import FrameLike
from .inspection import SourceInspection
from .python_rows import RowLike, read_rows
from .readers import infer_mapping, read_query, read_users
from .rows import BadRow, EventCounts, Row, Rows, SourceNotes

__all__ = [
    "BadRow",
    "EventCounts",
    "Format",
    "FrameLike",
    "Row",
    "RowLike",
    "Rows",
    "SourceInspection",
    "SourceNotes",
    "infer_mapping",
    "nest_fields",
    "read_query",
    "read_rows",
    "read_users",
]
