"""LogRocket's emulator and its API: identify users, and keep the do-not-record list."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final, Literal, TypeAlias

import attrs
from attrs import validators

from ..base import Emulator
from ..http import JsonObject, JsonValue, ReceivedRequest, VendorResponse, json_response
from ..journal import WriteLog
from ..vendor import Delay, View
from .errors import MESSAGES, Envelope, LogRocketHttpError, malformed, message_response, status_response
from .users import LogRocketUser, LogRocketUsers, check_length, js_string, parse_object, read_identity

ExclusionKind: TypeAlias = Literal["email", "user_id"]
Exclusion: TypeAlias = tuple[ExclusionKind, str]

# The documents show the user, but no captured response is public, and clients expect other bodies too (2026-11-30,
# public connectors).
IdentifyResponse: TypeAlias = Literal["user", "numeric-id", "object", "success", "empty", "no-content"]

KEY_PARTS: Final = 3

# LogRocket writes both "token" and "Token" (2026-11-21, https://docs.logrocket.com/docs/gdpr).
SCHEME: Final = "token"

# Policy: proxies resolve these path segments, encoded or not, so they never arrive as an id.
DOTS: Final = {".", ".."}


def _has_three_parts(_: object, __: object, key: str) -> None:
    parts = key.split(":", KEY_PARTS - 1)
    if len(parts) != KEY_PARTS or not all(parts):
        raise ValueError("api_key: expected org:app:secret")


@attrs.define(kw_only=True, eq=False)
class LogRocketEmulator(Emulator):
    """A fake LogRocket: the User Identification API and the do-not-record list.

    See `Emulator` for the shared attributes.

    Attributes:
        api_key: The valid key, ``org:app:secret``, which also sets the organisation and the app.
        envelope: The JSON name of the message in an error response, or `text` for plain text.
        accepts_empty: Whether `{}` is a valid body or a malformed request.
        identify_response: Body of a success: the `user`; `numeric-id`, the user with a number as `userID`; `object` is
            `{}`; `success` is `{"success": true}`; `empty` has no bytes; `no-content` is a 204.
    """

    api_key: str = attrs.field(default="acme:shop:emulator", repr=False, validator=_has_three_parts)
    envelope: Envelope = "error"
    # Policy: every field is optional, so an empty object conforms to the schema.
    accepts_empty: bool = True
    identify_response: IdentifyResponse = attrs.field(
        default="user", validator=validators.in_(("user", "numeric-id", "object", "success", "empty", "no-content"))
    )
    _api: "LogRocketApi" = attrs.field(init=False, repr=False)

    @property
    def users(self) -> Mapping[str, LogRocketUser]:
        """A snapshot of the users by your own id."""
        return dict(self._api.users.by_id)

    @property
    def excluded(self) -> AbstractSet[Exclusion]:
        """A snapshot of the do-not-record list, as pairs of "email" or "user_id" and its value."""
        return set(self._api.excluded)

    def make_api(self, applied: WriteLog) -> "LogRocketApi":
        """Return LogRocket's API, which records its writes in *applied*."""
        self._api = LogRocketApi(
            api_key=self.api_key,
            users=LogRocketUsers(clock=self.clock),
            applied=applied,
            envelope=self.envelope,
            accepts_empty=self.accepts_empty,
            identify_response=self.identify_response,
        )
        return self._api


@attrs.define(kw_only=True)
class LogRocketApi:
    """LogRocket's rules and state, without HTTP."""

    api_key: str = attrs.field(repr=False)
    users: LogRocketUsers
    applied: WriteLog
    envelope: Envelope
    accepts_empty: bool
    identify_response: IdentifyResponse
    excluded: set[Exclusion] = attrs.field(init=False, factory=set[Exclusion], repr=False)

    async def respond(self, request: ReceivedRequest, delay: Delay) -> VendorResponse:
        """Await *delay*, apply the request and return the response."""
        await delay()
        try:
            self._authorize(request)
            return self._route(request)
        except LogRocketHttpError as error:
            return message_response(error.status, error.message, self.envelope)

    def error_response(self, status: int) -> VendorResponse:
        """Return LogRocket's error response for *status*."""
        return status_response(status, self.envelope)

    def on_injected_failure(self, request: ReceivedRequest, response: VendorResponse) -> None:
        """Do nothing: LogRocket stores no responses."""

    def debug_views(self) -> Mapping[str, View]:
        """Return the views of the state by name."""
        return {"users": self._users_json, "applied": self.applied.as_json}

    def clear(self) -> None:
        """Delete users, exclusions and counts."""
        self.users.by_id.clear()
        self.excluded.clear()
        self.applied.clear()

    def _users_json(self) -> JsonValue:
        users: list[JsonValue] = [
            {**user.as_json(), "first_seen": user.first_seen, "last_seen": user.last_seen}
            for user in self.users.by_id.values()
        ]
        excluded: list[JsonValue] = [{kind: value} for kind, value in sorted(self.excluded)]
        return {"users": users, "excluded": excluded}

    def _authorize(self, request: ReceivedRequest) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != SCHEME or key != self.api_key:
            raise LogRocketHttpError(401, MESSAGES[401])

    def _route(self, request: ReceivedRequest) -> VendorResponse:
        org, app, _ = self.api_key.split(":", 2)
        match request.method, *request.segments:
            case "PUT", "v1", "orgs", str(path_org), "apps", str(path_app), "users", str(user_id) if (
                (path_org, path_app) == (org, app) and user_id and user_id not in DOTS
            ):
                return self._identify(user_id, request.body)
            case "POST", "v1", "orgs", str(path_org), "apps", str(path_app), "gdpr", str(action), "" if (
                path_org,
                path_app,
            ) == (org, app) and action in {"exclusion", "inclusion"}:
                return self._set_excluded(request.body, is_excluded=action == "exclusion")
            case _:
                # Policy: other methods, a missing or additional trailing slash and reading a user are 404.
                raise LogRocketHttpError(404, MESSAGES[404])

    def _identify(self, user_id: str, body: bytes) -> VendorResponse:
        payload = parse_object(body)
        identity = read_identity(payload, accepts_empty=self.accepts_empty)
        check_length(user_id, "userID")
        # Policy: an excluded user can still be identified; the documents only speak of recording.
        user = self.users.put(user_id, identity)
        self.applied.record(user_id, payload)
        return _identified(user, self.identify_response)

    def _set_excluded(self, body: bytes, *, is_excluded: bool) -> VendorResponse:
        exclusion = read_exclusion(body)
        if is_excluded:
            self.excluded.add(exclusion)
        else:
            self.excluded.discard(exclusion)
        # Policy: the documents show no response.
        return json_response(200, {}, applied=True)


def _identified(user: LogRocketUser, form: IdentifyResponse) -> VendorResponse:
    if form in {"empty", "no-content"}:
        return VendorResponse(status=200 if form == "empty" else 204, applied=True)

    digits = user.user_id[:15]
    number = int(digits) if digits.isdecimal() else 1
    bodies: Mapping[str, JsonObject] = {
        "user": user.as_json(),
        "numeric-id": {**user.as_json(), "userID": number},
        "object": {},
        "success": {"success": True},
    }
    return json_response(200, bodies[form], applied=True)


def read_exclusion(body: bytes) -> Exclusion:
    """Return the e-mail address or the id in *body*.

    Raises:
        LogRocketHttpError: The body is malformed (400).
    """
    value = parse_object(body)
    match value:
        case {"email": str(email), **rest} if email and not rest:
            return "email", email
        case {"user_id": str(user_id), **rest} if user_id and not rest:
            return "user_id", user_id
        case {"user_id": int(number), **rest} if not isinstance(number, bool) and not rest:
            # The documents' own example sends a number, which loses digits beyond 2**53.
            return "user_id", js_string(number)
        case _:
            raise malformed()
