"""The settings of one backend, and the installed vendors that backends are built from."""

import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, cast

import attrs

from .._toml import structure
from ..adapters.protocols import IdentityBackend
from ..errors import ConfigurationError, printable

ENTRY_POINT_GROUP: Final = "replay_identity.backends"
# Planned for offline even if nothing is configured.
BUILT_IN_VENDORS: Final = ("fullstory", "logrocket")

_ENVIRONMENT_SETTINGS: Final = ("api_key", "base_url")
# Good enough for planning, unless the backend's class has a placeholder of its own.
_PLACEHOLDER_KEY: Final = "offline"


@attrs.frozen
class BackendSettings:
    """The settings of one backend.

    Attributes:
        name: Name of the backend, which its outcomes carry.
        vendor: Name of the vendor's entry point.
        settings: Arguments for the backend's class by name. May contain the key.
        origins: Where each setting comes from, for error messages.
        source: Path of the backend's table in the settings file, whether or not it exists.
    """

    name: str
    vendor: str
    settings: Mapping[str, Any] = attrs.field(repr=False)
    origins: Mapping[str, str]
    source: str

    @classmethod
    def from_table(
        cls, name: str, table: Mapping[str, Any], *, source: str, environ: Mapping[str, str]
    ) -> "BackendSettings":
        """Return the settings in *table*, completed and overridden by the environment.

        Variables of the backend override the table. Variables of the vendor only fill in what is missing: with a
        production key in LOGROCKET_API_KEY, a staging backend keeps the key in its table.

        Args:
            name: Name of the table.
            table: A table of ``[backends]``.
            source: Name of the settings file, for error messages.
            environ: Environment variables.

        Raises:
            ConfigurationError: The vendor is not installed, or the table contains a name.
        """
        path = f"{source}: backends.{name}"
        vendor = _vendor(table, name, path)
        if "name" in table:
            raise ConfigurationError(f"{path}.name", "not a setting", "rename the table to rename the backend")

        settings = {setting: value for setting, value in table.items() if setting != "vendor"}
        origins = {setting: f"{path}.{setting}" for setting in settings}
        for setting in _ENVIRONMENT_SETTINGS:
            owners = (name,) if setting in settings else (name, vendor)
            variables = (environment_variable(owner, setting) for owner in owners)
            variable = next((variable for variable in variables if environ.get(variable)), None)
            if variable is not None:
                settings[setting], origins[setting] = environ[variable], variable
        return cls(name, vendor, settings, origins, path)

    @property
    def key_origin(self) -> str | None:
        """Return where the key comes from, or None if there is no key."""
        return self.origins.get("api_key")

    def build(self, *, offline: bool = False) -> IdentityBackend:
        """Return the backend.

        Args:
            offline: Use a placeholder for a missing key; the backend can then only plan.

        Raises:
            ConfigurationError: A setting is missing or invalid.
        """
        cls = load_backend_class(self.vendor)
        if not attrs.has(cls):
            raise ConfigurationError(self.vendor, "expected an attrs class to pass settings to, got another class")

        parameters = {field.alias for field in attrs.fields(cls) if field.init}
        settings = {**({"name": self.name} if "name" in parameters else {}), **self.settings}
        if "api_key" in parameters and "api_key" not in settings:
            settings["api_key"] = self._placeholder_key(cls, offline=offline)
        try:
            backend: IdentityBackend = structure(settings, cast("type[Any]", cls), self.source, given={"name"})
        except ConfigurationError as error:
            raise self._with_origin(error) from None
        return backend

    def _placeholder_key(self, cls: type, *, offline: bool) -> str:
        if not offline:
            variable = environment_variable(self.name, "api_key")
            raise ConfigurationError(variable, "not set", f"set the variable, or api_key in {self.source}")
        placeholder: str = getattr(cls, "PLACEHOLDER_KEY", _PLACEHOLDER_KEY)
        return placeholder

    def _with_origin(self, error: ConfigurationError) -> ConfigurationError:
        """Return *error* with the variable's name in place of the path if the value comes from the environment."""
        setting = error.setting.removeprefix(f"{self.source}.")
        return attrs.evolve(error, setting=self.origins.get(setting, error.setting))


def backends_from_environment(
    *, source: str, environ: Mapping[str, str], offline: bool = False
) -> list[BackendSettings]:
    """Return the settings of each vendor whose key is set; when *offline*, also of the built-in vendors."""
    vendors = [
        vendor
        for vendor in installed_vendors()
        if environ.get(environment_variable(vendor, "api_key")) or (offline and vendor in BUILT_IN_VENDORS)
    ]
    return [BackendSettings.from_table(vendor, {}, source=source, environ=environ) for vendor in vendors]


def environment_variable(owner: str, setting: str) -> str:
    """Return the variable for a *setting* of a backend or vendor, for example ``LOGROCKET_STAGING_API_KEY``."""
    return f"{re.sub('[^A-Za-z0-9]', '_', owner)}_{setting}".upper()


def installed_vendors() -> list[str]:
    """Return the names of the installed vendors in alphabetical order."""
    return sorted({entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)})


def load_backend_class(vendor: str) -> type:
    """Return the backend class of *vendor*, without importing other vendors.

    Raises:
        ConfigurationError: The vendor is not installed, or its code cannot be imported.
    """
    entry = _entry_point(vendor)
    try:
        backend_class = entry.load()
    except Exception as error:
        raise ConfigurationError(entry.value, f"cannot be imported: {type(error).__name__}", _hint(entry)) from error
    if not isinstance(backend_class, type):
        raise ConfigurationError(entry.value, "expected a class", _hint(entry))
    return backend_class


def _vendor(table: Mapping[str, Any], name: str, path: str) -> str:
    vendor = table.get("vendor", name)
    setting = f"{path}.vendor"
    if not isinstance(vendor, str):
        raise ConfigurationError(setting, "expected a string")
    if vendor not in installed_vendors():
        raise _unknown_vendor(setting if "vendor" in table else path)
    return vendor


def _unknown_vendor(setting: str) -> ConfigurationError:
    hint = f"use one of {', '.join(installed_vendors())}, or install the vendor's package"
    return ConfigurationError(setting, "unknown vendor", hint)


def _entry_point(vendor: str) -> EntryPoint:
    entries = {entry.value: entry for entry in entry_points(group=ENTRY_POINT_GROUP, name=vendor)}
    if not entries:
        raise _unknown_vendor(printable(vendor))
    if len(entries) > 1:
        hint = f"uninstall all but one of {', '.join(entries)}"
        raise ConfigurationError(vendor, "several packages provide this vendor", hint)
    return next(iter(entries.values()))


def _hint(entry: EntryPoint) -> str:
    distribution = entry.dist
    return f"fix the vendor {entry.name}" if distribution is None else f"reinstall {distribution.name}"
