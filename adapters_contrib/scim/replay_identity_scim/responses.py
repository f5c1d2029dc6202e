"""Map failed requests to outcomes (RFC 7644, section 3.12)."""

from collections.abc import Mapping
from typing import Any, Final

from replay_identity.adapters import Failure, Response, Unavailable, Unknown, failure_outcome, readable_code, redact

from .client import FailedRequestError

_ERROR_SCHEMA: Final = "urn:ietf:params:scim:api:messages:2.0:Error"
# The values of scimType (RFC 7644, table 9).
_TYPES: Final = (
    *("invalidFilter", "tooMany", "uniqueness", "mutability", "invalidSyntax", "invalidPath", "noTarget"),
    *("invalidValue", "invalidVers", "sensitive"),
)
# Words of its messages, and names of attributes.
_TERMS: Final = (*_TYPES, "userName", "givenName", "familyName", "displayName", "externalId", "meta", "seat", "seats")
_NOT_FOUND: Final = 404
_PRECONDITION_FAILED: Final = 412
_HINTS: Final[Mapping[int, str]] = {
    401: "Check the SCIM token: Settings > Account Management > SSO generates it. It is not an API key.",
    403: "Check that the plan includes SCIM, and that SAML SSO is set up: SCIM needs it.",
}
_URL_HINT: Final = "Check base_url: Settings > Account Management > SSO shows the SCIM connector base URL."


def read_failure(backend: str, failed: FailedRequestError) -> Failure:
    """Map a failed request to an outcome, redacting what was sent from the service's message."""
    response = failed.response
    if response.status == _PRECONDITION_FAILED:
        # The second attempt of a write can conflict with the first.
        if response.uncertain:
            return Unknown(backend, "HTTP 412 after a response was lost", status=_PRECONDITION_FAILED)
        return Unavailable(backend, "HTTP 412: changed by another client at the same time", status=_PRECONDITION_FAILED)
    error = _scim_error(response)
    # Only a SCIM service can know that a seat does not exist; another server means a wrong URL.
    is_missing = failed.has_id and error is not None
    hints = _HINTS if is_missing else {**_HINTS, _NOT_FOUND: _URL_HINT}
    code, detail = ((error or {}).get(name) for name in ("scimType", "detail"))
    failure = failure_outcome(
        backend,
        response,
        hints=hints,
        code=readable_code(code, None, *failed.secrets, terms=_TYPES) if isinstance(code, str) else None,
        message=redact(detail, None, *failed.secrets, terms=_TERMS) or None if isinstance(detail, str) else None,
    )
    # A read changes nothing, even if its response was lost.
    if failed.is_read and isinstance(failure, Unknown):
        return Unavailable(backend, failure.cause, status=failure.status)
    return failure


def _scim_error(response: Response) -> Mapping[str, Any] | None:
    """Return the body of a SCIM error, or None if another server responded."""
    content = response.json_object()
    schemas = None if content is None else content.get("schemas")
    return content if isinstance(schemas, list) and _ERROR_SCHEMA in schemas else None
