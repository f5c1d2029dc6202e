"""From one vendor, or a file, to others, with a record of what their limits made of every property."""

from .migration import migrate, rehearse_migration
from .readers import FileSource, MigrationSource, RowReader, VendorSource
from .report import ListingStats, MigrationReport

__all__ = [
    "FileSource",
    "ListingStats",
    "MigrationReport",
    "MigrationSource",
    "RowReader",
    "VendorSource",
    "migrate",
    "rehearse_migration",
]
