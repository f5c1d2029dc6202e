"""The sessions of one website, which is where Umami keeps what it knows of users."""

from collections.abc import Mapping
from uuid import UUID, uuid5

import attrs

from replay_identity.emulator.http import JsonObject

from .errors import database_error
from .identification import Identification
from .properties import Property, check_name, flatten, read_property

_ID_WIDTH = 50


@attrs.define(kw_only=True)
class Session:
    """A session and its properties by dotted name.

    Attributes:
        session_id: Umami's id, the same for the same website and user for ever.
        user_id: The application's id, or None for what was sent without one.
        properties: What is known of the user.
        seen_at: The last timestamp that came with it, in seconds since the epoch, or None.
    """

    session_id: str
    user_id: str | None = attrs.field(repr=False)
    properties: dict[str, Property] = attrs.field(factory=dict[str, Property], repr=False)
    seen_at: int | None = None

    def as_json(self) -> JsonObject:
        """Return the session for people to look at, and to compare."""
        return {
            "sessionId": self.session_id,
            "distinctId": self.user_id,
            "timestamp": self.seen_at,
            "properties": {name: each.as_json() for name, each in self.properties.items()},
        }


@attrs.define(kw_only=True)
class Sessions:
    """Sessions by their ids."""

    known: dict[str, Session] = attrs.field(init=False, factory=dict[str, Session], repr=False)
    writes: int = attrs.field(init=False, default=0)
    """How many properties were ever written."""

    def users(self) -> Mapping[str, Session]:
        """Return the sessions of users who have an id, by that."""
        return {session.user_id: session for session in self.known.values() if session.user_id is not None}

    def write(self, said: Identification, caller: str) -> str:
        """Merge what is *said* into the session and return its id.

        Args:
            said: What a request says.
            caller: What tells one who has no id from another: the address and the User-Agent.
        """
        user_id = said.user_id or None
        if user_id is not None:
            _check_user_id(user_id)
        session_id = str(uuid5(UUID(said.website), f"user {user_id}" if user_id is not None else f"caller {caller}"))
        # Not atomic: what comes before the first value that the database refuses is stored.
        for name, value in flatten(said.data):
            check_name(name)
            stored = read_property(value)
            session = self.known.setdefault(session_id, Session(session_id=session_id, user_id=user_id))
            session.properties[name] = stored
            session.seen_at = said.timestamp
            self.writes += 1
        return session_id


def _check_user_id(user_id: str) -> None:
    if len(user_id) > _ID_WIDTH:
        raise database_error("P2010", "22001")
    if "\0" in user_id:
        raise database_error("P2039")
