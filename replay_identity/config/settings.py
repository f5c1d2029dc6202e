"""Everything a program needs to make a router."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

import attrs

from .. import plugins
from ..backend import IdentityBackend
from ..errors import ConfigurationError
from ..retry import RetryPolicy
from .document import DEFAULT_FILE, Document, read_document
from .sections import Section, section_from_file, sections_from_environment, variable


@attrs.frozen
class Settings:
    """Backends, and how patiently to ask them.

    Attributes:
        backends: The backends in the order of the file, or by name where there is none.
        timeout: Seconds after which an identify call answers.
        retry: How often and how soon a request is sent again.
    """

    backends: tuple[IdentityBackend, ...]
    timeout: float = 30.0
    retry: RetryPolicy = attrs.field(factory=RetryPolicy)

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
    return Settings(backends, document.timeout, document.retry)


def read_sections(
    path: Path | None = None, environ: Mapping[str, str] = os.environ, *, offline: bool = False
) -> tuple[Document, tuple[Section, ...]]:
    """Return the file and the settings of each backend, which need not be good; see `load_settings`.

    Raises:
        ConfigurationError: The file cannot be used, or there is no backend at all.
    """
    document, source = read_document(path)
    sections = [section_from_file(name, table, source, environ) for name, table in document.backends.items()]
    sections = sections or sections_from_environment(source, environ, offline=offline)
    if not sections:
        variables = " or ".join(variable(name, "api_key") for name in plugins.names())
        raise ConfigurationError("backends", "none is configured", f"set {variables}, or write {DEFAULT_FILE}")
    return document, tuple(sections)


def _adapting(backend: IdentityBackend) -> IdentityBackend:
    kind: type[object] = type(backend)
    if not attrs.has(kind) or "on_violation" not in attrs.fields_dict(kind):
        return backend
    adapting: IdentityBackend = attrs.evolve(cast("Any", backend), on_violation="adapt")
    return adapting
