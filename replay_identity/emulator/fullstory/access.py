"""Who may do what (2026-11-21, https://developer.fullstory.com/server/v2/authentication/)."""

import enum
from collections.abc import Mapping

from ..received import Received
from .refusal import refusal

# Policy: the scheme is taken literally, as documented, and the key is not base64.
SCHEME = "Basic "


class Level(enum.IntEnum):
    """The permission level of an API key; a higher one may do all that a lower one may."""

    STANDARD = 1
    ARCHITECT = 2
    ADMIN = 3


# The roles that GET /me reports (2026-11-21, https://developer.fullstory.com/me/).
ROLES = {Level.STANDARD: "USER", Level.ARCHITECT: "ARCHITECT", Level.ADMIN: "ADMIN"}


def level_of(received: Received, api_keys: Mapping[str, Level]) -> Level:
    """Return the level of the request's key, or refuse with 401."""
    credentials = received.headers.get("authorization", "")
    level = api_keys.get(credentials.removeprefix(SCHEME))
    if level is None or not credentials.startswith(SCHEME):
        raise refusal(401)
    return level


def require(level: Level, needed: Level) -> None:
    """Refuse with 403 a key whose level is too low."""
    if level < needed:
        raise refusal(403)
