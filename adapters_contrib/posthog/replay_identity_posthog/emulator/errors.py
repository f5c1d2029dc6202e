"""How PostHog refuses a whole request (rust/capture/src/v1/error.rs)."""

from collections.abc import Mapping

from replay_identity.emulator.http import VendorResponse, json_response

# The tag and the words for each status that a fault or the HTTP side may ask for.
WORDS: Mapping[int, tuple[str, str]] = {
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
# With these, PostHog says when to come back.
SAYS_WHEN = {429, 500, 503}


class RefusalError(Exception):
    """A request of which no event is taken."""

    def __init__(self, status: int, tag: str, description: str) -> None:
        super().__init__(status, tag)
        self.status = status
        self.tag = tag
        self.description = description

    def as_answer(self) -> VendorResponse:
        """Return the answer that tells it."""
        return _answer(self.status, self.tag, self.description)


def failure(status: int) -> VendorResponse:
    """Return PostHog's words for an error status, and no words for one that it has not."""
    if status not in WORDS:
        return VendorResponse(status=status)
    return _answer(status, *WORDS[status])


def _answer(status: int, tag: str, description: str) -> VendorResponse:
    answer = json_response(
        status, {"error": tag, "error_description": description, "error_uri": "https://posthog.com/docs/api"}
    )
    headers = {**answer.headers, **({"retry-after": "1"} if status in SAYS_WHEN else {})}
    return VendorResponse(status=status, body=answer.body, headers=headers)
