"""A SCIM service's refusals in our words (RFC 7644, section 3.12)."""

from collections.abc import Mapping
from typing import Any, Final

from replay_identity.adapters import Failure, Response, Unavailable, Unknown, failure_outcome, redact

from .scim import RefusedError

_ERROR_SCHEMA: Final = "urn:ietf:params:scim:api:messages:2.0:Error"
_NOT_FOUND: Final = 404
_CHANGED: Final = 412
_HINTS: Final[Mapping[int, str]] = {
    401: "Check the SCIM token: Settings > Account Management > SSO generates it. It is no API key.",
    403: "Check that the plan includes SCIM, and that SAML SSO is set up: SCIM needs it.",
}
_ADDRESS: Final = "Check base_url: Settings > Account Management > SSO shows the SCIM connector base URL."


def read_rejection(backend: str, rejected: RefusedError) -> Failure:
    """Return why a service did not do as asked."""
    response = rejected.response
    if response.status == _CHANGED:
        # Of two tries the second is refused because of the first.
        if response.uncertain:
            return Unknown(backend, "HTTP 412 after a response was lost", status=_CHANGED)
        return Unavailable(backend, "HTTP 412: changed by another client at the same time", status=_CHANGED)
    error = _scim_error(response)
    # Only a SCIM service can know that it has no such seat; anything else is at the wrong address.
    is_missing = rejected.names_one and error is not None
    hints = _HINTS if is_missing else {**_HINTS, _NOT_FOUND: _ADDRESS}
    code, message = (_masked(error, name, rejected.secrets) for name in ("scimType", "detail"))
    failure = failure_outcome(backend, response, hints=hints, code=code, message=message)
    # However the answer to a question was lost, nothing has changed by it.
    if rejected.is_read and isinstance(failure, Unknown):
        return Unavailable(backend, failure.cause, status=failure.status)
    return failure


def _scim_error(response: Response) -> Mapping[str, Any] | None:
    """Return the error that a SCIM service explains itself with, or None if something else answered."""
    content = response.json_object()
    schemas = None if content is None else content.get("schemas")
    return content if isinstance(schemas, list) and _ERROR_SCHEMA in schemas else None


def _masked(error: Mapping[str, Any] | None, name: str, secrets: tuple[str, ...]) -> str | None:
    words = None if error is None else error.get(name)
    return redact(words, None, *secrets) if isinstance(words, str) and words else None
