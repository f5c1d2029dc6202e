"""The profiles of one Mixpanel project."""

from collections.abc import Mapping

import attrs

from replay_identity.emulator.http import JsonObject, JsonValue

from .updates import Update

# Where Mixpanel would place whoever sent the request: Policy, since nobody knows the way from here.
HOME: Mapping[str, JsonValue] = {"$city": "Ashburn", "$region": "Virginia", "$country_code": "US"}


@attrs.define
class Profiles:
    """Properties by the id of their profile."""

    known: dict[str, JsonObject] = attrs.field(init=False, factory=dict[str, JsonObject], repr=False)

    def apply(self, update: Update, place: Mapping[str, JsonValue]) -> None:
        """Overwrite and remove what *update* says, and put the profile at *place*."""
        # Policy: to remove from a profile that is not there makes none.
        if update.distinct_id not in self.known and not update.properties:
            return
        profile = self.known.setdefault(update.distinct_id, {})
        # "Sets the properties to these values, overwriting existing values": an object as a whole.
        profile.update({**update.properties, **place})
        for name in update.removed:
            profile.pop(name, None)
