"""A fake Mixpanel as an ASGI app."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import attrs

from replay_identity.emulator import Emulator
from replay_identity.emulator.http import JsonObject
from replay_identity.emulator.journal import WriteLog

from .engage import Engage, Refuses
from .profiles import Profiles


@attrs.define(kw_only=True, eq=False)
class MixpanelEmulator(Emulator):
    """A fake Mixpanel, its profile updates; see `Emulator` for what it shares.

    Attributes:
        api_key: The token of the one project that it has. Whatever is sent with another is answered alike, and lost.
        refuses: What one bad update spoils: the whole ``batch``, or its own ``record`` alone.
        invalid_ids: Ids that make an update a bad one, for reasons of Mixpanel's own.
    """

    api_key: str = attrs.field(default="emulator", repr=False)
    # Policy: the documents say of a 0 that none of the updates is valid, and of older endpoints that one is not.
    refuses: Refuses = "batch"
    invalid_ids: AbstractSet[str] = attrs.field(default=frozenset[str](), repr=False)
    _engage: Engage = attrs.field(init=False, repr=False)

    @property
    def profiles(self) -> Mapping[str, JsonObject]:
        """The properties of each profile by its id, as they stand now."""
        return {distinct_id: dict(properties) for distinct_id, properties in self._engage.profiles.known.items()}

    def make_api(self, applied: WriteLog) -> Engage:
        """Return Mixpanel's rules and state."""
        self._engage = Engage(
            api_key=self.api_key,
            refuses=self.refuses,
            invalid_ids=self.invalid_ids,
            profiles=Profiles(),
            applied=applied,
        )
        return self._engage
