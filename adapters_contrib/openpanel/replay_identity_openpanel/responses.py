"""OpenPanel's answers in our words (its code, https://github.com/Openpanel-dev/openpanel, read 2026-11-21).

A success says that the profile waits in a buffer, never what is in it; a 202 says that nothing was stored; and a 401
says why in plain text.
"""

from collections.abc import Mapping
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

_ACCEPTED: Final = 200
_STORED_NOTHING: Final = 202
_UNAUTHORIZED: Final = 401
# The texts of a 401, each begun by "Ingestion: ", and what to do about it. Of any other text nothing is told.
_CHECK_ID: Final = "Check client_id: it is that of a client of the project, under Settings, Clients."
_REASONS: Final[Mapping[str, str]] = {
    "Missing client id": "Something on the way removes the header openpanel-client-id.",
    "Client ID must be a valid UUIDv4": _CHECK_ID,
    "Invalid client id": _CHECK_ID,
    "Client has no project": "Assign the client to a project, or use another one's client_id and secret.",
    "IP address is blocked by project filter": "Take this server's address out of the project's filters.",
    "Invalid cors or secret": "Check api_key: it is the secret of the client with this client_id.",
}
# The one reason that is about the user and not about the settings.
_BLOCKED_PROFILE: Final = "Profile id is blocked by project filter"
_HINTS: Final[Mapping[int, str]] = {
    401: "Check client_id and api_key.",
    403: "Check client_id, api_key and base_url.",
    404: "Check base_url: the address of the API, which is not that of the dashboard.",
}


def read_reply(
    backend: str, response: Response, user: UserTraits, adjustments: tuple[Adjustment, ...], *secrets: str
) -> Outcome:
    """Say what became of *user*, with them and the *secrets* masked in the vendor's words."""
    content = response.json_object() or {}
    if response.status == _ACCEPTED:
        if "deviceId" in content or "sessionId" in content:
            return Accepted(backend, adjustments=adjustments)
        if response.body.strip() == b"Duplicate event":
            # Within 100 ms of the same bytes, which were counted before anybody looked at them: taken or not, nobody
            # knows.
            return Unknown(
                backend, "HTTP 200, a duplicate of a request whose own answer counts", status=response.status
            )
    if response.status == _STORED_NOTHING:
        return _read_discarded(backend, content) or failure_outcome(backend, response, hints=_HINTS)
    if response.status == _UNAUTHORIZED:
        return _read_unauthorized(backend, response)
    message = content.get("message")
    masked = redact(message, user, *secrets) if isinstance(message, str) and message else None
    return failure_outcome(backend, response, hints=_HINTS, message=masked)


def _read_discarded(backend: str, content: Mapping[str, object]) -> Failure | None:
    if "bot" in content:
        hint = "The secret must arrive in the header openpanel-client-secret; without it, a server is a bot."
        return Misconfigured(backend, "HTTP 202, taken for a bot: nothing was stored", hint)
    if "blocked" in content:
        hint = "Check the organisation's subscription at OpenPanel."
        return Misconfigured(backend, "HTTP 202, the organisation is blocked: nothing was stored", hint)
    return None


def _read_unauthorized(backend: str, response: Response) -> Failure:
    reason = response.body.decode(errors="replace").strip().removeprefix("Ingestion: ")
    if reason == _BLOCKED_PROFILE:
        return Rejected(backend, code="HTTP 401", message=reason)
    if reason in _REASONS:
        return Misconfigured(backend, f"HTTP 401 {reason}", _REASONS[reason])
    return failure_outcome(backend, response, hints=_HINTS)
