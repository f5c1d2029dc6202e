"""Writing what a request, or one item of a batch, says about one user."""

import attrs

from ..answer import JsonObject
from ..applied import Applied
from .fields import read_user
from .properties import Oversized
from .refusal import invalid
from .users import FullstoryUser, Users


@attrs.frozen(kw_only=True)
class Writer:
    """Reads, stores and counts."""

    users: Users
    applied: Applied
    oversized: Oversized

    def upsert(self, said: JsonObject) -> FullstoryUser:
        """Upsert by uid, or create an anonymous user, or refuse."""
        return self._noted(self.users.upsert(read_user(said, oversized=self.oversized)), said)

    def update(self, user_id: str, said: JsonObject) -> FullstoryUser:
        """Update the user with that Fullstory id, or refuse."""
        return self._noted(self.users.update(user_id, read_user(said, oversized=self.oversized)), said)

    def write_item(self, item: JsonObject) -> str:
        """Update the user with the item's Fullstory id, or upsert where it has none, or refuse; return the id."""
        if "id" not in item:
            return self.upsert(item).id

        user_id = item["id"]
        # Policy: an id that is no Fullstory id is refused; the documents say no more than that there may be one.
        if not isinstance(user_id, str) or not user_id:
            raise invalid("id must be a Fullstory id", code="invalid_parameter")
        said = {name: value for name, value in item.items() if name != "id"}
        return self.update(user_id, said).id

    def _noted(self, user: FullstoryUser, said: JsonObject) -> FullstoryUser:
        self.applied.note(user.uid or user.id, said)
        return user
