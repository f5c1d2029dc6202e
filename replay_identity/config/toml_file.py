"""A TOML file as it is written, and what is wrong with one that cannot be read, without quoting it."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigurationError

_PLACE: Final = re.compile(r"at (line \d+, column \d+)")


def read_toml(path: Path) -> dict[str, Any]:
    """Return what the file at *path* holds.

    Raises:
        ConfigurationError: The file cannot be read, or is not TOML.
    """
    return _parse(_read(path), str(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(str(path), "is not UTF-8", "save it as UTF-8") from None  # The cause quotes the file.
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else None
        raise ConfigurationError(str(path), f"cannot be read: {problem or type(error).__name__}") from None


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        where = f"is not TOML from {place[1]} on" if place else "is not TOML: it is cut off"
        raise ConfigurationError(source, where) from None  # The cause may quote the file.
    except RecursionError:
        raise ConfigurationError(source, "is nested too deeply") from None
