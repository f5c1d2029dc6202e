"""Mixpanel passes the conformance suite."""

from collections.abc import Sequence

from replay_identity_mixpanel import Mixpanel
from replay_identity_mixpanel.emulator import MixpanelEmulator

from replay_identity.adapters import OnViolation, Request, Response
from replay_identity.testing import BackendConformance


class TestMixpanel(BackendConformance):
    """Mixpanel passes the conformance suite."""

    key = "canary-token-0123456789abcdef"

    def make_backend(self, *, base_url: str | None = None, on_violation: OnViolation = "reject") -> Mixpanel:
        """Return a backend with the key."""
        return Mixpanel(self.key, base_url=base_url, on_violation=on_violation)

    def other_accounts(self) -> Sequence[Mixpanel]:
        """Return a backend of another project."""
        return (Mixpanel("another-token"),)

    def accepted(self, request: Request) -> Response:  # noqa: ARG002  # The response is the same for every request.
        """Return a verbose success."""
        return Response(200, body=b'{"status": 1, "error": null}')

    def make_emulator(self) -> MixpanelEmulator:
        """Return an emulator whose project has the token."""
        return MixpanelEmulator(api_key=self.key)

    def stored_user(self, emulator: MixpanelEmulator, user_id: str) -> object:
        """Return the profile with that id."""
        return emulator.profiles.get(user_id)
