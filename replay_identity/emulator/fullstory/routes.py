"""Which request does what, and the level it needs."""

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import attrs

from ..http import ReceivedRequest, VendorResponse
from .errors import http_error

# Policy: the scheme is taken literally, as documented, and the key is not base64.
SCHEME = "Basic "


class Level(enum.IntEnum):
    """The permission level of an API key; a higher one may do all that a lower one may."""

    STANDARD = 1
    ARCHITECT = 2
    ADMIN = 3


# The roles that GET /me reports (2026-11-21, https://developer.fullstory.com/me/).
ROLES = {Level.STANDARD: "USER", Level.ARCHITECT: "ARCHITECT", Level.ADMIN: "ADMIN"}


def level_of(request: ReceivedRequest, api_keys: Mapping[str, Level]) -> Level:
    """Return the level of the request's key, or refuse with 401."""
    credentials = request.headers.get("authorization", "")
    level = api_keys.get(credentials.removeprefix(SCHEME))
    if level is None or not credentials.startswith(SCHEME):
        raise http_error(401)
    return level


def require(level: Level, needed: Level) -> None:
    """Refuse with 403 a key whose level is too low."""
    if level < needed:
        raise http_error(403)


Handler: TypeAlias = Callable[[ReceivedRequest], VendorResponse]

# "/v2beta" is the older name of every path (2026-11-21,
# https://github.com/fullstorydev/fullstory-node-sdk/blob/main/specs/users.sdk.swagger.json).
BETA = "v2beta"


@attrs.frozen(kw_only=True)
class ApiRoute:
    """An endpoint, its method and its path; the path segment `*` is any one segment."""

    method: str
    path: Sequence[str]
    level: Level
    endpoint: Handler
    is_idempotent: bool = False
    """Whether the Idempotency-Key header means something to it."""

    def matches(self, request: ReceivedRequest) -> bool:
        """Say whether the request is for this endpoint."""
        first, *rest = request.segments
        segments = ["v2" if first == BETA else first, *rest]
        return (
            request.method == self.method
            and len(segments) == len(self.path)
            and all(map(_matches, self.path, segments))
        )


def find_route(routes: Iterable[ApiRoute], request: ReceivedRequest) -> ApiRoute:
    """Return the first route that fits, or refuse with 404."""
    # Policy: a known path with another method is 404, too; 405 is in no document.
    for route in routes:
        if route.matches(request):
            return route
    raise http_error(404)


def _matches(known: str, given: str) -> bool:
    return bool(given) if known == "*" else known == given
