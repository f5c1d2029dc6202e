"""From a request to an endpoint: key, organisation, app, route."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Literal, TypeAlias

import attrs

from ..base import Emulator
from ..http import JsonValue, ReceivedRequest, VendorResponse, json_response
from ..journal import WriteLog
from ..vendor import Delay, View
from .errors import MESSAGES, Envelope, LogRocketHttpError, failure, malformed, message_response
from .users import LogRocketUser, LogRocketUsers, parse_object, read_identity, require_short, string_of

ExclusionKind: TypeAlias = Literal["email", "user_id"]
Excluded: TypeAlias = tuple[ExclusionKind, str]


def read_person(body: bytes) -> Excluded:
    """Return whom *body* names, by e-mail or by id, or refuse it."""
    value = parse_object(body)
    match value:
        case {"email": str(email), **rest} if email and not rest:
            return "email", email
        case {"user_id": str(user_id), **rest} if user_id and not rest:
            return "user_id", user_id
        case {"user_id": int(number), **rest} if not isinstance(number, bool) and not rest:
            # The documents' own example sends a number, which loses digits beyond 2**53.
            return "user_id", string_of(number)
        case _:
            raise malformed()


# LogRocket writes both "token" and "Token" (2026-11-21, https://docs.logrocket.com/docs/gdpr).
SCHEME = "token"

# Policy: these are path segments that proxies resolve, encoded or not, so they never arrive as an id.
DOTS = {".", ".."}


@attrs.define(kw_only=True)
class LogRocketApi:
    """LogRocket's rules and state, without any HTTP."""

    api_key: str = attrs.field(repr=False)
    users: LogRocketUsers
    applied: WriteLog
    envelope: Envelope
    accepts_empty: bool
    excluded: set[Excluded] = attrs.field(init=False, factory=set[Excluded], repr=False)

    async def respond(self, request: ReceivedRequest, delay: Delay) -> VendorResponse:
        """Act on the request after *delay*, and answer it."""
        await delay()
        try:
            self._authorize(request)
            return self._route(request)
        except LogRocketHttpError as refusal:
            return message_response(refusal.status, refusal.message, self.envelope)

    def error_response(self, status: int) -> VendorResponse:
        """Return LogRocket's words for an error status."""
        return failure(status, self.envelope)

    def on_injected_failure(self, request: ReceivedRequest, response: VendorResponse) -> None:
        """Do nothing: LogRocket remembers no answers."""

    def debug_views(self) -> Mapping[str, View]:
        """Return what there is to look at, by name."""
        return {"users": self._everybody, "applied": self.applied.as_json}

    def clear(self) -> None:
        """Forget users, exclusions and counts."""
        self.users.known.clear()
        self.excluded.clear()
        self.applied.clear()

    def _everybody(self) -> JsonValue:
        users: list[JsonValue] = [
            {**user.as_json(), "first_seen": user.first_seen, "last_seen": user.last_seen}
            for user in self.users.known.values()
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
            case "PUT", "v1", "orgs", str(given_org), "apps", str(given_app), "users", str(user_id) if (
                (given_org, given_app) == (org, app) and user_id and user_id not in DOTS
            ):
                return self._identify(user_id, request.body)
            case "POST", "v1", "orgs", str(given_org), "apps", str(given_app), "gdpr", str(verb), "" if (
                given_org,
                given_app,
            ) == (org, app) and verb in {"exclusion", "inclusion"}:
                return self._exclude(request.body, is_excluded=verb == "exclusion")
            case _:
                # Policy: other methods, another slash at the end and reading a user are 404.
                raise LogRocketHttpError(404, MESSAGES[404])

    def _identify(self, user_id: str, body: bytes) -> VendorResponse:
        said = parse_object(body)
        identity = read_identity(said, accepts_empty=self.accepts_empty)
        require_short(user_id, "userID")
        # Policy: an excluded user is still taken; the documents speak of recording alone.
        user = self.users.put(user_id, identity)
        self.applied.record(user_id, said)
        return json_response(200, user.as_json(), applied=True)

    def _exclude(self, body: bytes, *, is_excluded: bool) -> VendorResponse:
        person = read_person(body)
        if is_excluded:
            self.excluded.add(person)
        else:
            self.excluded.discard(person)
        # Policy: the documents show no reply.
        return json_response(200, {}, applied=True)


KEY_PARTS = 3


def _has_three_parts(_: object, __: object, key: str) -> None:
    parts = key.split(":", KEY_PARTS - 1)
    if len(parts) != KEY_PARTS or not all(parts):
        raise ValueError("api_key must read org:app:secret")


@attrs.define(kw_only=True, eq=False)
class LogRocketEmulator(Emulator):
    """A fake LogRocket, the User Identification API and the exclusion list; see `Emulator` for what it shares.

    Attributes:
        api_key: The key it knows; its organisation and app come from it.
        envelope: The JSON key that an error message stands under, or `text` for no JSON.
        accepts_empty: Whether `{}` is a body; otherwise it is a malformed request.
    """

    api_key: str = attrs.field(default="acme:shop:emulator", repr=False, validator=_has_three_parts)
    envelope: Envelope = "error"
    # Policy: every field is optional, so an object without any conforms.
    accepts_empty: bool = True
    _api: LogRocketApi = attrs.field(init=False, repr=False)

    @property
    def users(self) -> Mapping[str, LogRocketUser]:
        """The users by the application's id, as they stand now."""
        return dict(self._api.users.known)

    @property
    def excluded(self) -> AbstractSet[Excluded]:
        """Everybody on the do-not-record list, as ("email" or "user_id", value), as it stands now."""
        return set(self._api.excluded)

    def make_api(self, applied: WriteLog) -> LogRocketApi:
        """Return LogRocket's rules and state."""
        self._api = LogRocketApi(
            api_key=self.api_key,
            users=LogRocketUsers(clock=self.clock),
            applied=applied,
            envelope=self.envelope,
            accepts_empty=self.accepts_empty,
        )
        return self._api
