"""Settings from a TOML file and the environment, made into backends."""

from .document import DEFAULT_FILE
from .sections import Section
from .settings import Settings, load_ledger_path, load_settings, read_sections

__all__ = ["DEFAULT_FILE", "Section", "Settings", "load_ledger_path", "load_settings", "read_sections"]
