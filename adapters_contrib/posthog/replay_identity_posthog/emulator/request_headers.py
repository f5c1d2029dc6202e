"""What PostHog asks of the headers of a request (rust/capture/src/v1/context.rs, rust/capture/src/token.rs)."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from .errors import RefusalError

REQUIRED = (
    "posthog-sdk-info",
    "posthog-attempt",
    "posthog-request-id",
    "posthog-request-timestamp",
    "content-type",
    "user-agent",
)
MAX_KEY = 64


def read_key(headers: Mapping[str, str]) -> str:
    """Return the key of a request whose headers are in order, or refuse it.

    A key that is none of a project's looks like one here: PostHog finds out later, when nobody is told.
    """
    if "authorization" not in headers:
        raise RefusalError(401, "missing_authorization", "missing authorization header")
    missing = [name for name in REQUIRED if name not in headers]
    if missing:
        raise RefusalError(400, "missing_required_headers", f"request is missing required headers: {missing}")

    key = _key(headers["authorization"])
    if headers["content-type"].partition(";")[0].strip().lower() != "application/json":
        raise RefusalError(415, "unsupported_content_type", "unsupported content type")
    _check_shapes(headers)
    return key


def _key(authorization: str) -> str:
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise RefusalError(400, "invalid_header_value", "invalid header value: Authorization must use Bearer scheme")
    key = rest.strip()
    if not key or len(key) > MAX_KEY or not key.isascii() or key.startswith("phx_"):
        raise RefusalError(401, "invalid_api_token", "The provided API token is not valid.")
    return key


def _check_shapes(headers: Mapping[str, str]) -> None:
    try:
        UUID(headers["posthog-request-id"])
        moment = datetime.fromisoformat(headers["posthog-request-timestamp"])
        in_order = int(headers["posthog-attempt"]) >= 1 and moment.tzinfo is not None
    except ValueError:
        in_order = False
    if not in_order:
        raise RefusalError(400, "invalid_header_value", "invalid header value")
