from collections.abc import Sequence
from typing import Any, ClassVar

from replay_identity_openpanel import OpenPanel
from replay_identity_openpanel.emulator import OpenPanelEmulator, Profile

from replay_identity.adapters import OnViolation, Request, Response
from replay_identity.testing import BackendConformance, RequestContent

CLIENT_ID = "3f2c9a10-1b7e-4c55-8a43-0d6f7b1e2a90"


class TestOpenPanel(BackendConformance):
    """OpenPanel passes the conformance suite."""

    key: ClassVar[str] = "sec_hidden"

    def make_backend(self, *, base_url: str | None = None, on_violation: OnViolation = "reject") -> OpenPanel:
        """Return a backend of one client."""
        return OpenPanel(self.key, client_id=CLIENT_ID, base_url=base_url, on_violation=on_violation)

    def other_accounts(self) -> Sequence[OpenPanel]:
        """Return a backend of another client."""
        return (OpenPanel(self.key, client_id="4f2c9a10-1b7e-4c55-8a43-0d6f7b1e2a90"),)

    def accepted(self, request: Request) -> Response:  # noqa: ARG002  # The response is the same for every request.
        """Return OpenPanel's success."""
        return Response(200, body=b'{"deviceId":"d1","sessionId":"s1"}')

    def make_emulator(self) -> OpenPanelEmulator:
        """Return an OpenPanel that knows the client."""
        return OpenPanelEmulator(api_key=self.key, client_id=CLIENT_ID)

    def stored_user(self, emulator: OpenPanelEmulator, user_id: str) -> Profile | None:
        """Return the profile with that id."""
        return emulator.profiles.get(user_id)

    def request_contains(self, path: str, value: Any, content: RequestContent) -> bool:
        """Return True if *content* has the value, or both parts of a name."""
        first, _, last = value.rpartition(" ") if path == "name" else ("", "", "")
        return content.contains(value) or (bool(first and last) and content.contains(first) and content.contains(last))
