"""The settings file as it is written, before any backend is made of it."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from ..delivery_options import DeliveryOptions
from ..errors import ConfigurationError
from ..retry import RetryPolicy
from .structuring import structure

DEFAULT_FILE: Final = "replay-identity.toml"

_PLACE: Final = re.compile(r"at (line \d+, column \d+)")


def _positive(_instance: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    # Written so that NaN fails too.
    if not 0 < value < float("inf"):
        raise ConfigurationError(attribute.name, "must be greater than 0")


def _not_empty(_instance: object, attribute: "attrs.Attribute[Any]", value: str | None) -> None:
    if value == "":
        raise ConfigurationError(attribute.name, "is empty")


@attrs.frozen
class Document:
    """A settings file.

    Attributes:
        timeout: Seconds after which an identify call answers.
        retry: How often and how soon a request is sent again.
        ledger: The ledger's file, beside the settings file unless it says where, or None.
        backends: Settings of each backend by its name. May hold keys.
        delivery: How each backend is delivered to in bulk, by its name.
    """

    timeout: float = attrs.field(default=30.0, validator=_positive)
    retry: RetryPolicy = attrs.field(factory=RetryPolicy)
    ledger: str | None = attrs.field(default=None, validator=_not_empty)
    backends: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict[str, Mapping[str, Any]], repr=False)
    delivery: Mapping[str, DeliveryOptions] = attrs.field(factory=dict[str, DeliveryOptions])


def read_document(path: Path | None) -> tuple[Document, str]:
    """Return the settings file and its name; without a *path*, the default one, which need not exist.

    Raises:
        ConfigurationError: The file is missing, is not TOML, or has a setting that cannot be used.
    """
    place = Path(DEFAULT_FILE) if path is None else path
    if path is None and not place.exists():
        return Document(), str(place)
    content = _parse(_read(place), str(place))
    return structure(content, Document, f"{place}: "), str(place)


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
