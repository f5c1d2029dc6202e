"""The endpoints for one user at a time."""

import base64
import hashlib
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Literal, TypeAlias

import attrs
from starlette.datastructures import QueryParams

from ..http import JsonObject, JsonValue, ReceivedRequest, VendorResponse, json_response
from ..rate_limit import Clock
from .errors import http_error, invalid, user_not_found
from .properties import parse_object
from .routes import ApiRoute, Level
from .users import FullstoryUser, FullstoryUsers, UserWriter

FILTERS: Final = ("uid", "email", "display_name", "is_identified")
PARAMETERS: Final = {*FILTERS, "page_token", "include_schema"}

# Policy: the documents do not say how long a token lives.
TOKEN_SECONDS: Final = 3600.0

Filters: TypeAlias = Mapping[str, str]

# The contract answers a delete with `{}`; Fullstory's own clients take an empty body and 204 as well (2026-09,
# https://github.com/fullstorydev/sekizui, 8f3699a).
DeleteResponse: TypeAlias = Literal["object", "empty", "no-content"]

APP_URL: Final = "https://app.fullstory.com/ui/EMULATOR/segments/everyone/people:search:emulator"


@attrs.frozen(kw_only=True)
class UserPage:
    """One page of users, the total that match, and the token of the next page."""

    users: Sequence[FullstoryUser]
    total: int
    next_token: str | None


@attrs.frozen
class _ListPosition:
    filters: Filters = attrs.field(repr=False)
    after: int
    expires: float


@attrs.define(kw_only=True)
class UserListing:
    """Pages through the list of users, with tokens."""

    users: FullstoryUsers
    page_size: int
    clock: Clock = attrs.field(repr=False)
    _positions: dict[str, _ListPosition] = attrs.field(init=False, factory=dict[str, _ListPosition])

    def page(self, query: QueryParams) -> UserPage:
        """Return the page that *query* asks for.

        Raises:
            FullstoryHttpError: A parameter is unknown or invalid (400).
        """
        check_parameters(query, PARAMETERS)
        filters = {name: query[name] for name in FILTERS if name in query}
        matching = self._matching(filters)
        after = self._after(query["page_token"], filters) if "page_token" in query else 0
        rest = [user for user in matching if int(user.id) > after]
        users = rest[: self.page_size]
        more = len(rest) > len(users)
        token = self._token(filters, int(users[-1].id)) if more else None
        return UserPage(users=users, total=len(matching), next_token=token)

    def clear(self) -> None:
        """Delete all tokens."""
        self._positions.clear()

    def _matching(self, filters: Filters) -> Sequence[FullstoryUser]:
        # Policy: filters are exact, case-sensitive and combined with "and"; no match is an empty list.
        exact = dict(filters)
        if "is_identified" in exact:
            identified = read_bool(exact.pop("is_identified"), "is_identified")
            candidates = [user for user in self.users.all().values() if (user.uid is not None) is identified]
        else:
            candidates = list(self.users.all().values())
        return [user for user in candidates if all(getattr(user, name) == text for name, text in exact.items())]

    def _after(self, token: str, filters: Filters) -> int:
        position = self._positions.get(token)
        # Policy: 400 for a token that is unknown, expired or of another filter; no status is documented.
        if position is None or position.filters != filters or self.clock() >= position.expires:
            raise invalid("The page_token is invalid")
        return position.after

    def _token(self, filters: Filters, after: int) -> str:
        digest = hashlib.sha256(repr((sorted(filters.items()), after)).encode()).digest()
        # The example token ends in "=", so it must be percent-encoded; ours contains + and / as well.
        token = f"+/{base64.b64encode(digest[:10]).decode()}"
        self._positions[token] = _ListPosition(filters, after, self.clock() + TOKEN_SECONDS)
        return token


def check_parameters(query: QueryParams, allowed: AbstractSet[str]) -> None:
    """Check that *query* has only *allowed* parameters.

    Policy: others are rejected, since invented ones (limit, cursor) are a common mistake.

    Raises:
        FullstoryHttpError: A parameter is unknown (400).
    """
    unknown = query.keys() - allowed
    if unknown:
        raise invalid(f"Unknown parameter {min(unknown)}")


def read_bool(text: str, name: str) -> bool:
    """Return the boolean value of a query parameter.

    Raises:
        FullstoryHttpError: It is neither true nor false (400).
    """
    if text not in {"true", "false"}:
        raise invalid(f"{name} must be true or false")
    return text == "true"


@attrs.define(kw_only=True)
class StreamedImports:
    """The requests of streamed imports, which are done after a number of polls."""

    polls: int
    _user_ids: dict[str, str] = attrs.field(init=False, factory=dict[str, str], repr=False)
    _polls: Counter[str] = attrs.field(init=False, factory=Counter[str], repr=False)

    def add(self, user_id: str) -> str:
        """Return the id of a new request about a user."""
        request_id = str(uuid.uuid4())
        self._user_ids[request_id] = user_id
        return request_id

    def poll(self, request_id: str) -> str:
        """Return the user's Fullstory id, or `""` if the request is not done.

        Raises:
            FullstoryHttpError: The request is unknown (404).
        """
        if request_id not in self._user_ids:
            raise http_error(404)
        self._polls[request_id] += 1
        return self._user_ids[request_id] if self._polls[request_id] > self.polls else ""

    def clear(self) -> None:
        """Delete all requests."""
        self._user_ids.clear()
        self._polls.clear()


@attrs.frozen(kw_only=True)
class UserEndpoints:
    """Create, update, get, list and delete single users."""

    users: FullstoryUsers
    listing: UserListing
    writer: UserWriter
    streams: StreamedImports
    delete_response: DeleteResponse

    def routes(self) -> Sequence[ApiRoute]:
        """Return the routes with the key level that each needs."""
        collection, user = ("v2", "users"), ("v2", "users", "*")
        stream, request = ("v2", "users", "stream"), ("v2", "users", "stream", "*")
        write, read = Level.STANDARD, Level.ARCHITECT
        return (
            # First, since "stream" would match as the id of a user.
            ApiRoute(method="POST", path=stream, level=write, handler=self.stream, is_idempotent=True),
            ApiRoute(method="GET", path=request, level=read, handler=self.streamed),
            ApiRoute(method="POST", path=collection, level=write, handler=self.create, is_idempotent=True),
            ApiRoute(method="POST", path=user, level=write, handler=self.update),
            ApiRoute(method="GET", path=user, level=read, handler=self.get),
            ApiRoute(method="GET", path=collection, level=read, handler=self.list),
            ApiRoute(method="DELETE", path=user, level=read, handler=self.delete),
            ApiRoute(method="DELETE", path=collection, level=read, handler=self.delete_by_uid),
        )

    def create(self, request: ReceivedRequest) -> VendorResponse:
        """Upsert the user with the uid in the body, or create an anonymous user."""
        return _saved(self.writer.upsert(parse_object(request.body)))

    def stream(self, request: ReceivedRequest) -> VendorResponse:
        """Upsert a user like `create`, and return the id of the request instead of the user's."""
        # Policy: the user is written at once; only its id is told later.
        user = self.writer.upsert(parse_object(request.body))
        return json_response(200, {"request_id": self.streams.add(user.id)}, applied=True)

    def streamed(self, request: ReceivedRequest) -> VendorResponse:
        """Return the Fullstory id that came of a streamed import, or an empty id while it runs."""
        return json_response(200, {"id": self.streams.poll(request.segments[-1])})

    def update(self, request: ReceivedRequest) -> VendorResponse:
        """Update the user with the Fullstory id in the path."""
        return _saved(self.writer.update(request.segments[-1], parse_object(request.body)))

    def get(self, request: ReceivedRequest) -> VendorResponse:
        """Return the user with the Fullstory id in the path."""
        user = self.users.get(request.segments[-1])
        return json_response(200, user_json(user, with_schema=wants_schema(request)))

    def list(self, request: ReceivedRequest) -> VendorResponse:
        """Return one page of the users that match the filters."""
        with_schema = wants_schema(request)
        page = self.listing.page(request.query)
        results: list[JsonValue] = [user_json(user, with_schema=with_schema) for user in page.users]
        body: JsonValue = {
            "results": results,
            "total_records": str(page.total),
            "next_page_token": page.next_token,
            "app_url": f"{APP_URL}/0",
        }
        return json_response(200, body)

    def delete(self, request: ReceivedRequest) -> VendorResponse:
        """Delete the user with the Fullstory id in the path."""
        self.users.delete(request.segments[-1])
        return self._deleted()

    def delete_by_uid(self, request: ReceivedRequest) -> VendorResponse:
        """Delete the user with the uid in the query."""
        uid = request.query.get("uid")
        if not uid:
            raise invalid("uid is required", code="required_field")

        user = self.users.by_uid(uid)
        if user is None:
            raise user_not_found()
        self.users.delete(user.id)
        return self._deleted()

    def _deleted(self) -> VendorResponse:
        if self.delete_response == "object":
            return json_response(200, {}, applied=True)
        return VendorResponse(status=200 if self.delete_response == "empty" else 204, applied=True)


def user_json(user: FullstoryUser, *, with_schema: bool) -> JsonObject:
    """Return the user as Fullstory's JSON.

    Policy: a field that was never set is null, and so are the properties of a user without any.
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
        # Policy: conflicts come with the schema, as a list of types by dotted path.
        "type_conflicts": {"properties": dict(conflicts)} if with_schema and conflicts else None,
        "app_url": f"{APP_URL}/user/{user.id}?url_source=api",
    }


def wants_schema(request: ReceivedRequest) -> bool:
    """Return True if the request asks for schemas.

    Raises:
        FullstoryHttpError: The parameter is invalid (400).
    """
    return read_bool(request.query.get("include_schema", "false"), "include_schema")


def _saved(user: FullstoryUser) -> VendorResponse:
    # Only the id (2026-11-21, https://developer.fullstory.com/server/users/create-user/).
    return json_response(200, {"id": user.id}, applied=True)
