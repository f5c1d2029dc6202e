"""Validate one profile update (2026-11-21, https://docs.mixpanel.com/reference/profile-set)."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import attrs
import orjson

from replay_identity.emulator.http import JsonObject, JsonValue

# "Limit each individual update in the request to a maximum of 1 MB" (user-profile-limits). Policy: 1,000,000 bytes.
MAX_UPDATE = 1_000_000
# 2026-11-21, https://community.mixpanel.com: a name has 255 characters, a list or an object 256 KB, a profile 2,000
# properties. Policy: an update that breaks one of these is invalid.
MAX_NAME = 255
MAX_VALUE = 256_000
MAX_PROPERTIES = 2000

ENVELOPE = {"$token", "$distinct_id"}
# Policy: $set_once, $add and the other operations are not supported here.
OPERATIONS = {"$set", "$unset"}
# Properties that the documentation shows applications set. Policy: the others that begin with $ are Mixpanel's own.
DISPLAYED = {"$name", "$email", "$first_name", "$last_name", "$phone", "$avatar"}


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
    properties: JsonObject = attrs.field(repr=False)
    removed: tuple[str, ...] = attrs.field(repr=False)
    content: Mapping[str, JsonValue] = attrs.field(repr=False)


def read_update(value: JsonValue, invalid_ids: AbstractSet[str]) -> Update:
    """Return *value* as an update, or raise InvalidUpdateError."""
    if not isinstance(value, dict) or len(orjson.dumps(value)) > MAX_UPDATE:
        raise InvalidUpdateError("an update is a JSON object of at most 1 MB")
    # Policy: one operation per update, as in all examples, and no other names.
    operations = value.keys() - ENVELOPE
    if len(operations) != 1 or not operations <= OPERATIONS:
        raise InvalidUpdateError("an update has one operation")

    token, distinct_id = value.get("$token"), value.get("$distinct_id")
    if not isinstance(token, str) or not token:
        raise InvalidUpdateError("'$token' is missing")
    if not isinstance(distinct_id, str) or not distinct_id or distinct_id in invalid_ids:
        # Vendors quote what they reject.
        raise InvalidUpdateError(f"'$distinct_id' is invalid: {distinct_id}")
    return Update(
        token=token,
        distinct_id=distinct_id,
        properties=_read_properties(value.get("$set", {})),
        removed=_read_names(value.get("$unset", [])),
        content={name: content for name, content in value.items() if name != "$token"},
    )


def _read_properties(properties: JsonValue) -> JsonObject:
    if not isinstance(properties, dict) or len(properties) > MAX_PROPERTIES:
        raise InvalidUpdateError("'$set' is invalid: an object of at most 2000 properties")
    for name, value in properties.items():
        _check_name(name, "$set")
        is_large = isinstance(value, list | dict) and len(orjson.dumps(value)) > MAX_VALUE
        if is_large or (name.startswith("$") and name not in DISPLAYED):
            raise InvalidUpdateError(f"'$set.{name}' is invalid")
    return properties


def _read_names(names: JsonValue) -> tuple[str, ...]:
    if not isinstance(names, list):
        raise InvalidUpdateError("'$unset' is invalid: not a list")
    texts = tuple(name for name in names if isinstance(name, str))
    if len(texts) < len(names):
        raise InvalidUpdateError("'$unset' is invalid: not a list of names")
    for name in texts:
        _check_name(name, "$unset")
    return texts


def _check_name(name: str, operation: str) -> None:
    # Policy: a property has a name.
    if not 0 < len(name) <= MAX_NAME:
        raise InvalidUpdateError(f"'{operation}' is invalid: a name has 1 to 255 characters")
