"""The users of one LogRocket app."""

from collections.abc import Mapping

import attrs

from ..answer import JsonValue
from ..rate_limit import Clock
from .fields import Identity

MILLISECONDS = 1000


@attrs.frozen(kw_only=True)
class LogRocketUser:
    """A user as stored; the times are milliseconds since the epoch."""

    user_id: str = attrs.field(repr=False)
    name: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)
    traits: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    first_seen: int
    last_seen: int

    def as_json(self) -> dict[str, JsonValue]:
        """Return the user as LogRocket answers it.

        Policy: a name or e-mail that was never set is left out.
        """
        named: dict[str, JsonValue] = {"name": self.name, "email": self.email}
        present = {field: value for field, value in named.items() if value is not None}
        return {"userID": self.user_id, **present, "traits": dict(self.traits)}


@attrs.define(kw_only=True)
class Users:
    """Users by the id that the application gave them."""

    clock: Clock = attrs.field(repr=False)
    known: dict[str, LogRocketUser] = attrs.field(init=False, factory=dict[str, LogRocketUser], repr=False)

    def put(self, user_id: str, identity: Identity) -> LogRocketUser:
        """Merge what a PUT says into the user, who may be new."""
        # Policy: without a timestamp it is the time of arrival.
        seen = int(self.clock() * MILLISECONDS) if identity.timestamp is None else identity.timestamp
        user = self.known.get(user_id) or LogRocketUser(user_id=user_id, first_seen=seen, last_seen=seen)

        # Policy: a timestamp is for first and last seen, as documented; the newest *arrival* wins a trait.
        self.known[user_id] = attrs.evolve(
            user,
            name=user.name if identity.name is None else identity.name,
            email=user.email if identity.email is None else identity.email,
            traits=_merged(user.traits, identity.traits),
            first_seen=min(user.first_seen, seen),
            last_seen=max(user.last_seen, seen),
        )
        return self.known[user_id]


def _merged(old: Mapping[str, str], new: Mapping[str, str]) -> Mapping[str, str]:
    # "To remove a trait [...] set to a blank value." Policy: blank is the empty string, not spaces.
    return {name: value for name, value in {**old, **new}.items() if value}
