"""Everything a program needs to make a router."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self, cast

import attrs

from .._toml import read_toml, structure
from ..adapters.protocols import IdentityBackend
from ..bulk.options import DeliveryOptions
from ..errors import ConfigurationError, printable
from ..retry import RetryPolicy
from . import backends
from .backends import BackendSettings, section_from_file, sections_from_environment, variable

DEFAULT_FILE: Final = "replay-identity.toml"


def _positive(_instance: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    # Written so that NaN fails too.
    if not 0 < value < float("inf"):
        raise ConfigurationError(attribute.name, "expected a number greater than 0")


def _not_empty(_instance: object, attribute: "attrs.Attribute[Any]", value: str | None) -> None:
    if value == "":
        raise ConfigurationError(attribute.name, "is empty")


@attrs.frozen
class SettingsFile:
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


def read_document(path: Path | None) -> tuple[SettingsFile, str]:
    """Return the settings file and its name; without a *path*, the default one, which need not exist.

    Raises:
        ConfigurationError: The file is missing, is not TOML, or has a setting that cannot be used.
    """
    place = Path(DEFAULT_FILE) if path is None else path
    if path is None and not place.exists():
        return SettingsFile(), str(place)
    content = read_toml(place)
    return structure(content, SettingsFile, f"{place}: "), str(place)


@attrs.frozen
class Settings:
    """Backends, and how patiently to ask them; in bulk, out of which ledger and how fast.

    Attributes:
        backends: The backends in the order of the file, or by name where there is none.
        timeout: Seconds after which an identify call answers.
        retry: How often and how soon a request is sent again.
        delivery: How a backend is delivered to in bulk, by its name, where the file says so.
        ledger: The ledger's file, where the settings file says so.
    """

    backends: tuple[IdentityBackend, ...]
    timeout: float = 30.0
    retry: RetryPolicy = attrs.field(factory=RetryPolicy)
    delivery: Mapping[str, DeliveryOptions] = attrs.field(factory=dict[str, DeliveryOptions])
    ledger: Path | None = None

    def adapting(self) -> Self:
        """Return these settings with every backend told to adapt traits to its vendor instead of rejecting users."""
        return attrs.evolve(self, backends=tuple(_adapting(backend) for backend in self.backends))


def load_settings(
    path: Path | None = None, environ: Mapping[str, str] = os.environ, *, offline: bool = False
) -> Settings:
    """Return the settings of a TOML file and the environment, which wins.

    Args:
        path: The file; by default ``replay-identity.toml`` in the working directory, if there is one.
        environ: The environment: ``<NAME>_API_KEY`` and ``<NAME>_BASE_URL`` for each backend.
        offline: Whether missing keys are made up, for backends that only plan.

    Raises:
        ConfigurationError: A setting is missing or cannot be used; no value is quoted.
    """
    document, sections = read_sections(path, environ, offline=offline)
    backends = tuple(section.build(offline=offline) for section in sections)
    by_table = {section.name: backend for section, backend in zip(sections, backends, strict=True)}
    # A class of somebody else's may have a name of its own and none to be given.
    delivery = {by_table[name].name: options for name, options in document.delivery.items()}
    return Settings(backends, document.timeout, document.retry, delivery, _ledger_path(document, path))


def load_ledger_path(path: Path | None = None) -> Path | None:
    """Return the ledger's file as a settings file names it, which need not name any backend.

    Raises:
        ConfigurationError: The settings file cannot be used.
    """
    return _ledger_path(read_document(path)[0], path)


def read_sections(
    path: Path | None = None, environ: Mapping[str, str] = os.environ, *, offline: bool = False
) -> tuple[SettingsFile, tuple[BackendSettings, ...]]:
    """Return the file and the settings of each backend, which need not be good; see `load_settings`.

    Raises:
        ConfigurationError: The file cannot be used, or there is no backend at all.
    """
    document, source = read_document(path)
    sections = [section_from_file(name, table, source, environ) for name, table in document.backends.items()]
    sections = sections or sections_from_environment(source, environ, offline=offline)
    if not sections:
        variables = " or ".join(variable(name, "api_key") for name in backends.names())
        raise ConfigurationError("backends", "none is configured", f"set {variables}, or write {DEFAULT_FILE}")
    _check_delivery(document, [section.name for section in sections], source)
    return document, tuple(sections)


def _check_delivery(document: SettingsFile, names: Iterable[str], source: str) -> None:
    known = list(names)
    for name in document.delivery:
        if name not in known:
            setting = f"{source}: delivery.{printable(name)}"
            raise ConfigurationError(setting, "is no backend", f"there are {', '.join(known)}")


def _ledger_path(document: SettingsFile, path: Path | None) -> Path | None:
    """Return the ledger's file; a relative one is beside the settings file, wherever the command is run."""
    if document.ledger is None:
        return None
    folder = Path() if path is None else path.parent
    return folder / os.path.expanduser(document.ledger)  # noqa: PTH111  # Path's own raises where there is no home.


def _adapting(backend: IdentityBackend) -> IdentityBackend:
    kind: type[object] = type(backend)
    if not attrs.has(kind) or "on_violation" not in attrs.fields_dict(kind):
        return backend
    adapting: IdentityBackend = attrs.evolve(cast("Any", backend), on_violation="adapt")
    return adapting
