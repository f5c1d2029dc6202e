"""PostHog's emulator and its capture API, in both versions."""

from collections.abc import Mapping

import attrs

from replay_identity.emulator import Emulator
from replay_identity.emulator.http import JsonObject, JsonValue, ReceivedRequest, VendorResponse, json_response
from replay_identity.emulator.journal import WriteLog
from replay_identity.emulator.vendor import Delay, View

from .capture import Event, read_batch, read_key
from .errors import PostHogHttpError, status_response
from .event_faults import EventFaults
from .legacy import PATHS as LEGACY_PATHS
from .legacy import LegacyError, read_legacy
from .persons import Person, Persons
from .verdict import Verdict, judge

PATH = "/i/v1/analytics/events"


@attrs.define(kw_only=True, eq=False)
class PostHogEmulator(Emulator):
    """A fake PostHog: capture, version 0 and 1.

    See `Emulator` for the shared attributes.

    Attributes:
        api_key: The project's key. Any other valid-looking key gets the same responses, and its events are lost.
        max_body: Maximum size of a request body in bytes; a larger one gets a 413.
        has_v1: Whether it has version 1, which a self-hosted server may not have.
        event_faults: The faults of single events. In version 0 nothing is said of them.
    """

    api_key: str = attrs.field(default="phc_emulator", repr=False)
    max_body: int = 20 * 1024 * 1024
    has_v1: bool = True
    event_faults: EventFaults = attrs.field(init=False, factory=EventFaults)
    _persons: Persons = attrs.field(init=False, factory=Persons, repr=False)

    @property
    def persons(self) -> Mapping[str, Person]:
        """A snapshot of the persons by distinct id."""
        return dict(self._persons.by_id)

    def make_api(self, applied: WriteLog) -> "PostHogApi":
        """Return PostHog's rules and state."""
        return PostHogApi(
            api_key=self.api_key,
            max_body=self.max_body,
            has_v1=self.has_v1,
            persons=self._persons,
            applied=applied,
            faults=self.event_faults,
        )


@attrs.define(kw_only=True)
class PostHogApi:
    """PostHog's rules and state, without HTTP."""

    api_key: str = attrs.field(repr=False)
    max_body: int
    has_v1: bool
    persons: Persons
    applied: WriteLog
    faults: EventFaults

    async def respond(self, request: ReceivedRequest, delay: Delay) -> VendorResponse:
        """Await *delay*, apply the request and return the response."""
        await delay()
        path = request.path.removesuffix("/")
        if path in LEGACY_PATHS:
            return self._respond_v0(request)
        if path == PATH and self.has_v1:
            return self._respond_v1(request)
        return VendorResponse(status=404)

    def error_response(self, status: int) -> VendorResponse:
        """Return PostHog's error response for *status*."""
        return status_response(status)

    def on_injected_failure(self, request: ReceivedRequest, response: VendorResponse) -> None:
        """Do nothing: PostHog does not store responses."""

    def debug_views(self) -> Mapping[str, View]:
        """Return the views of the state by name."""
        return {"persons": self._persons_view, "applied": self.applied.as_json}

    def clear(self) -> None:
        """Delete all persons, events, counts and event faults."""
        self.persons.clear()
        self.applied.clear()
        self.faults.clear()

    def _respond_v0(self, request: ReceivedRequest) -> VendorResponse:
        if request.method not in {"GET", "POST"}:
            return VendorResponse(status=405)
        try:
            received = read_legacy(request, self.max_body)
        except LegacyError as error:
            return error.as_response()
        before = self.applied.total
        for event in received.events:
            self._apply(event, received.api_key)
        # The documentation shows 1, and the server sends this (rust/capture/src/api.rs).
        return json_response(200, {"status": "Ok"}, applied=self.applied.total > before)

    def _respond_v1(self, request: ReceivedRequest) -> VendorResponse:
        if request.method != "POST":
            return VendorResponse(status=405)
        try:
            key = read_key(request.headers)
            events = read_batch(request, self.max_body)
        except PostHogHttpError as error:
            return error.as_response()

        before = self.applied.total
        results: JsonObject = {str(event.uuid): self._apply(event, key).as_json() for event in events}
        wants_retry = any(isinstance(result, dict) and result["result"] == "retry" for result in results.values())
        response = json_response(200, {"results": results}, applied=self.applied.total > before)
        return attrs.evolve(response, headers={**response.headers, "retry-after": "1"}) if wants_retry else response

    def _persons_view(self) -> JsonValue:
        return [
            {"distinct_id": person.distinct_id, "properties": dict(person.properties)}
            for person in self.persons.by_id.values()
        ]

    def _apply(self, event: Event, key: str) -> Verdict:
        """Store *event* if it is valid, and update its person if it is new."""
        verdict = judge(event)
        if verdict.result == "ok":
            verdict = self.faults.take(event.distinct_id) or verdict
        if verdict.result in {"drop", "retry"} or key != self.api_key or not self.persons.is_new(event.uuid):
            return verdict
        if verdict.updates_person and self.persons.update(event):
            self.applied.record(event.distinct_id, event.properties)
        return verdict
