"""Umami's emulator and its API: schema, website, bots, the sender's address, and only then the user."""

import re
from collections.abc import Mapping
from typing import Final
from uuid import UUID

import attrs

from replay_identity.emulator import Emulator
from replay_identity.emulator.http import (
    JsonObject,
    JsonValue,
    ReceivedRequest,
    VendorResponse,
    json_response,
    parse_json,
)
from replay_identity.emulator.journal import WriteLog
from replay_identity.emulator.vendor import Delay, View

from .errors import UmamiHttpError, http_error, schema_error
from .identification import read_identification
from .sessions import Session, Sessions

# User-Agents that count as bots: those tested with isbot 5.1.37 (2026-11-21), without its list of names.
_BOTS: Final = re.compile(
    r"^(python|curl)"  # python-requests/2.32, Python-urllib/3.13, Python/3.13 aiohttp/3.11, curl/8.5.0
    r"|^[\w.-]+(/[\w.]+)?$"  # Any bare product/1.0.
    r"|^mozilla/\d\.\d \(compatible"
    r"|bot\b|crawl|spider",
    re.IGNORECASE,
)


def _as_uuid(website: str) -> str:
    return str(UUID(website))


@attrs.define(kw_only=True, eq=False)
class UmamiEmulator(Emulator):
    """A fake Umami with one website.

    See `Emulator` for the shared attributes.

    Attributes:
        api_key: The website's id.
        ignores_sender: True if the sender's address is in IGNORE_IP, so that every user gets a 403.
    """

    api_key: str = attrs.field(default="5f0ca11e-d1c7-4b1e-9c0d-e0a11ab1e000", converter=_as_uuid)
    ignores_sender: bool = False
    _api: "UmamiApi" = attrs.field(init=False, repr=False)

    @property
    def users(self) -> Mapping[str, Session]:
        """A snapshot of the users' sessions, by the application's id."""
        return self._api.sessions.users()

    @property
    def sessions(self) -> Mapping[str, Session]:
        """A snapshot of all sessions by Umami's id, including those of users without an id."""
        return dict(self._api.sessions.by_id)

    def make_api(self, applied: WriteLog) -> "UmamiApi":
        """Return Umami's rules and state."""
        self._api = UmamiApi(website=self.api_key, ignores_sender=self.ignores_sender, applied=applied)
        return self._api


@attrs.define(kw_only=True)
class UmamiApi:
    """Umami's rules and state, without HTTP."""

    website: str
    ignores_sender: bool
    applied: WriteLog
    sessions: Sessions = attrs.field(factory=Sessions)

    async def respond(self, request: ReceivedRequest, delay: Delay) -> VendorResponse:
        """Await *delay*, apply the request and return the response."""
        await delay()
        before = self.sessions.writes
        try:
            status, content = 200, self._route(request)
        except UmamiHttpError as error:
            status, content = error.status, error.content
        return json_response(status, content, applied=self.sessions.writes > before)

    def error_response(self, status: int) -> VendorResponse:
        """Return Umami's error response for *status*."""
        return json_response(status, http_error(status).content)

    def on_injected_failure(self, request: ReceivedRequest, response: VendorResponse) -> None:
        """Do nothing: Umami does not store responses."""

    def debug_views(self) -> Mapping[str, View]:
        """Return the views of the state by name."""
        return {"sessions": self._sessions_view, "applied": self.applied.as_json}

    def clear(self) -> None:
        """Delete all sessions and counts."""
        self.sessions.by_id.clear()
        self.applied.clear()

    def _sessions_view(self) -> JsonValue:
        return [session.as_json() for session in self.sessions.by_id.values()]

    def _route(self, request: ReceivedRequest) -> JsonObject:
        match request.method, *request.segments:
            case "POST", "api", "send":
                return self._send(_parse(request.body), request)
            case "POST", "api", "batch":
                return self._batch(_parse(request.body), request)
            case _:
                # Policy: other methods are 404 as well, and nothing can be read.
                raise http_error(404)

    def _send(self, value: JsonValue, request: ReceivedRequest) -> JsonObject:
        identification = read_identification(value)
        if identification.website != self.website:
            raise http_error(400, "Website not found.")
        user_agent = identification.user_agent or request.headers.get("user-agent", "")
        if _is_bot(user_agent):
            return {"beep": "boop"}
        if self.ignores_sender:
            raise http_error(403)
        before = self.sessions.writes
        session_id = self.sessions.write(identification, sender=user_agent)
        if self.sessions.writes > before:
            self.applied.record(identification.user_id or session_id, value)
        # Policy: the cache token is never read, and a visit is the same as a session.
        return {"cache": f"cache-of-{session_id}", "sessionId": session_id, "visitId": session_id}

    def _batch(self, value: JsonValue, request: ReceivedRequest) -> JsonObject:
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise schema_error((), "Invalid input: expected array")
        details: list[JsonValue] = []
        cache: JsonValue = None
        for index, item in enumerate(value):
            try:
                content = self._send(item, request)
            except UmamiHttpError as error:
                details.append({"index": index, "response": error.content})
            else:
                cache = cache or content.get("cache")
        processed = len(value) - len(details)
        return {
            "size": len(value),
            "processed": processed,
            "errors": len(details),
            "details": details,
            "cache": cache,
        }


def _is_bot(user_agent: str) -> bool:
    """Return True if *user_agent* looks like a bot's; an empty one does not."""
    return _BOTS.search(user_agent) is not None


def _parse(body: bytes) -> JsonValue:
    # Umami treats a body that is not JSON like an empty one.
    try:
        return parse_json(body)
    except ValueError:
        return None
