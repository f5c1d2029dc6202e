"""Read OpenPanel's responses (its code, https://github.com/Openpanel-dev/openpanel, read 2026-11-21).

A success means that the update is in a buffer, and does not show the profile. A 202 means that nothing was stored. A
401 has a reason in plain text.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from replay_identity.adapters import (
    Accepted,
    Adjustment,
    Failure,
    Misconfigured,
    Outcome,
    Rejected,
    Response,
    Unknown,
    UserTraits,
    failure_outcome,
    redact,
)

_STORED_NOTHING: Final = 202
_UNAUTHORIZED: Final = 401
_CHECK_ID: Final = "Check client_id: it is the id of a client of the project, under Settings, Clients."
# Reasons of a 401, which follow "Ingestion: ", with hints. Any other text is not shown, since it may quote anything.
_REASONS: Final[Mapping[str, str]] = {
    "Missing client id": "Something between here and OpenPanel removes the header openpanel-client-id.",
    "Client ID must be a valid UUIDv4": _CHECK_ID,
    "Invalid client id": _CHECK_ID,
    "Client has no project": "Assign the client to a project, or use the client_id and secret of another client.",
    "IP address is blocked by project filter": "Remove this server's address from the project's filters.",
    "Invalid cors or secret": "Check api_key: it is the secret of the client with this client_id.",
}
# The only reason that is about the user and not about the settings.
_BLOCKED_PROFILE: Final = "Profile id is blocked by project filter"
_HINTS: Final[Mapping[int, str]] = {
    401: "Check client_id and api_key.",
    403: "Check client_id, api_key and base_url.",
    404: "Check base_url: it is the URL of the API, not of the dashboard.",
}


def read_outcome(
    backend: str,
    response: Response,
    user: UserTraits,
    adjustments: tuple[Adjustment, ...],
    *,
    secrets: Sequence[str],
) -> Outcome:
    """Map a response to an outcome, redacting *user* and *secrets* from its message."""
    content = response.json_object() or {}
    if response.status == _STORED_NOTHING:
        return _read_discarded(backend, content) or failure_outcome(backend, response, hints=_HINTS)
    if response.confirms and not response.refuses:
        return Accepted(backend, adjustments=adjustments)
    if response.is_success and response.body.strip() == b"Duplicate event":
        # Another request with the same bytes came within the last 100 ms. OpenPanel notes it before it processes
        # it, so it may have failed.
        cause = f"{response.cause}, a duplicate of a request that may have failed"
        return Unknown(backend, cause, status=response.status)
    if response.status == _UNAUTHORIZED:
        return _read_unauthorized(backend, response)
    message = content.get("message")
    redacted = redact(message, user, *secrets) if isinstance(message, str) and message else None
    return failure_outcome(backend, response, hints=_HINTS, message=redacted)


def _read_discarded(backend: str, content: Mapping[str, object]) -> Failure | None:
    if "bot" in content:
        hint = "Check that nothing removes the header openpanel-client-secret: a server without it counts as a bot."
        return Misconfigured(backend, "HTTP 202, taken for a bot, and nothing was stored", hint)
    if "blocked" in content:
        hint = "Check the organisation's subscription at OpenPanel."
        return Misconfigured(backend, "HTTP 202, the organisation is blocked, and nothing was stored", hint)
    return None


def _read_unauthorized(backend: str, response: Response) -> Failure:
    reason = response.body.decode(errors="replace").strip().removeprefix("Ingestion: ")
    if reason == _BLOCKED_PROFILE:
        return Rejected(backend, code="HTTP 401", message=reason)
    if reason in _REASONS:
        return Misconfigured(backend, f"HTTP 401 {reason}", _REASONS[reason])
    return failure_outcome(backend, response, hints=_HINTS)
