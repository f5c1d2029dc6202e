"""PostHog as an ASGI app."""

from collections.abc import Mapping

import attrs

from replay_identity.emulator import Emulator
from replay_identity.emulator.journal import WriteLog

from .api import Api
from .event_faults import EventFaults
from .persons import Person, Persons


@attrs.define(kw_only=True, eq=False)
class PostHogEmulator(Emulator):
    """A fake PostHog, capture version 1; see `Emulator` for what it shares.

    Attributes:
        api_key: The project's key. Any other that looks like one is answered the same, and nothing comes of it.
        max_body: Bytes of a request body, over which 413 is answered.
        event_faults: What is to go wrong with single events.
    """

    api_key: str = attrs.field(default="phc_emulator", repr=False)
    max_body: int = 20 * 1024 * 1024
    event_faults: EventFaults = attrs.field(init=False, factory=EventFaults)
    _persons: Persons = attrs.field(init=False, factory=Persons, repr=False)

    @property
    def persons(self) -> Mapping[str, Person]:
        """The persons by distinct id, as they stand now."""
        return dict(self._persons.known)

    def make_api(self, applied: WriteLog) -> Api:
        """Return PostHog's rules and state."""
        return Api(api_key=self.api_key, persons=self._persons, applied=applied, faults=self.event_faults)
