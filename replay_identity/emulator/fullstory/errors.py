"""How Fullstory says no."""

from collections.abc import Mapping

import attrs

from ..http import VendorResponse, json_response

# Codes and messages read on 2026-11-21 at https://developer.fullstory.com/server/users/update-user/.
# Policy: 400, 409 and 413 have no documented words for these cases; ours are made up.
WORDS = {
    400: ("invalid_argument", "The request is invalid."),
    401: ("unauthorized", "access is unauthorized"),
    403: ("forbidden", "insufficient permissions"),
    404: ("resource_not_found", "Requested resource does not exist"),
    409: ("conflict", "The request conflicts with another one."),
    413: ("payload_too_large", "The request is too large."),
    429: ("too_many_requests", "Too many requests. Client has exceeded the rate limit for this endpoint."),
    500: ("server_error", "Server error was encountered"),
}


class FullstoryHttpError(Exception):
    """A request, or one item of a batch, that is answered with an error."""

    def __init__(self, status: int, *, code: str, message: str, headers: Mapping[str, str]) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers

    @property
    def answer(self) -> VendorResponse:
        """The error response."""
        answer = json_response(self.status, {"message": self.message, "code": self.code})
        return attrs.evolve(answer, headers={**answer.headers, **self.headers})


def failure(status: int) -> VendorResponse:
    """Return the error response for *status* in Fullstory's words."""
    return http_error(status).answer


def http_error(
    status: int, *, code: str | None = None, message: str | None = None, headers: Mapping[str, str] | None = None
) -> FullstoryHttpError:
    """Return the exception that answers *status*, with the usual words where none are given."""
    usual_code, usual_message = WORDS.get(status, WORDS[500])
    return FullstoryHttpError(status, code=code or usual_code, message=message or usual_message, headers=headers or {})


def too_many_requests(seconds: int) -> FullstoryHttpError:
    """Return the exception that answers 429, and when to come back."""
    return http_error(429, headers={"retry-after": str(seconds)})


def invalid(message: str, *, code: str = "invalid_argument") -> FullstoryHttpError:
    """Return the exception that answers 400."""
    # The code invalid_argument was seen in Fullstory's own live test, 2026-11-21,
    # https://github.com/fullstorydev/fullstory-node-sdk/blob/main/src/__tests__/events.smoke.test.ts.
    return http_error(400, code=code, message=message)


def user_not_found() -> FullstoryHttpError:
    """Return the exception that answers 404 for a user."""
    return http_error(404, code="user_not_found", message="User with that ID does not exist")
