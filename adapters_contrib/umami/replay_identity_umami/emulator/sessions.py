"""The sessions of one website, in which Umami stores users."""

from collections.abc import Mapping
from uuid import UUID, uuid5

import attrs

from replay_identity.emulator.http import JsonObject

from .errors import database_error
from .identification import Identification
from .properties import Property, check_name, flatten, read_property

_MAX_ID_LENGTH = 50


@attrs.define(kw_only=True)
class Session:
    """A stored session.

    Attributes:
        session_id: Umami's id, always the same for a website and user.
        user_id: The application's id, or None if the user was sent without one.
        properties: The properties of the user, by dotted name.
        seen_at: The last timestamp received, in seconds since the epoch, or None.
    """

    session_id: str
    user_id: str | None = attrs.field(repr=False)
    properties: dict[str, Property] = attrs.field(factory=dict[str, Property], repr=False)
    seen_at: int | None = None

    def as_json(self) -> JsonObject:
        """Return the session as JSON, for debugging and comparison."""
        return {
            "sessionId": self.session_id,
            "distinctId": self.user_id,
            "timestamp": self.seen_at,
            "properties": {name: value.as_json() for name, value in self.properties.items()},
        }


@attrs.define(kw_only=True)
class Sessions:
    """Sessions by their ids."""

    by_id: dict[str, Session] = attrs.field(init=False, factory=dict[str, Session], repr=False)
    writes: int = attrs.field(init=False, default=0)
    """The number of properties written so far."""

    def users(self) -> Mapping[str, Session]:
        """Return the sessions of users with an id, by that id."""
        return {session.user_id: session for session in self.by_id.values() if session.user_id is not None}

    def write(self, identification: Identification, sender: str) -> str:
        """Merge *identification* into its session and return the session's id.

        Args:
            identification: The content of a request.
            sender: Identifies users without an id: the address and the User-Agent.
        """
        user_id = identification.user_id or None
        if user_id is not None:
            _check_user_id(user_id)
        session_id = str(
            uuid5(UUID(identification.website), f"user {user_id}" if user_id is not None else f"sender {sender}")
        )
        # Not atomic: the values before the first one that the database rejects are stored.
        for name, value in flatten(identification.data):
            check_name(name)
            stored = read_property(value)
            session = self.by_id.setdefault(session_id, Session(session_id=session_id, user_id=user_id))
            session.properties[name] = stored
            session.seen_at = identification.timestamp
            self.writes += 1
        return session_id


def _check_user_id(user_id: str) -> None:
    if len(user_id) > _MAX_ID_LENGTH:
        raise database_error("P2010", "22001")
    if "\0" in user_id:
        raise database_error("P2039")
