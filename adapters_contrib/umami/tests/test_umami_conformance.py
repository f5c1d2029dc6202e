"""Umami passes the conformance suite."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import orjson
from replay_identity_umami import Umami
from replay_identity_umami.emulator import UmamiEmulator

from replay_identity.adapters import OnViolation, Request, Response
from replay_identity.testing import BackendConformance

WEBSITE = "0c0ffee0-ca9a-4b1e-9e57-5ec4e7c0de00"


class TestUmami(BackendConformance):
    """Umami passes the conformance suite."""

    key = WEBSITE
    not_applicable: ClassVar[Mapping[str, str]] = {
        "test_account_and_encoding_hide_the_key": "the website's id is the account, and every visitor can see it",
    }

    def make_backend(self, *, base_url: str | None = None, on_violation: OnViolation = "reject") -> Umami:
        """Return a backend of the website."""
        return Umami(WEBSITE, base_url=base_url or "https://umami.example.com", on_violation=on_violation)

    def other_accounts(self) -> Sequence[Umami]:
        """Return a backend of another website."""
        return (Umami("1c0ffee0-ca9a-4b1e-9e57-5ec4e7c0de00", base_url="https://umami.example.com"),)

    def accepted(self, request: Request) -> Response:
        """Return a session, or the counts of a batch, like Umami."""
        sent = orjson.loads(request.body or b"")
        if request.url.endswith("/batch"):
            size = len(sent)
            counts: dict[str, object] = {
                "size": size,
                "processed": size,
                "errors": 0,
                "details": [],
                "cache": "ey.a.token",
            }
            return Response(200, body=orjson.dumps(counts))
        session = {"cache": "ey.a.token", "sessionId": "f0e1", "visitId": "a9b8"}
        return Response(200, body=orjson.dumps(session))

    def make_emulator(self) -> UmamiEmulator:
        """Return a fake Umami with the website."""
        return UmamiEmulator(api_key=WEBSITE)

    def stored_user(self, emulator: UmamiEmulator, user_id: str) -> object:
        """Return the user's properties."""
        session = emulator.users.get(user_id)
        return None if session is None else session.as_json()
