"""OpenPanel as an ASGI app."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import attrs

from replay_identity.emulator import Emulator
from replay_identity.emulator.http import JsonObject
from replay_identity.emulator.journal import WriteLog

from .api import Api
from .profiles import Profile, Profiles

# Policy: where the address of every request is.
STOCKHOLM: JsonObject = {
    "country": "SE",
    "city": "Stockholm",
    "region": "AB",
    "longitude": 18.07,
    "latitude": 59.33,
}


@attrs.define(kw_only=True, eq=False)
class OpenPanelEmulator(Emulator):
    """A fake OpenPanel with one project and one client; see `Emulator` for what it shares.

    Attributes:
        client_id: The client it knows.
        api_key: The client's secret.
        ignores_secret: Whether the client is set to "ignore CORS and secret"; then a bot's User-Agent counts.
        blocked_profiles: Ids that the project's filters keep out.
        geo: What is found out by the address of a request, whoever sends it; change it in place.
    """

    client_id: str = "3f2c9a10-1b7e-4c55-8a43-0d6f7b1e2a90"
    api_key: str = attrs.field(default="sec_emulator", repr=False)
    ignores_secret: bool = False
    blocked_profiles: AbstractSet[str] = attrs.field(factory=frozenset[str], repr=False)
    geo: JsonObject = attrs.field(factory=STOCKHOLM.copy, repr=False)
    _api: Api = attrs.field(init=False, repr=False)

    @property
    def profiles(self) -> Mapping[str, Profile]:
        """The profiles by id, as they stand now."""
        return dict(self._api.profiles.known)

    def make_api(self, applied: WriteLog) -> Api:
        """Return OpenPanel's rules and state."""
        self._api = Api(
            client_id=self.client_id,
            secret=self.api_key,
            ignores_secret=self.ignores_secret,
            blocked_profiles=self.blocked_profiles,
            geo=self.geo,
            clock=self.clock,
            profiles=Profiles(),
            applied=applied,
        )
        return self._api
