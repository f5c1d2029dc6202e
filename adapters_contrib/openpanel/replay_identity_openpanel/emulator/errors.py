"""How OpenPanel says no: JSON for 400 and 429, plain text for 401 and 500."""

from http import HTTPStatus

from replay_identity.emulator.http import VendorResponse, json_response

SECRET = "Invalid cors or secret"  # noqa: S105  # The vendor's words.
MESSAGES = {429: "You have exceeded the rate limit for this endpoint."}


class RefusalError(Exception):
    """A request that is answered with an error."""

    def __init__(self, answer: VendorResponse) -> None:
        super().__init__(answer.status)
        self.answer = answer


def text_answer(status: int, text: str) -> VendorResponse:
    """Return an answer in plain text."""
    return VendorResponse(status=status, body=text.encode(), headers={"content-type": "text/plain; charset=utf-8"})


def unauthorized(reason: str) -> RefusalError:
    """Return the refusal of a client, or of whom it speaks, for *reason*."""
    return RefusalError(text_answer(401, f"Ingestion: {reason}"))


def bad_request(message: str) -> RefusalError:
    """Return the refusal of a body."""
    return RefusalError(error_answer(400, message))


def error_answer(status: int, message: str) -> VendorResponse:
    """Return an error in OpenPanel's envelope."""
    return json_response(status, {"status": status, "error": HTTPStatus(status).phrase, "message": message})


def failure(status: int) -> VendorResponse:
    """Return OpenPanel's words for an error status."""
    if status == HTTPStatus.UNAUTHORIZED:
        return unauthorized(SECRET).answer
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return text_answer(status, "Internal server error")
    # Policy: a status that its code does not answer is named by HTTP's own phrase.
    known = status in {each.value for each in HTTPStatus}
    return (
        error_answer(status, MESSAGES.get(status, HTTPStatus(status).phrase))
        if known
        else VendorResponse(status=status)
    )
