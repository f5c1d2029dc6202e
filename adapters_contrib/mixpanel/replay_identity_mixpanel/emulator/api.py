"""Mixpanel's emulator and its API (2026-11-21, https://docs.mixpanel.com/reference/profile-set)."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal, TypeAlias

import attrs

from replay_identity.emulator import Emulator
from replay_identity.emulator.http import JsonObject, JsonValue, ReceivedRequest, VendorResponse, json_response
from replay_identity.emulator.journal import WriteLog
from replay_identity.emulator.vendor import Delay, View

from .submission import Submission, read_submission
from .updates import MAX_PROPERTIES, InvalidUpdateError, Update, read_update

RejectionScope: TypeAlias = Literal["batch", "update"]

# 2026-11-21, https://docs.mixpanel.com/reference/user-profile-limits.
MAX_UPDATES = 2000

# Policy: the documentation shows the envelope of 401 and 403 only, and no messages.
MESSAGES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    413: "Request entity too large",
    429: "Too many requests",
}

# Policy: the location that Mixpanel derives from the sender's IP address.
LOCATION: Mapping[str, JsonValue] = {"$city": "Ashburn", "$region": "Virginia", "$country_code": "US"}


@attrs.define(kw_only=True, eq=False)
class MixpanelEmulator(Emulator):
    """A fake Mixpanel: profile updates.

    See `Emulator` for the shared attributes.

    Attributes:
        api_key: The token of its only project. Updates with another token get the same response, and are lost.
        rejection_scope: What an invalid update causes to be rejected: the whole ``batch``, or only the ``update``.
        invalid_ids: Ids that Mixpanel rejects for reasons of its own.
    """

    api_key: str = attrs.field(default="emulator", repr=False)
    # Policy: the documentation says that a 0 means no valid update, and for older endpoints, an invalid one.
    rejection_scope: RejectionScope = "batch"
    invalid_ids: AbstractSet[str] = attrs.field(default=frozenset[str](), repr=False)
    _api: "MixpanelApi" = attrs.field(init=False, repr=False)

    @property
    def profiles(self) -> Mapping[str, JsonObject]:
        """A snapshot of the properties of each profile, by the application's id."""
        return {distinct_id: dict(properties) for distinct_id, properties in self._api.profiles.items()}

    def make_api(self, applied: WriteLog) -> "MixpanelApi":
        """Return Mixpanel's rules and state."""
        self._api = MixpanelApi(
            api_key=self.api_key,
            rejection_scope=self.rejection_scope,
            invalid_ids=self.invalid_ids,
            applied=applied,
        )
        return self._api


@attrs.define(kw_only=True)
class MixpanelApi:
    """Mixpanel's rules and state, without HTTP."""

    api_key: str = attrs.field(repr=False)
    rejection_scope: RejectionScope
    invalid_ids: AbstractSet[str] = attrs.field(repr=False)
    applied: WriteLog
    profiles: dict[str, JsonObject] = attrs.field(init=False, factory=dict[str, JsonObject], repr=False)

    async def respond(self, request: ReceivedRequest, delay: Delay) -> VendorResponse:
        """Await *delay*, apply the request and return the response."""
        await delay()
        # Policy: a slash at the end of the path, as some clients have it, makes no difference.
        if request.method not in {"GET", "POST"} or request.path not in {"/engage", "/engage/"}:
            return self.error_response(404)
        if "content-encoding" in request.headers:
            # "This API does not support gzip encoding." Policy: so it responds with an error.
            return self.error_response(400)
        return self._engage(read_submission(request))

    def error_response(self, status: int) -> VendorResponse:
        """Return Mixpanel's error response for *status*."""
        return json_response(status, {"error": MESSAGES.get(status, "Internal server error"), "status": "error"})

    def on_injected_failure(self, request: ReceivedRequest, response: VendorResponse) -> None:
        """Do nothing: Mixpanel does not store responses."""

    def debug_views(self) -> Mapping[str, View]:
        """Return the views of the state by name."""
        return {"profiles": lambda: dict(self.profiles), "applied": self.applied.as_json}

    def clear(self) -> None:
        """Delete all profiles and counts."""
        self.profiles.clear()
        self.applied.clear()

    def _engage(self, submission: Submission) -> VendorResponse:
        if not submission.updates:
            # Policy: a request without updates is treated like one without a valid update.
            return _verdict(submission, 0, {0: "data, missing or empty"})
        if len(submission.updates) > MAX_UPDATES:
            # Policy: the documentation shows no response to that.
            return self.error_response(413)

        updates, errors = self._read(submission.updates)
        if errors and self.rejection_scope == "batch":
            return _verdict(submission, 0, errors)
        is_applied = self._apply(updates, sets_location=submission.options.get("ip") != "0")
        return _verdict(submission, int(bool(updates)), errors, applied=is_applied)

    def _read(self, values: Sequence[JsonValue]) -> tuple[list[Update], dict[int, str]]:
        """Return the valid updates among *values*, and the errors of the others by index."""
        updates: list[Update] = []
        errors: dict[int, str] = {}
        for index, value in enumerate(values):
            try:
                updates.append(read_update(value, self.invalid_ids))
            except InvalidUpdateError as error:
                errors[index] = error.message
        return updates, errors

    def _apply(self, updates: Sequence[Update], *, sets_location: bool) -> bool:
        """Apply the updates with the project's token, and return True if there are any; the others are lost."""
        known = [update for update in updates if update.token == self.api_key]
        for update in known:
            # "Defaults to 1 which would use the IP address of the request to update profile geolocation."
            self._apply_one(update, LOCATION if sets_location and not update.hides_location else {})
            self.applied.record(update.distinct_id, dict(update.content))
        return bool(known)

    def _apply_one(self, update: Update, location: Mapping[str, JsonValue]) -> None:
        if update.operation == "$delete":
            self.profiles.pop(update.distinct_id, None)
        if update.distinct_id not in self.profiles and not update.creates_profile:
            return
        profile = {**update.applied_to(self.profiles.get(update.distinct_id, {})), **location}
        # "Attempts to add more than 2000 user properties for a user profile will fail." Policy: without an error, since
        # a response says only whether the updates are valid.
        if len(profile) <= MAX_PROPERTIES:
            self.profiles[update.distinct_id] = profile


def _verdict(
    submission: Submission, status: int, errors: Mapping[int, str], *, applied: bool = False
) -> VendorResponse:
    """Return the response: JSON if the options ask for it, else a plain 1 or 0."""
    is_strict = submission.options.get("strict") == "1"
    # The documentation's own example has verbose=2 (user-profiles.mdx, read 2026-11-30).
    if submission.options.get("verbose") not in {"1", "2"}:
        return VendorResponse(
            status=200, body=str(status).encode(), headers={"content-type": "text/plain"}, applied=applied
        )
    # Policy: without strict=1, a request with one valid update was successful, and has no error.
    error = next(iter(errors.values()), None) if is_strict or not status else None
    content: dict[str, JsonValue] = {"status": status, "error": error}
    if is_strict and errors:
        # Policy: "per-record error messages" have no documented shape here; this is the one of /import.
        content["failed_records"] = [{"index": index, "message": message} for index, message in errors.items()]
    return json_response(200, content, applied=applied)
