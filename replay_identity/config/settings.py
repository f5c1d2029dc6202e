"""The settings file and the environment, read into backends and what a router needs."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self, cast

import attrs

from .._toml import read_toml, structure
from ..adapters.protocols import IdentityBackend
from ..bulk.options import DeliveryOptions
from ..errors import ConfigurationError, printable
from ..retry import RetryPolicy
from .backends import BackendSettings, backends_from_environment, environment_variable, installed_vendors

DEFAULT_FILE: Final = "replay-identity.toml"


def _positive_finite(_instance: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    # Written so that NaN fails too.
    if not 0 < value < float("inf"):
        raise ConfigurationError(attribute.name, "expected a number greater than 0")


def _not_empty(_instance: object, attribute: "attrs.Attribute[Any]", value: str | None) -> None:
    if value == "":
        raise ConfigurationError(attribute.name, "expected the path of a file, got an empty string")


@attrs.frozen
class SettingsFile:
    """The content of a settings file.

    Attributes:
        timeout: Time budget of one identify call in seconds.
        retry: Number and spacing of attempts.
        ledger: Path of the ledger, relative to the settings file, or None.
        backends: Settings of each backend by its name. May contain keys.
        delivery: Bulk delivery options by the backend's name.
    """

    timeout: float = attrs.field(default=30.0, validator=_positive_finite)
    retry: RetryPolicy = attrs.field(factory=RetryPolicy)
    ledger: str | None = attrs.field(default=None, validator=_not_empty)
    backends: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict[str, Mapping[str, Any]], repr=False)
    delivery: Mapping[str, DeliveryOptions] = attrs.field(factory=dict[str, DeliveryOptions])


@attrs.frozen
class Settings:
    """Backends, and the options for calling them.

    Attributes:
        backends: The backends in the order of the file, or by name if there is no file.
        timeout: Time budget of one identify call in seconds.
        retry: Number and spacing of attempts.
        delivery: Bulk delivery options by the backend's name, as far as the file sets them.
        ledger: Path of the ledger, if the file sets it.
    """

    backends: tuple[IdentityBackend, ...]
    timeout: float = 30.0
    retry: RetryPolicy = attrs.field(factory=RetryPolicy)
    delivery: Mapping[str, DeliveryOptions] = attrs.field(factory=dict[str, DeliveryOptions])
    ledger: Path | None = None

    def with_adaptation(self) -> Self:
        """Return these settings with ``on_violation="adapt"`` for every backend that has this setting."""
        return attrs.evolve(self, backends=tuple(_with_adaptation(backend) for backend in self.backends))


def load_settings(
    path: Path | None = None, environ: Mapping[str, str] = os.environ, *, offline: bool = False
) -> Settings:
    """Return the settings from a TOML file and the environment, which takes precedence.

    Args:
        path: The file; by default ``replay-identity.toml`` in the working directory, if it exists.
        environ: Environment variables: ``<NAME>_API_KEY`` and ``<NAME>_BASE_URL`` for each backend.
        offline: Use placeholders for missing keys; the backends can then only plan.

    Raises:
        ConfigurationError: A setting is missing or invalid; its value is not quoted.
    """
    file, sections = load_backend_settings(path, environ, offline=offline)
    backends = {section.name: section.build(offline=offline) for section in sections}
    # A contributed class may have a fixed name that differs from the table's.
    delivery = {backends[table].name: options for table, options in file.delivery.items()}
    return Settings(tuple(backends.values()), file.timeout, file.retry, delivery, _ledger_path(file, path))


def load_ledger_path(path: Path | None = None) -> Path | None:
    """Return the path of the ledger that the settings file names, or None; needs no backends.

    Raises:
        ConfigurationError: The settings file is missing or invalid.
    """
    file, _ = _read_file(path)
    return _ledger_path(file, path)


def load_backend_settings(
    path: Path | None = None, environ: Mapping[str, str] = os.environ, *, offline: bool = False
) -> tuple[SettingsFile, tuple[BackendSettings, ...]]:
    """Return the settings file and the settings of each backend, not yet validated; arguments as in `load_settings`.

    Raises:
        ConfigurationError: The file is missing or invalid, or no backend is configured.
    """
    file, source = _read_file(path)
    sections = [
        BackendSettings.from_table(name, table, source=source, environ=environ) for name, table in file.backends.items()
    ] or backends_from_environment(source=source, environ=environ, offline=offline)
    if not sections:
        variables = " or ".join(environment_variable(vendor, "api_key") for vendor in installed_vendors())
        raise ConfigurationError("backends", "no backend is configured", f"set {variables}, or write {DEFAULT_FILE}")

    names = [section.name for section in sections]
    unknown = next((name for name in file.delivery if name not in names), None)
    if unknown is not None:
        setting = f"{source}: delivery.{printable(unknown)}"
        raise ConfigurationError(setting, "unknown backend", f"use one of {', '.join(names)}")
    return file, tuple(sections)


def _read_file(path: Path | None) -> tuple[SettingsFile, str]:
    """Return the settings file and its name; the default file need not exist."""
    actual = Path(DEFAULT_FILE) if path is None else path
    if path is None and not actual.exists():
        return SettingsFile(), str(actual)
    return structure(read_toml(actual), SettingsFile, f"{actual}: "), str(actual)


def _ledger_path(file: SettingsFile, path: Path | None) -> Path | None:
    """Return the ledger's path relative to the settings file, so that it does not depend on the working directory."""
    if file.ledger is None:
        return None
    folder = Path() if path is None else path.parent
    return folder / os.path.expanduser(file.ledger)  # noqa: PTH111  # Path.expanduser raises if there is no home.


def _with_adaptation(backend: IdentityBackend) -> IdentityBackend:
    cls: type[object] = type(backend)
    if not attrs.has(cls) or "on_violation" not in attrs.fields_dict(cls):
        return backend
    adapting: IdentityBackend = attrs.evolve(cast("Any", backend), on_violation="adapt")
    return adapting
