"""Everything an adapter author imports: protocols, requests, limits, adaptation, responses and redaction."""

from .._values import REMOVE, Removal, checked_string, is_list, is_nested, iso8601
from ..errors import ConfigurationError, InvalidTraitsError
from ..outcomes import (
    Accepted,
    Adjustment,
    Failure,
    Misconfigured,
    Outcome,
    Rejected,
    Skipped,
    SkipReason,
    Unavailable,
    Unknown,
    Violation,
)
from ..traits import UserTraits
from .adaptation import Adaptation, OnViolation
from .credentials import account_name, check_api_key, check_base_url
from .diff import compare_fields
from .exchange import Exchange, NoResponse, Request, Response, Sleep
from .http_adapter import HttpAdapter
from .id_rules import IdRule, id_violations
from .limits import BatchLimits, Limit, Limits, Unit
from .protocols import (
    BatchEntry,
    BatchTooLarge,
    Comparison,
    EncodedUser,
    IdentityBackend,
    JobProgress,
    KeyInfo,
    Page,
    Plan,
    StoredUser,
    SupportsBatch,
    SupportsCompare,
    SupportsDelete,
    SupportsExclude,
    SupportsMultiIdentify,
    SupportsPartialUpdate,
    SupportsRead,
    SupportsVerify,
)
from .redaction import redact
from .responses import failure_outcome

__all__ = [
    "REMOVE",
    "Accepted",
    "Adaptation",
    "Adjustment",
    "BatchEntry",
    "BatchLimits",
    "BatchTooLarge",
    "Comparison",
    "ConfigurationError",
    "EncodedUser",
    "Exchange",
    "Failure",
    "HttpAdapter",
    "IdRule",
    "IdentityBackend",
    "InvalidTraitsError",
    "JobProgress",
    "KeyInfo",
    "Limit",
    "Limits",
    "Misconfigured",
    "NoResponse",
    "OnViolation",
    "Outcome",
    "Page",
    "Plan",
    "Rejected",
    "Removal",
    "Request",
    "Response",
    "SkipReason",
    "Skipped",
    "Sleep",
    "StoredUser",
    "SupportsBatch",
    "SupportsCompare",
    "SupportsDelete",
    "SupportsExclude",
    "SupportsMultiIdentify",
    "SupportsPartialUpdate",
    "SupportsRead",
    "SupportsVerify",
    "Unavailable",
    "Unit",
    "Unknown",
    "UserTraits",
    "Violation",
    "account_name",
    "check_api_key",
    "check_base_url",
    "checked_string",
    "compare_fields",
    "failure_outcome",
    "id_violations",
    "is_list",
    "is_nested",
    "iso8601",
    "redact",
]
