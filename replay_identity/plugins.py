"""Backends by name, found through the entry-point group `replay_identity.backends`; the built-in ones too."""

from importlib.metadata import EntryPoint, entry_points
from typing import Final

from .errors import ConfigurationError, printable

GROUP: Final = "replay_identity.backends"


def names() -> list[str]:
    """Return the names of the vendors that are installed, in alphabetical order."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def load(name: str) -> type:
    """Return the backend class of the vendor *name*, without importing any other vendor.

    Raises:
        ConfigurationError: There is no such vendor, or its code cannot be imported.
    """
    entry = _entry(name)
    try:
        backend = entry.load()
    except Exception as error:
        raise ConfigurationError(entry.value, f"cannot be imported: {type(error).__name__}", _hint(entry)) from error
    if not isinstance(backend, type):
        raise ConfigurationError(entry.value, "is not a class", _hint(entry))
    return backend


def _entry(name: str) -> EntryPoint:
    found = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    if not found:
        raise ConfigurationError(printable(name), "is no vendor that is installed", f"there are {', '.join(names())}")
    if len(found) > 1:
        raise ConfigurationError(name, "is claimed by several packages", f"uninstall all but one of {', '.join(found)}")
    return next(iter(found.values()))


def _hint(entry: EntryPoint) -> str:
    distribution = entry.dist
    return f"reinstall {distribution.name}" if distribution is not None else f"it is the vendor {entry.name}"
