"""Move users from a vendor or a file to other vendors, and report what their limits did to each property."""

from .logrocket_export import read_logrocket_export
from .migration import migrate
from .readers import FileSource, MigrationSource, RowReader, VendorSource, Via
from .report import ListingStats, MigrationReport

__all__ = [
    "FileSource",
    "ListingStats",
    "MigrationReport",
    "MigrationSource",
    "RowReader",
    "VendorSource",
    "Via",
    "migrate",
    "read_logrocket_export",
]
