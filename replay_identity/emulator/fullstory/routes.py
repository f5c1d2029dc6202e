"""The routes of Fullstory's API and the key level that each needs."""

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from ..http import ReceivedRequest, VendorResponse
from .errors import http_error

Handler: TypeAlias = Callable[[ReceivedRequest], VendorResponse]

# Policy: the scheme is taken literally, as documented, and the key is not base64.
SCHEME: Final = "Basic "

# "/v2beta" is the older name of every path (2026-11-21,
# https://github.com/fullstorydev/fullstory-node-sdk/blob/main/specs/users.sdk.swagger.json).
BETA: Final = "v2beta"


class Level(enum.IntEnum):
    """The permission level of an API key; a higher level includes the lower ones.

    Policy: a key that views only, or of unknown role, can call nothing but GET /me, and the manager of an umbrella
    account can do what an Admin can; the documents only order Standard, Architect and Admin.
    """

    UNKNOWN = -1
    VIEW_ONLY = 0
    STANDARD = 1
    ARCHITECT = 2
    ADMIN = 3
    UMBRELLA_MANAGER = 4

    @property
    def role(self) -> str:
        """The role that GET /me reports (2026-11-30, https://developer.fullstory.com/me/)."""
        return "USER" if self is Level.STANDARD else self.name


@attrs.frozen(kw_only=True)
class ApiRoute:
    """A method and a path with its handler.

    Attributes:
        method: The HTTP method.
        path: The segments of the path; `*` matches any segment.
        level: The key level it needs.
        handler: Returns the response to a request.
        is_idempotent: Whether the route honours the Idempotency-Key header.
    """

    method: str
    path: Sequence[str]
    level: Level
    handler: Handler
    is_idempotent: bool = False

    def matches(self, request: ReceivedRequest) -> bool:
        """Return True if the request has this method and path."""
        first, *rest = request.segments
        segments = ["v2" if first == BETA else first, *rest]
        return (
            request.method == self.method
            and len(segments) == len(self.path)
            and all(map(_segment_matches, self.path, segments))
        )


def find_route(routes: Iterable[ApiRoute], request: ReceivedRequest) -> ApiRoute:
    """Return the first route that matches.

    Raises:
        FullstoryHttpError: No route matches (404).
    """
    # Policy: a known path with another method is 404, too; 405 is not documented.
    for route in routes:
        if route.matches(request):
            return route
    raise http_error(404)


def level_of(request: ReceivedRequest, api_keys: Mapping[str, Level]) -> Level:
    """Return the level of the request's key.

    Raises:
        FullstoryHttpError: The key is missing or unknown (401).
    """
    credentials = request.headers.get("authorization", "")
    level = api_keys.get(credentials.removeprefix(SCHEME))
    if level is None or not credentials.startswith(SCHEME):
        raise http_error(401)
    return level


def require_level(level: Level, minimum: Level) -> None:
    """Check that a key has the *minimum* level.

    Raises:
        FullstoryHttpError: The level is too low (403).
    """
    if level < minimum:
        raise http_error(403)


def _segment_matches(pattern: str, segment: str) -> bool:
    return bool(segment) if pattern == "*" else pattern == segment
