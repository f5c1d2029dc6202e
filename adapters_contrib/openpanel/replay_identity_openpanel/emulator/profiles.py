"""The profiles of one project (packages/db/src/buffers/profile-buffer.ts, packages/common/src/object.ts)."""

import attrs

from replay_identity.emulator.http import JsonObject, JsonValue

from .payload import Identity

# Left out of what a server says of a profile that no server made.
NOT_FROM_SERVERS = {
    *("city", "country", "region", "longitude", "latitude"),
    *("os", "osVersion", "os_version", "browser", "browser_version", "device", "isServer"),
}


@attrs.frozen(kw_only=True)
class Profile:
    """A profile as stored; an empty text is what nobody said."""

    first_name: str = attrs.field(default="", repr=False)
    last_name: str = attrs.field(default="", repr=False)
    email: str = attrs.field(default="", repr=False)
    properties: JsonObject = attrs.field(factory=dict[str, JsonValue], repr=False)

    def as_json(self) -> JsonObject:
        """Return the profile under OpenPanel's own names."""
        return {
            "firstName": self.first_name,
            "lastName": self.last_name,
            "email": self.email,
            "properties": self.properties,
        }


@attrs.define
class Profiles:
    """Profiles by id."""

    known: dict[str, Profile] = attrs.field(init=False, factory=dict[str, Profile], repr=False)

    def put(self, identity: Identity, found_out: JsonObject) -> None:
        """Merge what an `identify` says, and what was *found out* by its request, into the profile.

        Policy: at once, where OpenPanel keeps a buffer.
        """
        said = strip({**identity.properties, **found_out})
        profile = self.known.get(identity.profile_id)
        if profile is None:
            self.known[identity.profile_id] = Profile(
                first_name=identity.first_name,
                last_name=identity.last_name,
                email=identity.email,
                properties=said,
            )
            return

        if said.get("device") == "server" and profile.properties.get("device") != "server":
            said = {name: value for name, value in said.items() if name not in NOT_FROM_SERVERS}
        self.known[identity.profile_id] = Profile(
            first_name=identity.first_name or profile.first_name,
            last_name=identity.last_name or profile.last_name,
            email=identity.email or profile.email,
            properties=merged(profile.properties, said),
        )


def strip(properties: JsonObject) -> JsonObject:
    """Return *properties* without those that are blank."""
    return {name: value for name, value in properties.items() if value not in (None, "", [], {})}


def merged(old: JsonObject, new: JsonObject) -> JsonObject:
    """Return *old* with *new* merged into it, object by object."""
    return {**old, **{name: _merged_value(old.get(name), value) for name, value in new.items()}}


def _merged_value(old: JsonValue, new: JsonValue) -> JsonValue:
    if isinstance(old, dict) and isinstance(new, dict):
        return merged(old, new)
    # A blank does not take the place of a text, nor null that of anything.
    if new is None or (new == "" and isinstance(old, str)):
        return old
    return new
