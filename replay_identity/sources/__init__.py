"""Read users from files and queries, one row at a time."""

from .._paths import nest_fields
from .readers import Format, infer_mapping, read_query, read_users
from .rows import BadRow, Row, Rows

__all__ = ["BadRow", "Format", "Row", "Rows", "infer_mapping", "nest_fields", "read_query", "read_users"]
