"""From one vendor, or a file, to others, with a record of what their limits made of every property."""

from .migrate import migrate, rehearse_migration
from .readings import FileSource, Reading, Source, VendorSource
from .record import Listed
from .report import MigrationReport

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
