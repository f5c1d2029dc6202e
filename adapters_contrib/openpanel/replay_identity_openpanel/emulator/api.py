"""From a request to a profile: route, duplicate, schema, client, bot, merge."""

import hashlib
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import attrs

from replay_identity.emulator.http import JsonObject, JsonValue, ReceivedRequest, VendorResponse, json_response
from replay_identity.emulator.journal import WriteLog
from replay_identity.emulator.rate_limit import Clock
from replay_identity.emulator.vendor import Delay, View

from .device import device_of, is_bot
from .errors import SECRET, RefusalError, bad_request, error_answer, failure, text_answer, unauthorized
from .payload import Identity, read_body, read_identity
from .profiles import Profiles

UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

# Seconds in which the same bytes from the same origin are a duplicate.
DUPLICATE_WINDOW = 0.1


@attrs.define(kw_only=True)
class Api:
    """OpenPanel's rules and state, without any HTTP."""

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
        """Act on the request after *delay*, and answer it."""
        await delay()
        if (request.method, request.segments) != ("POST", ("track",)):
            # Policy: the other endpoints are not here.
            return error_answer(404, f"Route {request.method}:{request.path} not found")
        try:
            return self._track(request)
        except RefusalError as refusal:
            return refusal.answer

    def error_response(self, status: int) -> VendorResponse:
        """Return OpenPanel's words for an error status."""
        return failure(status)

    def on_injected_failure(self, request: ReceivedRequest, response: VendorResponse) -> None:
        """Do nothing: OpenPanel remembers no answers."""

    def debug_views(self) -> Mapping[str, View]:
        """Return what there is to look at, by name."""
        return {"profiles": self._everybody, "applied": self.applied.as_json}

    def clear(self) -> None:
        """Forget profiles, arrivals and counts."""
        self.profiles.known.clear()
        self._arrivals.clear()
        self.applied.clear()

    def _everybody(self) -> JsonValue:
        return {profile_id: profile.as_json() for profile_id, profile in self.profiles.known.items()}

    def _track(self, request: ReceivedRequest) -> VendorResponse:
        if self._is_duplicate(request):
            return text_answer(200, "Duplicate event")
        body = read_body(request.body)
        identity = _identity(body)
        self._authorize(request, body, identity.profile_id)
        user_agent = request.headers.get("user-agent", "")
        if not self._secret_of(request, body) and is_bot(user_agent):
            return json_response(202, {"bot": {"name": "A bot", "type": "Service Agent"}})

        self.profiles.put(identity, {**self.geo, **device_of(user_agent)})
        self.applied.record(identity.profile_id, body)
        device_id = hashlib.sha256(f"{self.client_id} {user_agent}".encode()).hexdigest()
        return json_response(200, {"deviceId": device_id[:32], "sessionId": device_id[32:]}, applied=True)

    def _is_duplicate(self, request: ReceivedRequest) -> bool:
        origin = request.headers.get("origin")
        if origin is None:
            return False
        now, key = self.clock(), (origin, request.body)
        first = self._arrivals.get(key)
        if first is not None and now < first + DUPLICATE_WINDOW:
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
            raise unauthorized(SECRET)

    def _secret_of(self, request: ReceivedRequest, body: JsonObject) -> JsonValue:
        return request.headers.get("openpanel-client-secret") or body.get("clientSecret")


def _identity(body: JsonObject) -> Identity:
    """Return what the body's `identify` says, or refuse a body of another type."""
    match body.get("type"):
        case "identify":
            identity = read_identity(body.get("payload"))
        case "alias":
            raise bad_request("Alias is not supported")
        case _:
            # Policy: events, counters and groups are not here.
            raise bad_request("Invalid type")
    match identity.properties.get("__identify"):
        case {"profileId": str(profile_id)}:
            # A property that is a word to the server: all goes to another profile.
            return attrs.evolve(identity, profile_id=profile_id)
        case _:
            return identity
