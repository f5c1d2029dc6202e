"""A mapping as its file has it."""

from pathlib import Path

from ..config.structuring import structure
from ..config.toml_file import read_toml
from .rules import RowMapping


def load_mapping(path: Path) -> RowMapping:
    """Return the mapping that the TOML file at *path* holds.

    Raises:
        ConfigurationError: The file cannot be read, is not TOML, or has a setting that cannot be used.
    """
    return structure(read_toml(path), RowMapping, f"{path}: ")
