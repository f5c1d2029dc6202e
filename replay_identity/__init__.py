"""Tell session-replay vendors who your users are: one identify call, every vendor, nothing lost silently."""

from typing import TYPE_CHECKING, Any

from ._values import REMOVE
from .adapters.protocols import IdentityBackend
from .deletion import DeletionReceipt, forget
from .errors import ConfigurationError, IdentifyError, InvalidTraitsError, LedgerError, ReplayIdentityError, SourceError
from .fullstory import Fullstory
from .logrocket import LogRocket
from .outcomes import (
    Accepted,
    Adjustment,
    Broken,
    IdentifyReport,
    Misconfigured,
    Outcome,
    Rejected,
    Skipped,
    SkipReason,
    Unavailable,
    Unknown,
    Violation,
)
from .retry import RetryPolicy
from .router import AsyncRouter, Route, Router
from .traits import UserTraits

if TYPE_CHECKING:
    from .bulk import DeliveryOptions, DurableRouter, SyncReport, deliver, dry_run, sync
    from .ledger import Ledger
    from .sources import read_rows, read_users

    __version__: str

__all__ = [
    "REMOVE",
    "Accepted",
    "Adjustment",
    "AsyncRouter",
    "Broken",
    "ConfigurationError",
    "DeletionReceipt",
    "DeliveryOptions",
    "DurableRouter",
    "Fullstory",
    "IdentifyError",
    "IdentifyReport",
    "IdentityBackend",
    "InvalidTraitsError",
    "Ledger",
    "LedgerError",
    "LogRocket",
    "Misconfigured",
    "Outcome",
    "Rejected",
    "ReplayIdentityError",
    "RetryPolicy",
    "Route",
    "Router",
    "SkipReason",
    "Skipped",
    "SourceError",
    "SyncReport",
    "Unavailable",
    "Unknown",
    "UserTraits",
    "Violation",
    "deliver",
    "dry_run",
    "forget",
    "read_rows",
    "read_users",
    "sync",
]

# Loaded on first use: an app that identifies one user at a time needs neither SQLite nor files.
_LAZY = {
    "DeliveryOptions": "bulk",
    "DurableRouter": "bulk",
    "Ledger": "ledger",
    "SyncReport": "bulk",
    "deliver": "bulk",
    "read_rows": "sources",
    "read_users": "sources",
    "dry_run": "bulk",
    "sync": "bulk",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # Depends on the name.
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  # Takes as long to import as the rest together.

        return version("replay-identity")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  # As above.

    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
