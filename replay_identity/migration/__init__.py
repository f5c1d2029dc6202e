"""From one vendor, or a file, to others, with a record of what their limits made of every property."""

from .migration import migrate, rehearse_migration
from .readers import FileSource, Reading, Source, VendorSource
from .report import Listed, MigrationReport

__all__ = [
    "FileSource",
    "Listed",
    "MigrationReport",
    "Reading",
    "Source",
    "VendorSource",
    "migrate",
    "rehearse_migration",
]
