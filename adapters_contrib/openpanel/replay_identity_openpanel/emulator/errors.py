"""OpenPanel's error responses: JSON for 400 and 429, plain text for 401 and 500."""

from http import HTTPStatus

from replay_identity.emulator.http import VendorResponse, json_response

INVALID_SECRET = "Invalid cors or secret"  # noqa: S105  # The vendor's message.
MESSAGES = {429: "You have exceeded the rate limit for this endpoint."}


class OpenPanelHttpError(Exception):
    """An error response to a request."""

    def __init__(self, response: VendorResponse) -> None:
        super().__init__(response.status)
        self.response = response


def unauthorized(reason: str) -> OpenPanelHttpError:
    """Return the exception for a client or profile that is rejected for *reason*."""
    return OpenPanelHttpError(text_response(401, f"Ingestion: {reason}"))


def bad_request(message: str) -> OpenPanelHttpError:
    """Return the exception for an invalid body."""
    return OpenPanelHttpError(json_error(400, message))


def text_response(status: int, text: str) -> VendorResponse:
    """Return a response in plain text."""
    return VendorResponse(status=status, body=text.encode(), headers={"content-type": "text/plain; charset=utf-8"})


def json_error(status: int, message: str) -> VendorResponse:
    """Return an error response in OpenPanel's envelope."""
    return json_response(status, {"status": status, "error": HTTPStatus(status).phrase, "message": message})


def status_response(status: int) -> VendorResponse:
    """Return OpenPanel's error response for *status*."""
    if status == HTTPStatus.UNAUTHORIZED:
        return unauthorized(INVALID_SECRET).response
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return text_response(status, "Internal server error")
    # Policy: a status that OpenPanel's code never returns has the standard phrase of HTTP.
    if status in {known.value for known in HTTPStatus}:
        return json_error(status, MESSAGES.get(status, HTTPStatus(status).phrase))
    return VendorResponse(status=status)
