"""Settings from a TOML file and the environment."""

from .backends import BackendSettings
from .settings import DEFAULT_FILE, Settings, SettingsFile, load_backend_settings, load_ledger_path, load_settings

__all__ = [
    "DEFAULT_FILE",
    "BackendSettings",
    "Settings",
    "SettingsFile",
    "load_backend_settings",
    "load_ledger_path",
    "load_settings",
]
