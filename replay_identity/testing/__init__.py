"""For tests: users of every kind, at and over each limit of a vendor, messy files, and whatever a vendor may answer."""

from .boundaries import Boundary, users_at, users_over
from .conformance import BackendConformance, RequestContent
from .files import IdentityFile, identity_files
from .reconciliation import find_differences
from .responses import bodies, responses
from .scripted import ScriptedTransport
from .strategies import user_traits, valid_users
from .values import (
    CHARACTERS,
    WIDTHS,
    long_texts,
    moments,
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
    "find_differences",
    "identity_files",
    "long_texts",
    "moments",
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
