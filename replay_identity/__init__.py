"""Tell session-replay vendors who your users are: one identify call, every vendor, nothing lost silently."""

from .backend import IdentityBackend
from .errors import ConfigurationError, IdentifyError, InvalidTraitsError, ReplayIdentityError
from .fullstory import Fullstory
from .logrocket import LogRocket
from .model import UserTraits
from .outcome import (
    Accepted,
    Adjustment,
    Broken,
    IdentifyReport,
    Misconfigured,
    Outcome,
    Rejected,
    Skipped,
    Unavailable,
    Unknown,
    Violation,
)
from .retry import RetryPolicy
from .route import Route
from .router import AsyncRouter, Router
from .values import REMOVE

__all__ = [
    "REMOVE",
    "Accepted",
    "Adjustment",
    "AsyncRouter",
    "Broken",
    "ConfigurationError",
    "Fullstory",
    "IdentifyError",
    "IdentifyReport",
    "IdentityBackend",
    "InvalidTraitsError",
    "LogRocket",
    "Misconfigured",
    "Outcome",
    "Rejected",
    "ReplayIdentityError",
    "RetryPolicy",
    "Route",
    "Router",
    "Skipped",
    "Unavailable",
    "Unknown",
    "UserTraits",
    "Violation",
]
