"""Fullstory's error responses."""

from collections.abc import Mapping
from typing import Final

import attrs

from ..http import VendorResponse, json_response

# Code and message of each status, read on 2026-11-21 at https://developer.fullstory.com/server/users/update-user/.
# Policy: those of 400, 409 and 413 are not documented for these cases; we invented ours.
DEFAULTS: Final = {
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
    """An error response to a request, or the error of one item in a batch."""

    def __init__(self, status: int, *, code: str, message: str, headers: Mapping[str, str]) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers

    @property
    def response(self) -> VendorResponse:
        """The error response."""
        response = json_response(self.status, {"message": self.message, "code": self.code})
        return attrs.evolve(response, headers={**response.headers, **self.headers})


def http_error(
    status: int, *, code: str | None = None, message: str | None = None, headers: Mapping[str, str] | None = None
) -> FullstoryHttpError:
    """Return the exception for *status*, with the default code and message unless given."""
    default_code, default_message = DEFAULTS.get(status, DEFAULTS[500])
    return FullstoryHttpError(
        status, code=code or default_code, message=message or default_message, headers=headers or {}
    )


def too_many_requests(seconds: int) -> FullstoryHttpError:
    """Return the exception for a 429 that asks to retry after *seconds*."""
    return http_error(429, headers={"retry-after": str(seconds)})


def invalid(message: str, *, code: str = "invalid_argument") -> FullstoryHttpError:
    """Return the exception for a 400."""
    # The code invalid_argument was seen in Fullstory's own live test, 2026-11-21,
    # https://github.com/fullstorydev/fullstory-node-sdk/blob/main/src/__tests__/events.smoke.test.ts.
    return http_error(400, code=code, message=message)


def user_not_found() -> FullstoryHttpError:
    """Return the exception for a 404 about a user."""
    return http_error(404, code="user_not_found", message="User with that ID does not exist")
