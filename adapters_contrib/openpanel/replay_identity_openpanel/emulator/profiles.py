"""The profiles of one project (packages/db/src/buffers/profile-buffer.ts, packages/common/src/object.ts)."""

import attrs

from replay_identity.emulator.http import JsonObject, JsonValue

from .payload import Identity

# Ignored if a server sends them about a profile that a browser made.
NOT_FROM_SERVERS = {
    *("city", "country", "region", "longitude", "latitude"),
    *("os", "osVersion", "os_version", "browser", "browser_version", "device", "isServer"),
}


@attrs.frozen(kw_only=True)
class Profile:
    """A stored profile; a field that was never sent is an empty text."""

    first_name: str = attrs.field(default="", repr=False)
    last_name: str = attrs.field(default="", repr=False)
    email: str = attrs.field(default="", repr=False)
    properties: JsonObject = attrs.field(factory=dict[str, JsonValue], repr=False)

    def as_json(self) -> JsonObject:
        """Return the profile with OpenPanel's own names."""
        return {
            "firstName": self.first_name,
            "lastName": self.last_name,
            "email": self.email,
            "properties": self.properties,
        }


@attrs.define
class Profiles:
    """Profiles by id."""

    by_id: dict[str, Profile] = attrs.field(init=False, factory=dict[str, Profile], repr=False)

    def merge(self, identity: Identity, derived: JsonObject) -> None:
        """Merge *identity*, and the properties *derived* from its request, into the profile.

        Policy: immediately, while OpenPanel uses a buffer.
        """
        properties = without_blanks({**identity.properties, **derived})
        profile = self.by_id.get(identity.profile_id)
        if profile is None:
            self.by_id[identity.profile_id] = Profile(
                first_name=identity.first_name,
                last_name=identity.last_name,
                email=identity.email,
                properties=properties,
            )
            return

        if properties.get("device") == "server" and profile.properties.get("device") != "server":
            properties = {name: value for name, value in properties.items() if name not in NOT_FROM_SERVERS}
        self.by_id[identity.profile_id] = Profile(
            first_name=identity.first_name or profile.first_name,
            last_name=identity.last_name or profile.last_name,
            email=identity.email or profile.email,
            properties=merged(profile.properties, properties),
        )


def without_blanks(properties: JsonObject) -> JsonObject:
    """Return *properties* without blank ones."""
    return {name: value for name, value in properties.items() if value not in (None, "", [], {})}


def merged(old: JsonObject, new: JsonObject) -> JsonObject:
    """Return *old* with *new* merged into it, object by object."""
    return {**old, **{name: _merged_value(old.get(name), value) for name, value in new.items()}}


def _merged_value(old: JsonValue, new: JsonValue) -> JsonValue:
    if isinstance(old, dict) and isinstance(new, dict):
        return merged(old, new)
    # An empty text does not replace a text, and null replaces nothing.
    if new is None or (new == "" and isinstance(old, str)):
        return old
    return new
