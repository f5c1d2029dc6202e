"""Users out of files, a row at a time."""

from .inferring import infer_mapping
from .nesting import nested
from .reading import Format, read_query, read_users
from .rows import BadRow, Row

__all__ = ["BadRow", "Format", "Row", "infer_mapping", "nested", "read_query", "read_users"]
