"""PostHog passes the conformance suite."""

from collections.abc import Sequence
from typing import Any

import attrs
import orjson
from replay_identity_posthog import PostHog
from replay_identity_posthog.emulator import PostHogEmulator
from replay_identity_posthog.events import Capture

from replay_identity.adapters import OnViolation, Request, Response, UserTraits
from replay_identity.testing import BackendConformance

DRAWN = {"posthog-request-id", "posthog-request-timestamp"}


class TestPostHog(BackendConformance):
    """PostHog passes the conformance suite, by default with version 0."""

    key = "phc_secret"
    capture: Capture = "v0"

    def make_backend(self, *, base_url: str | None = None, on_violation: OnViolation = "reject") -> PostHog:
        """Return a backend with the key."""
        return PostHog(self.key, base_url=base_url, on_violation=on_violation, capture=self.capture)

    def other_accounts(self) -> Sequence[PostHog]:
        """Return a backend of another project."""
        return (PostHog("phc_other", capture=self.capture),)

    def accepted(self, request: Request) -> Response:
        """Return ok, in version 1 for each event."""
        if self.capture == "v0":
            return Response(200, body=b'{"status": 1}')
        events = orjson.loads(request.body or b"")["batch"]
        return Response(200, body=orjson.dumps({"results": {event["uuid"]: {"result": "ok"} for event in events}}))

    def make_emulator(self) -> PostHogEmulator:
        """Return an emulator that knows the key."""
        return PostHogEmulator(api_key=self.key)

    def stored_user(self, emulator: Any, user_id: str) -> object:
        """Return the person's properties."""
        person = emulator.persons.get(user_id)
        return None if person is None else dict(person.properties)

    def normalize(self, request: Request) -> Request:
        """Remove the ids and the times of sending."""
        body = orjson.loads(request.body or b"")
        body["sent_at" if self.capture == "v0" else "created_at"] = "drawn"
        for event in body["batch"]:
            event["uuid"] = "drawn"
            # Without observed_at, this is the time of sending.
            event["timestamp"] = "drawn"
        headers = {name: "drawn" if name in DRAWN else value for name, value in request.headers.items()}
        return attrs.evolve(request, headers=headers, body=orjson.dumps(body))

    def satisfies_other_rules(self, user: UserTraits) -> bool:
        """Return False for ids with blanks around them."""
        return user.user_id is None or user.user_id == user.user_id.strip()


class TestPostHogV1(TestPostHog):
    """PostHog passes the conformance suite with version 1."""

    capture: Capture = "v1"
