"""Users out of files, a row at a time."""

from .readers import Format, infer_mapping, read_query, read_users
from .rows import BadRow, Row, nested

__all__ = ["BadRow", "Format", "Row", "infer_mapping", "nested", "read_query", "read_users"]
