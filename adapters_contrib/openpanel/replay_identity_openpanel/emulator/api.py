"""OpenPanel's emulator and its API: route, duplicate, schema, client, bot and merge, in this order."""

import hashlib
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import attrs

from replay_identity.emulator import Emulator
from replay_identity.emulator.http import JsonObject, JsonValue, ReceivedRequest, VendorResponse, json_response
from replay_identity.emulator.journal import WriteLog
from replay_identity.emulator.rate_limit import Clock
from replay_identity.emulator.vendor import Delay, View

from .device import device_of, is_bot
from .errors import (
    INVALID_SECRET,
    OpenPanelHttpError,
    bad_request,
    json_error,
    status_response,
    text_response,
    unauthorized,
)
from .payload import Identity, read_body, read_identity
from .profiles import Profile, Profiles

UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

# The same bytes from the same origin within this time are a duplicate.
DUPLICATE_WINDOW_S = 0.1

# Policy: the location of every sender.
STOCKHOLM: JsonObject = {
    "country": "SE",
    "city": "Stockholm",
    "region": "AB",
    "longitude": 18.07,
    "latitude": 59.33,
}


@attrs.define(kw_only=True, eq=False)
class OpenPanelEmulator(Emulator):
    """A fake OpenPanel with one project and one client.

    See `Emulator` for the shared attributes.

    Attributes:
        client_id: The id of its only client.
        api_key: The client's secret.
        ignores_secret: True if the client is set to "ignore CORS and secret"; then a bot's User-Agent matters.
        blocked_profiles: Ids that the project's filters block.
        geo: The properties derived from any sender's address; change it in place.
    """

    client_id: str = "3f2c9a10-1b7e-4c55-8a43-0d6f7b1e2a90"
    api_key: str = attrs.field(default="sec_emulator", repr=False)
    ignores_secret: bool = False
    blocked_profiles: AbstractSet[str] = attrs.field(factory=frozenset[str], repr=False)
    geo: JsonObject = attrs.field(factory=STOCKHOLM.copy, repr=False)
    _api: "OpenPanelApi" = attrs.field(init=False, repr=False)

    @property
    def profiles(self) -> Mapping[str, Profile]:
        """A snapshot of the profiles by id."""
        return dict(self._api.profiles.by_id)

    def make_api(self, applied: WriteLog) -> "OpenPanelApi":
        """Return OpenPanel's rules and state."""
        self._api = OpenPanelApi(
            client_id=self.client_id,
            secret=self.api_key,
            ignores_secret=self.ignores_secret,
            blocked_profiles=self.blocked_profiles,
            geo=self.geo,
            clock=self.clock,
            profiles=Profiles(),
            applied=applied,
        )
        return self._api


@attrs.define(kw_only=True)
class OpenPanelApi:
    """OpenPanel's rules and state, without HTTP."""

    client_id: str
    secret: str = attrs.field(repr=False)
    ignores_secret: bool
    blocked_profiles: AbstractSet[str] = attrs.field(repr=False)
    geo: JsonObject = attrs.field(repr=False)
    clock: Clock = attrs.field(repr=False)
    profiles: Profiles
    applied: WriteLog
    _arrivals: dict[tuple[str, bytes], float] = attrs.field(
        init=False, factory=dict[tuple[str, bytes], float], repr=False
    )

    async def respond(self, request: ReceivedRequest, delay: Delay) -> VendorResponse:
        """Await *delay*, apply the request and return the response."""
        await delay()
        if (request.method, request.segments) != ("POST", ("track",)):
            # Policy: the other endpoints are not supported.
            return json_error(404, f"Route {request.method}:{request.path} not found")
        try:
            return self._track(request)
        except OpenPanelHttpError as error:
            return error.response

    def error_response(self, status: int) -> VendorResponse:
        """Return OpenPanel's error response for *status*."""
        return status_response(status)

    def on_injected_failure(self, request: ReceivedRequest, response: VendorResponse) -> None:
        """Do nothing: OpenPanel does not store responses."""

    def debug_views(self) -> Mapping[str, View]:
        """Return the views of the state by name."""
        return {"profiles": self._profiles_view, "applied": self.applied.as_json}

    def clear(self) -> None:
        """Delete all profiles, arrivals and counts."""
        self.profiles.by_id.clear()
        self._arrivals.clear()
        self.applied.clear()

    def _profiles_view(self) -> JsonValue:
        return {profile_id: profile.as_json() for profile_id, profile in self.profiles.by_id.items()}

    def _track(self, request: ReceivedRequest) -> VendorResponse:
        if self._is_duplicate(request):
            return text_response(200, "Duplicate event")
        body = read_body(request.body)
        identity = _identity(body)
        self._authorize(request, body, identity.profile_id)
        user_agent = request.headers.get("user-agent", "")
        if not self._secret_of(request, body) and is_bot(user_agent):
            return json_response(202, {"bot": {"name": "A bot", "type": "Service Agent"}})

        self.profiles.merge(identity, {**self.geo, **device_of(user_agent)})
        self.applied.record(identity.profile_id, body)
        device_id = hashlib.sha256(f"{self.client_id} {user_agent}".encode()).hexdigest()
        return json_response(200, {"deviceId": device_id[:32], "sessionId": device_id[32:]}, applied=True)

    def _is_duplicate(self, request: ReceivedRequest) -> bool:
        origin = request.headers.get("origin")
        if origin is None:
            return False
        now, key = self.clock(), (origin, request.body)
        first = self._arrivals.get(key)
        if first is not None and now < first + DUPLICATE_WINDOW_S:
            return True
        self._arrivals[key] = now
        return False

    def _authorize(self, request: ReceivedRequest, body: JsonObject, profile_id: str) -> None:
        client_id = request.headers.get("openpanel-client-id") or body.get("clientId")
        if not client_id:
            raise unauthorized("Missing client id")
        if not isinstance(client_id, str) or not UUID.fullmatch(client_id):
            raise unauthorized("Client ID must be a valid UUIDv4")
        if client_id != self.client_id:
            raise unauthorized("Invalid client id")
        if profile_id in self.blocked_profiles:
            raise unauthorized("Profile id is blocked by project filter")
        if not self.ignores_secret and self._secret_of(request, body) != self.secret:
            raise unauthorized(INVALID_SECRET)

    def _secret_of(self, request: ReceivedRequest, body: JsonObject) -> JsonValue:
        return request.headers.get("openpanel-client-secret") or body.get("clientSecret")


def _identity(body: JsonObject) -> Identity:
    """Return the body's `identify`, or raise OpenPanelHttpError for another type."""
    match body.get("type"):
        case "identify":
            identity = read_identity(body.get("payload"))
        case "alias":
            raise bad_request("Alias is not supported")
        case _:
            # Policy: events, counters and groups are not supported.
            raise bad_request("Invalid type")
    match identity.properties.get("__identify"):
        case {"profileId": str(profile_id)}:
            # This property is a command: everything goes to another profile.
            return attrs.evolve(identity, profile_id=profile_id)
        case _:
            return identity
