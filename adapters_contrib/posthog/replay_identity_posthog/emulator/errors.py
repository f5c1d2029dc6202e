"""PostHog's error responses (rust/capture/src/v1/error.rs)."""

from collections.abc import Mapping

from replay_identity.emulator.http import VendorResponse, json_response

# The tag and the description for each status that a fault or the HTTP side may ask for.
ERRORS: Mapping[int, tuple[str, str]] = {
    400: ("request_parsing_error", "Failed to parse request body."),
    401: ("invalid_api_token", "The provided API token is not valid."),
    408: ("request_timeout", "request timed out"),
    413: ("payload_too_large", "payload too large"),
    415: ("unsupported_content_type", "unsupported content type"),
    429: ("rate_limited", "Rate limit exceeded."),
    500: ("internal_error", "Internal Server Error"),
    503: ("service_unavailable", "Service Unavailable"),
    504: ("gateway_timeout", "Gateway Timeout"),
}
# Statuses that PostHog sends with Retry-After.
WITH_RETRY_AFTER = {429, 500, 503}


class PostHogHttpError(Exception):
    """An error response to a whole request; none of its events is stored."""

    def __init__(self, status: int, tag: str, description: str) -> None:
        super().__init__(status, tag)
        self.status = status
        self.tag = tag
        self.description = description

    def as_response(self) -> VendorResponse:
        """Return the response."""
        return _error_response(self.status, self.tag, self.description)


def status_response(status: int) -> VendorResponse:
    """Return PostHog's error response for *status*; it has no body if PostHog never returns that status."""
    if status not in ERRORS:
        return VendorResponse(status=status)
    return _error_response(status, *ERRORS[status])


def _error_response(status: int, tag: str, description: str) -> VendorResponse:
    response = json_response(
        status, {"error": tag, "error_description": description, "error_uri": "https://posthog.com/docs/api"}
    )
    headers = {**response.headers, **({"retry-after": "1"} if status in WITH_RETRY_AFTER else {})}
    return VendorResponse(status=status, body=response.body, headers=headers)
