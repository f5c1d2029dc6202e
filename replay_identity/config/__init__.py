"""Settings from a TOML file and the environment, made into backends."""

from .backends import BackendSettings
from .settings import DEFAULT_FILE, Settings, load_ledger_path, load_settings, read_sections

__all__ = ["DEFAULT_FILE", "BackendSettings", "Settings", "load_ledger_path", "load_settings", "read_sections"]
