"""From a request to the profiles (2026-11-21, https://docs.mixpanel.com/reference/profile-set)."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal, TypeAlias

import attrs

from replay_identity.emulator.http import JsonValue, ReceivedRequest, VendorResponse, json_response, parse_json
from replay_identity.emulator.journal import WriteLog
from replay_identity.emulator.vendor import Delay, View

from .profiles import HOME, Profiles
from .updates import InvalidError, Update, read_update

Refuses: TypeAlias = Literal["batch", "record"]

# 2026-11-21, https://docs.mixpanel.com/reference/user-profile-limits.
MOST_UPDATES = 2000

# Policy: the documents show the envelope of 401 and 403 alone, and no words.
WORDS = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    413: "Request entity too large",
    429: "Too many requests",
}


@attrs.define(kw_only=True)
class Engage:
    """Mixpanel's rules and state, without any HTTP."""

    api_key: str = attrs.field(repr=False)
    refuses: Refuses
    invalid_ids: AbstractSet[str] = attrs.field(repr=False)
    profiles: Profiles
    applied: WriteLog

    async def respond(self, request: ReceivedRequest, delay: Delay) -> VendorResponse:
        """Act on the request after *delay*, and answer it."""
        await delay()
        if (request.method, request.segments) != ("POST", ("engage",)):
            return self.error_response(404)
        if "content-encoding" in request.headers:
            # "This API does not support gzip encoding." Policy: and says so.
            return self.error_response(400)
        return self._engage(request)

    def error_response(self, status: int) -> VendorResponse:
        """Return Mixpanel's words for an error status."""
        return json_response(status, {"error": WORDS.get(status, "Internal server error"), "status": "error"})

    def on_injected_failure(self, request: ReceivedRequest, response: VendorResponse) -> None:
        """Do nothing: Mixpanel remembers no answers."""

    def debug_views(self) -> Mapping[str, View]:
        """Return what there is to look at, by name."""
        return {"profiles": lambda: dict(self.profiles.known), "applied": self.applied.as_json}

    def clear(self) -> None:
        """Forget profiles and counts."""
        self.profiles.known.clear()
        self.applied.clear()

    def _engage(self, request: ReceivedRequest) -> VendorResponse:
        try:
            values = parse_json(request.body)
        except ValueError:
            values = None
        if not isinstance(values, list) or not values:
            # Policy: what is no array of updates is like an array without a valid one.
            return _verdict(request, 0, {0: "data, missing or empty"})
        if len(values) > MOST_UPDATES:
            # Policy: the documents have no answer to that.
            return self.error_response(413)

        updates, errors = self._read(values)
        if errors and self.refuses == "batch":
            return _verdict(request, 0, errors)
        is_applied = self._apply(updates, is_located=request.query.get("ip") != "0")
        return _verdict(request, int(bool(updates)), errors, applied=is_applied)

    def _read(self, values: Sequence[JsonValue]) -> tuple[list[Update], dict[int, str]]:
        """Return the valid updates among *values*, and what is wrong with the others by their index."""
        updates: list[Update] = []
        errors: dict[int, str] = {}
        for index, value in enumerate(values):
            try:
                updates.append(read_update(value, self.invalid_ids))
            except InvalidError as error:
                errors[index] = error.message
        return updates, errors

    def _apply(self, updates: Sequence[Update], *, is_located: bool) -> bool:
        """Apply the updates of the project there is, and tell whether that was any; others are lost without a word."""
        ours = [update for update in updates if update.token == self.api_key]
        for update in ours:
            # "Defaults to 1 which would use the IP address of the request to update profile geolocation."
            self.profiles.apply(update, HOME if is_located else {})
            self.applied.record(update.distinct_id, dict(update.said))
        return bool(ours)


def _verdict(
    request: ReceivedRequest, status: int, errors: Mapping[int, str], *, applied: bool = False
) -> VendorResponse:
    """Return the answer: JSON where the query asks for it, or else a plain 1 or 0."""
    is_strict = request.query.get("strict") == "1"
    if request.query.get("verbose") != "1":
        return VendorResponse(
            status=200, body=str(status).encode(), headers={"content-type": "text/plain"}, applied=applied
        )
    # Policy: without strict=1, a request of which one update is valid was successful, and has no error.
    error = next(iter(errors.values()), None) if is_strict or not status else None
    content: dict[str, JsonValue] = {"status": status, "error": error}
    if is_strict and errors:
        # Policy: "per-record error messages" have no documented shape here; this is the one of /import.
        content["failed_records"] = [{"index": index, "message": message} for index, message in errors.items()]
    return json_response(200, content, applied=applied)
