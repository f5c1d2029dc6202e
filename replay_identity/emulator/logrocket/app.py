"""LogRocket as an ASGI app."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import attrs

from ..applied import Applied
from ..emulator import Emulator
from .api import Api
from .exclusion import Excluded
from .refusal import Envelope
from .users import LogRocketUser, Users

KEY_PARTS = 3


def _has_three_parts(_: object, __: object, key: str) -> None:
    parts = key.split(":", KEY_PARTS - 1)
    if len(parts) != KEY_PARTS or not all(parts):
        raise ValueError("api_key must read org:app:secret")


@attrs.define(kw_only=True, eq=False)
class LogRocketEmulator(Emulator):
    """A fake LogRocket, the User Identification API and the exclusion list; see `Emulator` for what it shares.

    Attributes:
        api_key: The key it knows; its organisation and app come from it.
        envelope: The JSON key that an error message stands under, or `text` for no JSON.
        accepts_empty: Whether `{}` is a body; otherwise it is a malformed request.
    """

    api_key: str = attrs.field(default="acme:shop:emulator", repr=False, validator=_has_three_parts)
    envelope: Envelope = "error"
    # Policy: every field is optional, so an object without any conforms.
    accepts_empty: bool = True
    _api: Api = attrs.field(init=False, repr=False)

    @property
    def users(self) -> Mapping[str, LogRocketUser]:
        """The users by the application's id, as they stand now."""
        return dict(self._api.users.known)

    @property
    def excluded(self) -> AbstractSet[Excluded]:
        """Everybody on the do-not-record list, as ("email" or "user_id", value), as it stands now."""
        return set(self._api.excluded)

    def make_vendor(self, applied: Applied) -> Api:
        """Return LogRocket's rules and state."""
        self._api = Api(
            api_key=self.api_key,
            users=Users(clock=self.clock),
            applied=applied,
            envelope=self.envelope,
            accepts_empty=self.accepts_empty,
        )
        return self._api
