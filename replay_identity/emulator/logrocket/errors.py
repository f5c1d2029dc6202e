"""LogRocket's error responses (2026-11-21, https://docs.logrocket.com/docs/user-identification-api)."""

from typing import Final, Literal, TypeAlias

from ..http import VendorResponse, json_response

# "An error status code and, if possible, a message": the envelope is not documented. Policy: LogRocket's own
# command line reads `error` first (2026-11-21, https://github.com/LogRocket/logrocket-cli).
Envelope: TypeAlias = Literal["error", "message", "detail", "text"]

MISSING_BODY: Final = "Missing request body"
MALFORMED: Final = "Malformed request"

# Policy: the messages of 401, 404 and 413 are not documented.
MESSAGES: Final = {
    400: MALFORMED,
    401: "Missing or invalid API key",
    403: "Forbidden",
    404: "Not found",
    413: "Request too large",
    500: "Error processing user data",
}

TOO_MANY: Final = 429


class LogRocketHttpError(Exception):
    """An error response to a request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


def malformed() -> LogRocketHttpError:
    """Return the exception for a body that does not conform to the schema."""
    return LogRocketHttpError(400, MALFORMED)


def too_large(field: str) -> LogRocketHttpError:
    """Return the exception for a string over 1024 characters."""
    return LogRocketHttpError(400, f"{field} too large (max 1024 characters)")


def message_response(status: int, message: str, envelope: Envelope) -> VendorResponse:
    """Return an error response with *message* in *envelope*."""
    if envelope == "text":
        return VendorResponse(status=status, body=message.encode(), headers={"content-type": "text/plain"})
    return json_response(status, {envelope: message})


def status_response(status: int, envelope: Envelope) -> VendorResponse:
    """Return LogRocket's error response for *status*; a 429 has no body."""
    if status == TOO_MANY:
        return VendorResponse(status=status)
    return message_response(status, MESSAGES.get(status, MESSAGES[500]), envelope)
