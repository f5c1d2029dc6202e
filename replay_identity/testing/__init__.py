"""For tests: users of every kind, at and over each limit of a vendor, messy files, and whatever a vendor may answer."""

from .boundaries import Boundary, users_at, users_over
from .conformance import BackendConformance, Said
from .files import IdentityFile, identity_files
from .reconciliation import half_reconciled
from .responses import bodies, replies
from .scripted import ScriptedTransport
from .strategies import user_traits, users_within
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
    "Said",
    "ScriptedTransport",
    "bodies",
    "half_reconciled",
    "identity_files",
    "long_texts",
    "moments",
    "numbers",
    "replies",
    "safe_names",
    "scalars",
    "texts",
    "trait_maps",
    "trait_names",
    "trait_values",
    "user_traits",
    "users_at",
    "users_over",
    "users_within",
]
