"""Umami as an ASGI app."""

from collections.abc import Mapping
from uuid import UUID

import attrs

from replay_identity.emulator import Emulator
from replay_identity.emulator.journal import WriteLog

from .api import Api
from .sessions import Session


def _as_uuid(website: str) -> str:
    return str(UUID(website))


@attrs.define(kw_only=True, eq=False)
class UmamiEmulator(Emulator):
    """A fake Umami with one website; see `Emulator` for what it shares.

    Attributes:
        api_key: The website's id.
        ignores_caller: Whether the caller's address stands in IGNORE_IP, so that every user is answered 403.
    """

    api_key: str = attrs.field(default="5f0ca11e-d1c7-4b1e-9c0d-e0a11ab1e000", converter=_as_uuid)
    ignores_caller: bool = False
    _api: Api = attrs.field(init=False, repr=False)

    @property
    def users(self) -> Mapping[str, Session]:
        """The sessions of users by the application's id, as they stand now."""
        return self._api.sessions.users()

    @property
    def sessions(self) -> Mapping[str, Session]:
        """All sessions by Umami's id, those of callers without an id among them, as they stand now."""
        return dict(self._api.sessions.known)

    def make_api(self, applied: WriteLog) -> Api:
        """Return Umami's rules and state."""
        self._api = Api(website=self.api_key, ignores_caller=self.ignores_caller, applied=applied)
        return self._api
