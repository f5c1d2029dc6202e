"""Users as the ledger keeps them until they are delivered: JSON, with a tag on each value that JSON has no type for."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

import orjson

from ..model import UserTraits
from ..values import REMOVE, Removal, is_list, is_nested

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# orjson takes integers from here to there; and a text, a boolean and a float come back as they went.
_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**64 - 1
_PLAIN: Final = frozenset[type[object]]({str, bool, float})

# A tagged value is an object of these two; a mapping is tagged too, so that none can be mistaken for one.
_TAG: Final = "$"
_VALUE: Final = "="


def encode(user: UserTraits) -> bytes:
    """Return *user* as bytes, the same for the same user."""
    content: dict[str, Any] = {"user_id": user.user_id}
    if user.name is not None:
        content["name"] = user.name
    if user.email is not None:
        content["email"] = user.email
    if _is_plain(user.traits):
        content["traits"] = user.traits
    else:
        content["tagged"] = {name: _tagged(value) for name, value in user.traits.items()}
    if user.types:
        content["types"] = user.types
    if user.observed_at is not None:
        content["observed_at"] = to_microseconds(user.observed_at)
    if user.vendor_ids:
        content["vendor_ids"] = user.vendor_ids
    return orjson.dumps(content)


def decode(encoded: bytes) -> UserTraits:
    """Return the user that `encode` was given."""
    content: dict[str, Any] = orjson.loads(encoded)
    if "tagged" in content:
        content["traits"] = {name: _untagged(value) for name, value in content.pop("tagged").items()}
    if "observed_at" in content:
        content["observed_at"] = from_microseconds(content["observed_at"])
    return UserTraits(**content)


def encoded_fields(encoded: bytes) -> dict[str, bytes]:
    """Return the name, the e-mail address and each trait of an encoded user, as bytes that change when they do.

    A nested trait is one field, since no vendor says how it merges one with what it has.
    """
    content: dict[str, Any] = orjson.loads(encoded)
    fields: dict[str, bytes] = {name: orjson.dumps(content[name]) for name in ("name", "email") if name in content}
    for name, value in content.get("traits", content.get("tagged", {})).items():
        fields[f"traits.{name}"] = orjson.dumps(value)
    for path, declared in content.get("types", {}).items():
        field = f"traits.{path}" if f"traits.{path}" in fields else f"traits.{path.partition('.')[0]}"
        if field in fields:
            fields[field] += f" {path}:{declared}".encode()
    return fields


def to_microseconds(moment: datetime) -> int:
    """Return *moment* as whole microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Return the moment that `to_microseconds` was given."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _is_plain(traits: Mapping[str, Any]) -> bool:
    """Tell whether JSON has a type for each of the *traits*."""
    return all(type(value) in _PLAIN or _is_plain_value(value) for value in traits.values())


def _is_plain_value(value: object) -> bool:
    if type(value) is int:
        return _SMALLEST <= value <= _LARGEST
    if is_nested(value):
        return _is_plain(value)
    if is_list(value):
        return all(type(item) in _PLAIN or _is_plain_value(item) for item in value)
    return type(value) in _PLAIN


def _tagged(value: object) -> object:
    if is_nested(value):
        return {_TAG: "map", _VALUE: {name: _tagged(item) for name, item in value.items()}}
    if is_list(value):
        return [_tagged(item) for item in value]
    if _is_plain_value(value):
        return value
    return {_TAG: _TAG_OF[type(value)], _VALUE: value.isoformat() if isinstance(value, date) else str(value)}


def _untagged(value: object) -> object:
    if isinstance(value, list):
        return [_untagged(item) for item in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    tagged = cast("dict[str, Any]", value)
    if tagged[_TAG] == "map":
        return {name: _untagged(item) for name, item in tagged[_VALUE].items()}
    return _READ[tagged[_TAG]](tagged[_VALUE])


_TAG_OF: Final[Mapping[type[object], str]] = {
    int: "int",
    datetime: "datetime",
    date: "date",
    Decimal: "decimal",
    UUID: "uuid",
    Removal: "remove",
}
_READ: Final[Mapping[str, Callable[[str], object]]] = {
    "int": int,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "decimal": Decimal,
    "uuid": UUID,
    "remove": lambda _: REMOVE,
}
