"""The endpoints for one user at a time."""

from collections.abc import Sequence

import attrs

from ..answer import Answer, JsonObject, JsonValue, json_answer
from ..received import Received
from .access import Level
from .fields import parse_object
from .listing import Listing, read_bool
from .refusal import invalid, user_not_found
from .routes import Route
from .users import FullstoryUser, Users
from .writer import Writer

APP_URL = "https://app.fullstory.com/ui/EMULATOR/segments/everyone/people:search:emulator"


@attrs.frozen(kw_only=True)
class SingleUsers:
    """Create, update, get, list and delete users."""

    users: Users
    listing: Listing
    writer: Writer

    def routes(self) -> Sequence[Route]:
        """Return the endpoints with the level each needs."""
        everyone, one = ("v2", "users"), ("v2", "users", "*")
        write, read = Level.STANDARD, Level.ARCHITECT
        create, update, delete = self.create, self.update, self.delete
        return (
            Route(method="POST", path=everyone, level=write, endpoint=create, is_idempotent=True),
            Route(method="POST", path=one, level=write, endpoint=update),
            Route(method="GET", path=one, level=read, endpoint=self.get),
            Route(method="GET", path=everyone, level=read, endpoint=self.list),
            Route(method="DELETE", path=one, level=read, endpoint=delete),
            Route(method="DELETE", path=everyone, level=read, endpoint=self.delete_by_uid),
        )

    def create(self, received: Received) -> Answer:
        """Upsert by uid, or create an anonymous user."""
        return _saved(self.writer.upsert(parse_object(received.body)))

    def update(self, received: Received) -> Answer:
        """Update the user with the Fullstory id in the path."""
        return _saved(self.writer.update(received.segments[-1], parse_object(received.body)))

    def get(self, received: Received) -> Answer:
        """Return the user with the Fullstory id in the path."""
        user = self.users.get(received.segments[-1])
        return json_answer(200, user_json(user, with_schema=wants_schema(received)))

    def list(self, received: Received) -> Answer:
        """Return one page of the users that match the filters."""
        with_schema = wants_schema(received)
        page = self.listing.page(received.query)
        results: list[JsonValue] = [user_json(user, with_schema=with_schema) for user in page.users]
        body: JsonValue = {
            "results": results,
            "total_records": str(page.total),
            "next_page_token": page.next_token,
            "app_url": f"{APP_URL}/0",
        }
        return json_answer(200, body)

    def delete(self, received: Received) -> Answer:
        """Delete the user with the Fullstory id in the path."""
        self.users.delete(received.segments[-1])
        return json_answer(200, {}, applied=True)

    def delete_by_uid(self, received: Received) -> Answer:
        """Delete the user with the uid in the query."""
        uid = received.query.get("uid")
        if not uid:
            raise invalid("uid is required", code="required_field")

        user = self.users.by_uid(uid)
        if user is None:
            raise user_not_found()
        self.users.delete(user.id)
        return json_answer(200, {}, applied=True)


def user_json(user: FullstoryUser, *, with_schema: bool) -> JsonObject:
    """Return the user as Fullstory shows it.

    Policy: what was never set is null, and so are the properties of a user without any.
    """
    conflicts = {path: list[JsonValue](types) for path, types in user.type_conflicts.items()}
    return {
        "id": user.id,
        "uid": user.uid,
        "display_name": user.display_name,
        "email": user.email,
        "is_being_deleted": user.is_being_deleted,
        "properties": dict(user.properties) or None,
        "schema": {"properties": dict(user.schema)} if with_schema else None,
        # Policy: conflicts are shown along with the schema, as a list of types by dotted path.
        "type_conflicts": {"properties": dict(conflicts)} if with_schema and conflicts else None,
        "app_url": f"{APP_URL}/user/{user.id}?url_source=api",
    }


def wants_schema(received: Received) -> bool:
    """Say whether the request asks for schemas, or refuse it."""
    return read_bool(received.query.get("include_schema", "false"), "include_schema")


def _saved(user: FullstoryUser) -> Answer:
    # The id and nothing else (2026-11-21, https://developer.fullstory.com/server/users/create-user/).
    return json_answer(200, {"id": user.id}, applied=True)
