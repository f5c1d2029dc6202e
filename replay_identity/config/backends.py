"""The settings of one backend, from the file and the environment, made into that backend."""

import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, cast

import attrs

from .._toml import structure
from ..adapters.protocols import IdentityBackend
from ..errors import ConfigurationError, printable

# What may stand in the environment, where keys are at home.
_FROM_ENVIRONMENT: Final = ("api_key", "base_url")
# The vendors who are planned for where nothing is set.
BUILT_IN: Final = ("fullstory", "logrocket")
# A key that is good for planning and for nothing else, unless the backend's class names another one.
_PLACEHOLDER: Final = "offline"


@attrs.frozen
class BackendSettings:
    """The settings of one backend.

    Attributes:
        name: Name that outcomes carry.
        vendor: Name of the plug-in.
        settings: Values by parameter of the backend's class. May hold the key.
        origins: Where each value comes from, for messages.
        source: Where the section stands, or would stand, in the settings file.
    """

    name: str
    vendor: str
    settings: Mapping[str, Any] = attrs.field(repr=False)
    origins: Mapping[str, str]
    source: str

    @property
    def key_origin(self) -> str | None:
        """Return where the key comes from, or None if there is none."""
        return self.origins.get("api_key")

    def build(self, *, offline: bool = False) -> IdentityBackend:
        """Return the backend.

        Args:
            offline: Whether a missing key is made up, for a backend that only plans.

        Raises:
            ConfigurationError: A setting is missing or cannot be used.
        """
        cls = load(self.vendor)
        if not attrs.has(cls):
            raise ConfigurationError(self.vendor, "takes no settings from a file: its class is not an attrs class")
        parameters = {field.alias for field in attrs.fields(cls) if field.init}
        settings = {**({"name": self.name} if "name" in parameters else {}), **self.settings}
        if "api_key" in parameters and "api_key" not in settings:
            settings["api_key"] = self._placeholder(cls, offline=offline)
        try:
            backend: IdentityBackend = structure(settings, cast("type[Any]", cls), self.source)
        except ConfigurationError as error:
            raise self._located(error) from None
        return backend

    def _placeholder(self, cls: type, *, offline: bool) -> str:
        if not offline:
            hint = f"or {self.source}.api_key"
            raise ConfigurationError(variable(self.name, "api_key"), "is not set", hint)
        placeholder: str = getattr(cls, "PLACEHOLDER_KEY", _PLACEHOLDER)
        return placeholder

    def _located(self, error: ConfigurationError) -> ConfigurationError:
        """Name the variable where a wrong value does not come from the file."""
        name = error.setting.removeprefix(f"{self.source}.")
        return attrs.evolve(error, setting=self.origins.get(name, error.setting))


def section_from_file(name: str, table: Mapping[str, Any], source: str, environ: Mapping[str, str]) -> BackendSettings:
    """Return the section of the file's *table*; variables of the backend's own name win over it.

    Variables of the vendor's name only fill in what is missing: with a production key in LOGROCKET_API_KEY, a
    staging backend keeps the key its table has.
    """
    place = f"{source}: backends.{name}"
    vendor = table.get("vendor", name)
    if not isinstance(vendor, str):
        raise ConfigurationError(f"{place}.vendor", "is not a string")
    if vendor not in names():
        setting = f"{place}.vendor" if "vendor" in table else place
        raise ConfigurationError(setting, "is no vendor that is installed", f"there are {', '.join(names())}")
    if "name" in table:
        raise ConfigurationError(f"{place}.name", "is not a setting", "a backend is named by its table")
    settings = {setting: value for setting, value in table.items() if setting != "vendor"}
    origins = {setting: f"{place}.{setting}" for setting in settings}
    for setting in _FROM_ENVIRONMENT:
        candidates = (variable(name, setting), *([variable(vendor, setting)] if setting not in settings else []))
        found = next((candidate for candidate in candidates if environ.get(candidate)), None)
        if found is not None:
            settings[setting], origins[setting] = environ[found], found
    return BackendSettings(name, vendor, settings, origins, place)


def sections_from_environment(source: str, environ: Mapping[str, str], *, offline: bool) -> list[BackendSettings]:
    """Return a section for each vendor whose key is set; when *offline*, for the built-in ones in any case."""
    wanted = [name for name in names() if environ.get(variable(name, "api_key")) or (offline and name in BUILT_IN)]
    return [section_from_file(name, {}, source, environ) for name in wanted]


def variable(name: str, setting: str) -> str:
    """Return the environment variable for a *setting* of the backend or vendor *name*: LOGROCKET_STAGING_API_KEY."""
    return f"{re.sub('[^A-Za-z0-9]', '_', name)}_{setting}".upper()


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
