"""From a request to an endpoint: schema, website, bots, the caller's address, and only then the user."""

from collections.abc import Mapping

import attrs

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

from .agents import is_bot
from .errors import RefusalError, misfit, refusal
from .identification import read_identification
from .sessions import Sessions


@attrs.define(kw_only=True)
class Api:
    """Umami's rules and state, without any HTTP."""

    website: str
    ignores_caller: bool
    applied: WriteLog
    sessions: Sessions = attrs.field(factory=Sessions)

    async def respond(self, request: ReceivedRequest, delay: Delay) -> VendorResponse:
        """Act on the request after *delay*, and answer it."""
        await delay()
        before = self.sessions.writes
        try:
            status, content = 200, self._route(request)
        except RefusalError as error:
            status, content = error.status, error.content
        return json_response(status, content, applied=self.sessions.writes > before)

    def error_response(self, status: int) -> VendorResponse:
        """Return Umami's words for an error status."""
        return json_response(status, refusal(status).content)

    def on_injected_failure(self, request: ReceivedRequest, response: VendorResponse) -> None:
        """Do nothing: Umami remembers no answers."""

    def debug_views(self) -> Mapping[str, View]:
        """Return what there is to look at, by name."""
        return {"sessions": self._all_sessions, "applied": self.applied.as_json}

    def clear(self) -> None:
        """Forget sessions and counts."""
        self.sessions.known.clear()
        self.applied.clear()

    def _all_sessions(self) -> JsonValue:
        return [session.as_json() for session in self.sessions.known.values()]

    def _route(self, request: ReceivedRequest) -> JsonObject:
        match request.method, *request.segments:
            case "POST", "api", "send":
                return self._send(_parse(request.body), request)
            case "POST", "api", "batch":
                return self._batch(_parse(request.body), request)
            case _:
                # Policy: other methods are 404 as well, and nothing can be read.
                raise refusal(404)

    def _send(self, value: JsonValue, request: ReceivedRequest) -> JsonObject:
        said = read_identification(value)
        if said.website != self.website:
            raise refusal(400, "Website not found.")
        user_agent = said.user_agent or request.headers.get("user-agent", "")
        if is_bot(user_agent):
            return {"beep": "boop"}
        if self.ignores_caller:
            raise refusal(403)
        before = self.sessions.writes
        session_id = self.sessions.write(said, caller=user_agent)
        if self.sessions.writes > before:
            self.applied.record(said.user_id or session_id, value)
        # Policy: the cache is a token that is not read, and a visit is not told from a session.
        return {"cache": f"cache-of-{session_id}", "sessionId": session_id, "visitId": session_id}

    def _batch(self, value: JsonValue, request: ReceivedRequest) -> JsonObject:
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise misfit((), "Invalid input: expected array")
        details: list[JsonValue] = []
        cache: JsonValue = None
        for index, item in enumerate(value):
            try:
                answered = self._send(item, request)
            except RefusalError as error:
                details.append({"index": index, "response": error.content})
            else:
                cache = cache or answered.get("cache")
        processed = len(value) - len(details)
        return {
            "size": len(value),
            "processed": processed,
            "errors": len(details),
            "details": details,
            "cache": cache,
        }


def _parse(body: bytes) -> JsonValue:
    # Umami takes what is not JSON for nothing at all.
    try:
        return parse_json(body)
    except ValueError:
        return None
