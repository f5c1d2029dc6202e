"""Hypothesis strategies for users, files and responses, a conformance suite for adapters, and a scripted transport."""

try:
    from .boundaries import Boundary, users_at, users_over
except ModuleNotFoundError as error:
    message = "The testing kit needs more packages; install them with: pip install 'replay-identity[testing]'"
    raise ModuleNotFoundError(message, name=error.name) from error
from .conformance import BackendConformance, RequestContent
from .files import IdentityFile, identity_files
from .http_responses import bodies, responses
from .reconciliation import find_differences
from .scripted import ScriptedTransport
from .strategies import user_traits, valid_users
from .values import (
    CHARACTERS,
    WIDTHS,
    datetimes,
    long_texts,
    numbers,
    safe_names,
    scalars,
    texts,
    trait_maps,
    trait_names,
    trait_values,
)

__all__ = [
    "CHARACTERS",
    "WIDTHS",
    "BackendConformance",
    "Boundary",
    "IdentityFile",
    "RequestContent",
    "ScriptedTransport",
    "bodies",
    "datetimes",
    "find_differences",
    "identity_files",
    "long_texts",
    "numbers",
    "responses",
    "safe_names",
    "scalars",
    "texts",
    "trait_maps",
    "trait_names",
    "trait_values",
    "user_traits",
    "users_at",
    "users_over",
    "valid_users",
]
