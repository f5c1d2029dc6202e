"""The built-in adapters pass the suite that is there for everybody's."""

import json

import orjson

from replay_identity import Fullstory, LogRocket
from replay_identity.emulator import FullstoryEmulator, Level, LogRocketEmulator
from replay_identity.exchange import Reply, Request
from replay_identity.fitting import OnViolation
from replay_identity.testing import BackendConformance


class TestLogRocket(BackendConformance):
    """LogRocket passes."""

    key = "acme:shop:canary-key"

    def make_backend(self, *, base_url: str | None = None, on_violation: OnViolation = "reject") -> LogRocket:
        """Return the backend."""
        return LogRocket(self.key, base_url=base_url, on_violation=on_violation)

    def accepted(self, request: Request) -> Reply:
        """Return the user as sent."""
        user_id = request.url.rpartition("/")[2]
        return Reply(200, body=json.dumps({"userID": user_id, "traits": {}}).encode())

    def make_emulator(self) -> LogRocketEmulator:
        """Return one that knows the key."""
        return LogRocketEmulator(api_key=self.key)

    def held(self, emulator: LogRocketEmulator, user_id: str) -> object:
        """Return the user."""
        user = emulator.users.get(user_id)
        return None if user is None else user.as_json()


class TestFullstory(BackendConformance):
    """Fullstory passes."""

    key = "na1.canary-key"

    def make_backend(self, *, base_url: str | None = None, on_violation: OnViolation = "reject") -> Fullstory:
        """Return the backend."""
        return Fullstory(self.key, base_url=base_url, on_violation=on_violation)

    def accepted(self, request: Request) -> Reply:
        """Return the user as sent."""
        sent = orjson.loads(request.body or b"{}")
        return Reply(200, body=orjson.dumps({"id": "1", **sent}))

    def make_emulator(self) -> FullstoryEmulator:
        """Return one that knows the key."""
        return FullstoryEmulator(api_keys={self.key: Level.ADMIN})

    def held(self, emulator: FullstoryEmulator, user_id: str) -> object:
        """Return the user."""
        user = emulator.by_uid(user_id)
        return None if user is None else (user.uid, user.display_name, user.email, dict(user.properties))
