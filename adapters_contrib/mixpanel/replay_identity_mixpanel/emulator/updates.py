"""Validate one profile update, and apply it (2026-11-21, https://docs.mixpanel.com/reference/profile-set)."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

import attrs
import orjson

from replay_identity.emulator.http import JsonObject, JsonValue

# "Limit each individual update in the request to a maximum of 1 MB" (user-profile-limits). Policy: 1,000,000 bytes.
MAX_UPDATE = 1_000_000
# https://github.com/mixpanel/docs at ba22906, data-type.mdx and user-profiles.mdx, read 2026-11-30: "longer names are
# truncated", and more than 2,000 properties "will fail". Policy: longer texts are cut as well, without an error, and an
# update with more properties, a larger value or a deeper one is invalid.
MAX_NAME = 255
MAX_TEXT = 255
MAX_VALUE = 256_000
MAX_PROPERTIES = 2000
MAX_KEYS = 255
MAX_OBJECT_DEPTH = 3
# Policy: lists are nested no deeper than this.
MAX_DEPTH = 100

# What PyPI mixpanel 5.4.1 and npm mixpanel 0.24 (lib/profile_helpers.js) add to an operation, read 2026-11-30.
ENVELOPE = {"$token", "$distinct_id", "$time", "$ip", "$ignore_time", "$ignore_alias", "$latitude", "$longitude"}
# Properties that applications set, as the documentation and the clients do ($transactions). Policy: the others that
# begin with $ are Mixpanel's own.
DISPLAYED = {"$name", "$email", "$first_name", "$last_name", "$phone", "$avatar", "$created", "$transactions"}


class InvalidUpdateError(Exception):
    """An update that fails validation."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@attrs.frozen(kw_only=True)
class Update:
    """One valid update of a profile; `content` is all of it except the token."""

    token: str = attrs.field(repr=False)
    distinct_id: str = attrs.field(repr=False)
    operation: str
    properties: JsonObject = attrs.field(repr=False)
    content: Mapping[str, JsonValue] = attrs.field(repr=False)

    @property
    def creates_profile(self) -> bool:
        """Return True if it creates a profile that does not exist."""
        # Policy: removing from a profile that does not exist does not create it.
        return bool(self.properties) and self.operation not in {"$unset", "$remove", "$delete"}

    @property
    def hides_location(self) -> bool:
        """Return True if it says itself where the user is, or nowhere."""
        return "$ip" in self.content or "$latitude" in self.content

    def applied_to(self, profile: JsonObject) -> JsonObject:
        """Return *profile* after this update."""
        changed = dict(profile)
        for name, value in self.properties.items():
            OPERATIONS[self.operation](changed, name, value)
        return changed


def read_update(value: JsonValue, invalid_ids: AbstractSet[str]) -> Update:
    """Return *value* as an update, or raise InvalidUpdateError."""
    if not isinstance(value, dict) or _size(value) > MAX_UPDATE:
        raise InvalidUpdateError("an update is a JSON object of at most 1 MB")
    # Policy: one operation per update, as in all examples, and no other names.
    operations = value.keys() - ENVELOPE
    if len(operations) != 1 or not operations <= OPERATIONS.keys():
        raise InvalidUpdateError("an update has one operation")

    token, distinct_id = value.get("$token"), value.get("$distinct_id")
    if not isinstance(token, str) or not token:
        raise InvalidUpdateError("'$token' is missing")
    if not isinstance(distinct_id, str) or not distinct_id or distinct_id in invalid_ids:
        # Vendors quote what they reject.
        raise InvalidUpdateError(f"'$distinct_id' is invalid: {distinct_id}")
    (operation,) = operations
    return Update(
        token=token,
        distinct_id=distinct_id,
        operation=operation,
        properties=_read_properties(operation, value[operation]),
        content={name: content for name, content in value.items() if name != "$token"},
    )


def _size(value: JsonValue) -> int:
    try:
        return len(orjson.dumps(value))
    except orjson.JSONEncodeError:
        raise InvalidUpdateError("an update is nested too deeply") from None


def _read_properties(operation: str, content: JsonValue) -> JsonObject:
    if operation == "$delete":
        return {}
    if operation == "$unset":
        # Policy: a text is the name of one property.
        names = content if isinstance(content, list) else [content]
        content = {name: None for name in names if isinstance(name, str)}
        if len(content) < len(names):
            raise InvalidUpdateError("'$unset' is invalid: not a list of different names")
    if not isinstance(content, dict) or len(content) > MAX_PROPERTIES:
        raise InvalidUpdateError(f"'{operation}' is invalid: an object of at most 2000 properties")
    return {_read_name(operation, name): _read_value(operation, name, value) for name, value in content.items()}


def _read_name(operation: str, name: str) -> str:
    # Policy: a property has a name.
    if not name or (name.startswith("$") and name not in DISPLAYED and operation != "$unset"):
        raise InvalidUpdateError(f"'{operation}.{name}' is invalid")
    return name[:MAX_NAME]


def _read_value(operation: str, name: str, value: JsonValue) -> JsonValue:
    is_large = isinstance(value, list | dict) and len(orjson.dumps(value)) > MAX_VALUE
    if is_large or (operation == "$add" and not _is_number(value)):
        raise InvalidUpdateError(f"'{operation}.{name}' is invalid")
    return _stored(value)


def _stored(
    value: JsonValue, depth: int = 0, objects: int = 0, *, is_item: bool = False, in_item: bool = False
) -> JsonValue:
    """Return *value* with its texts cut; raise InvalidUpdateError if it breaks another limit."""
    if isinstance(value, str):
        return value.encode()[:MAX_TEXT].decode(errors="ignore")
    if isinstance(value, list):
        if depth == MAX_DEPTH or in_item:
            raise InvalidUpdateError("a list is nested too deeply")
        return [_stored(item, depth + 1, objects, is_item=True) for item in value]
    if isinstance(value, dict):
        if objects == MAX_OBJECT_DEPTH or in_item or len(value) > MAX_KEYS:
            raise InvalidUpdateError("an object is nested too deeply, or has more than 255 keys")
        return {name: _stored(item, depth + 1, objects + 1, in_item=is_item) for name, item in value.items()}
    return value


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_list(value: JsonValue) -> list[JsonValue]:
    return [*value] if isinstance(value, list) else [] if value is None else [value]


def _set(profile: JsonObject, name: str, value: JsonValue) -> None:
    # "Overwriting existing values": an object as a whole.
    profile[name] = value


def _set_once(profile: JsonObject, name: str, value: JsonValue) -> None:
    profile.setdefault(name, value)


def _add(profile: JsonObject, name: str, value: JsonValue) -> None:
    number = profile.get(name)
    # Policy: what is not a number counts as 0.
    profile[name] = sum(each for each in (number, value) if isinstance(each, int | float))


def _append(profile: JsonObject, name: str, value: JsonValue) -> None:
    profile[name] = [*_as_list(profile.get(name)), value]


def _union(profile: JsonObject, name: str, value: JsonValue) -> None:
    values = _as_list(profile.get(name))
    profile[name] = [*values, *(item for item in _as_list(value) if item not in values)]


def _remove(profile: JsonObject, name: str, value: JsonValue) -> None:
    if name in profile:
        profile[name] = [item for item in _as_list(profile[name]) if item != value]


def _unset(profile: JsonObject, name: str, _value: JsonValue) -> None:
    profile.pop(name, None)


# What "User Profile: Operators" in user-profiles.mdx lists; $delete deletes the whole profile.
OPERATIONS: Mapping[str, Callable[[JsonObject, str, JsonValue], None]] = {
    "$set": _set,
    "$set_once": _set_once,
    "$add": _add,
    "$append": _append,
    "$union": _union,
    "$remove": _remove,
    "$unset": _unset,
    "$delete": _unset,
}
