"""From a request to what became of each of its events."""

from collections.abc import Mapping

import attrs

from replay_identity.emulator.http import JsonObject, JsonValue, ReceivedRequest, VendorResponse, json_response
from replay_identity.emulator.journal import WriteLog
from replay_identity.emulator.vendor import Delay, View

from .batch import Event, read_batch
from .errors import RefusalError, failure
from .event_faults import EventFaults
from .persons import Persons
from .request_headers import read_key
from .verdict import Verdict, judge

PATHS = {"/i/v1/analytics/events", "/i/v1/analytics/events/"}


@attrs.define(kw_only=True)
class Api:
    """PostHog's rules and state, without any HTTP."""

    api_key: str = attrs.field(repr=False)
    persons: Persons
    applied: WriteLog
    faults: EventFaults

    async def respond(self, request: ReceivedRequest, delay: Delay) -> VendorResponse:
        """Act on the request after *delay*, and answer it."""
        await delay()
        if request.path not in PATHS:
            return VendorResponse(status=404)
        if request.method != "POST":
            return VendorResponse(status=405)
        try:
            key = read_key(request.headers)
            events = read_batch(request.body)
        except RefusalError as refusal:
            return refusal.as_answer()

        before = self.applied.total
        results: JsonObject = {str(event.uuid): self._take(event, key).as_json() for event in events}
        asks_again = any(isinstance(result, dict) and result["result"] == "retry" for result in results.values())
        answer = json_response(200, {"results": results}, applied=self.applied.total > before)
        return attrs.evolve(answer, headers={**answer.headers, "retry-after": "1"}) if asks_again else answer

    def error_response(self, status: int) -> VendorResponse:
        """Return PostHog's own words for an error status."""
        return failure(status)

    def on_injected_failure(self, request: ReceivedRequest, response: VendorResponse) -> None:
        """Do nothing: PostHog remembers no answers."""

    def debug_views(self) -> Mapping[str, View]:
        """Return what there is to look at, by name."""
        return {"persons": self._everybody, "applied": self.applied.as_json}

    def clear(self) -> None:
        """Forget persons, events, counts and what was to go wrong with events."""
        self.persons.clear()
        self.applied.clear()
        self.faults.clear()

    def _everybody(self) -> JsonValue:
        return [
            {"distinct_id": person.distinct_id, "properties": dict(person.properties)}
            for person in self.persons.known.values()
        ]

    def _take(self, event: Event, key: str) -> Verdict:
        """Keep *event* if it is good, and change its person if it is a new one."""
        verdict = judge(event)
        if verdict.result == "ok":
            verdict = self.faults.take(event.distinct_id) or verdict
        if verdict.result in {"drop", "retry"} or key != self.api_key or not self.persons.keep(event.uuid):
            return verdict
        if verdict.reaches_the_person and self.persons.update(event):
            self.applied.record(event.distinct_id, event.properties)
        return verdict
