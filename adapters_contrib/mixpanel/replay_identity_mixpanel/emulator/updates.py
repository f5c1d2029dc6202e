"""One update of a profile, and what makes it a bad one (2026-11-21, https://docs.mixpanel.com/reference/profile-set)."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import attrs
import orjson

from replay_identity.emulator.http import JsonObject, JsonValue

# "Limit each individual update in the request to a maximum of 1 MB" (user-profile-limits). Policy: 1,000,000 bytes.
MAX_UPDATE = 1_000_000
# 2026-11-21, https://community.mixpanel.com: a name has 255 characters, a list or an object 256 KB, a profile 2,000
# properties. Policy: whatever breaks one of these makes a bad update.
MAX_NAME = 255
MAX_VALUE = 256_000
MOST_PROPERTIES = 2000

ENVELOPE = {"$token", "$distinct_id"}
# Policy: $set_once, $add and the other operations are not known here.
OPERATIONS = {"$set", "$unset"}
# Properties that the documents show an application set. Policy: the others that begin with $ are Mixpanel's own.
DISPLAYED = {"$name", "$email", "$first_name", "$last_name", "$phone", "$avatar"}


class InvalidError(Exception):
    """An update that fails validation."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@attrs.frozen(kw_only=True)
class Update:
    """What one update says of a profile; `said` is the whole of it but for the token."""

    token: str = attrs.field(repr=False)
    distinct_id: str = attrs.field(repr=False)
    properties: JsonObject = attrs.field(repr=False)
    removed: tuple[str, ...] = attrs.field(repr=False)
    said: Mapping[str, JsonValue] = attrs.field(repr=False)


def read_update(value: JsonValue, invalid_ids: AbstractSet[str]) -> Update:
    """Return the update that *value* is, or refuse it."""
    if not isinstance(value, dict) or len(orjson.dumps(value)) > MAX_UPDATE:
        raise InvalidError("an update is a JSON object of at most 1 MB")
    # Policy: one operation an update, as in all examples, and nothing beside it.
    operations = value.keys() - ENVELOPE
    if len(operations) != 1 or not operations <= OPERATIONS:
        raise InvalidError("an update has one operation")

    token, distinct_id = value.get("$token"), value.get("$distinct_id")
    if not isinstance(token, str) or not token:
        raise InvalidError("'$token' is missing")
    if not isinstance(distinct_id, str) or not distinct_id or distinct_id in invalid_ids:
        # Vendors quote what they refuse.
        raise InvalidError(f"'$distinct_id' is invalid: {distinct_id}")
    return Update(
        token=token,
        distinct_id=distinct_id,
        properties=_read_properties(value.get("$set", {})),
        removed=_read_names(value.get("$unset", [])),
        said={name: said for name, said in value.items() if name != "$token"},
    )


def _read_properties(properties: JsonValue) -> JsonObject:
    if not isinstance(properties, dict) or len(properties) > MOST_PROPERTIES:
        raise InvalidError("'$set' is invalid: an object of at most 2000 properties")
    for name, value in properties.items():
        _require_name(name, "$set")
        is_large = isinstance(value, list | dict) and len(orjson.dumps(value)) > MAX_VALUE
        if is_large or (name.startswith("$") and name not in DISPLAYED):
            raise InvalidError(f"'$set.{name}' is invalid")
    return properties


def _read_names(names: JsonValue) -> tuple[str, ...]:
    if not isinstance(names, list):
        raise InvalidError("'$unset' is invalid: not a list")
    texts = tuple(name for name in names if isinstance(name, str))
    if len(texts) < len(names):
        raise InvalidError("'$unset' is invalid: not all of it are names")
    for name in texts:
        _require_name(name, "$unset")
    return texts


def _require_name(name: str, operation: str) -> None:
    # Policy: a property has a name.
    if not 0 < len(name) <= MAX_NAME:
        raise InvalidError(f"'{operation}' is invalid: a name has 1 to 255 characters")
