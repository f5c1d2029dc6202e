"""The settings file as it is written, before any backend is made of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from ..delivery_options import DeliveryOptions
from ..errors import ConfigurationError
from ..retry import RetryPolicy
from .structuring import structure
from .toml_file import read_toml

DEFAULT_FILE: Final = "replay-identity.toml"


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
    content = read_toml(place)
    return structure(content, Document, f"{place}: "), str(place)
