"""Users as the ledger keeps them until they are delivered: JSON, with a tag on each value that JSON has no type for."""

from collections.abc import Callable, Container, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

import orjson

from ..model import UserTraits, unchecked
from ..values import REMOVE, Removal, is_list, is_nested

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# orjson takes integers from here to there; a text, a boolean and a float come back as they went.
_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**64 - 1
_PLAIN: Final = frozenset[type[object]]({str, bool, int, float})

_SORTED: Final = orjson.OPT_SORT_KEYS

# A tagged value is an object of these two; a mapping is tagged too, so that none can be mistaken for one.
_TAG: Final = "$"
_VALUE: Final = "="


def encode(user: UserTraits) -> bytes:
    """Return *user* as bytes."""
    traits = user.traits
    unusual = [name for name, value in traits.items() if type(value) not in _PLAIN]
    odd = [name for name in unusual if not _is_plain(traits[name])]
    try:
        return _encode(user, unusual, odd)
    except TypeError:  # An integer of more than 64 bits.
        odd = [name for name, value in traits.items() if not (_is_plain(value) and _is_small(value))]
        return _encode(user, [name for name in traits if name in unusual or name in odd], odd)


def _encode(user: UserTraits, unusual: Sequence[str], odd: Sequence[str]) -> bytes:
    """Return *user* as bytes, with the traits tagged whose names are *odd*."""
    content: dict[str, Any] = {"user_id": user.user_id}
    if user.name is not None:
        content["name"] = user.name
    if user.email is not None:
        content["email"] = user.email
    content["traits"] = user.traits
    if odd:
        content["traits"] = {**user.traits, **{name: _tagged(user.traits[name]) for name in odd}}
        content["tagged"] = odd
    if len(unusual) > len(odd):
        content["nested"] = [name for name in unusual if name not in odd]
    if user.types:
        content["types"] = user.types
    if user.observed_at is not None:
        content["observed_at"] = to_microseconds(user.observed_at)
    if user.vendor_ids:
        content["vendor_ids"] = user.vendor_ids
    # A copy, since what orjson returns takes up 4 KiB however short it is.
    return memoryview(orjson.dumps(content)).tobytes()


def decode(encoded: bytes) -> UserTraits:
    """Return the user that `encode` was given."""
    content: dict[str, Any] = orjson.loads(encoded)
    get = content.get
    traits: dict[str, Any] = content["traits"]
    for name in get("tagged", ()):
        traits[name] = _untagged(traits[name])
    for name in get("nested", ()):
        traits[name] = _with_tuples(traits[name])
    moment = get("observed_at")
    return unchecked(
        content["user_id"],
        get("name"),
        get("email"),
        traits,
        get("types"),
        None if moment is None else from_microseconds(moment),
        get("vendor_ids"),
    )


def encoded_fields(encoded: bytes) -> dict[str, bytes]:
    """Return the name, the e-mail address and each trait of an encoded user, as bytes that change when they do.

    A nested trait is one field, since no vendor says how it merges one with what it has.
    """
    content: dict[str, Any] = orjson.loads(encoded)
    # As `canonical` says it, but for the call.
    fields = {f"traits.{name}": orjson.dumps(value, None, _SORTED) for name, value in content["traits"].items()}
    for own in ("name", "email"):
        if own in content:
            fields[own] = canonical(content[own])
    for name in content.get("tagged", ()):
        fields[f"traits.{name}"] += b" tagged"
    for path, declared in sorted(content.get("types", {}).items()):
        field = typed_field(path, content["traits"])
        if field in fields:
            fields[field] += f" {path}:{declared}".encode()
    return fields


def typed_field(path: str, traits: Container[str]) -> str:
    """Return the field whose type, or the type of a part of which, stands under *path*."""
    return f"traits.{path if path in traits else path.partition('.')[0]}"


def to_microseconds(moment: datetime) -> int:
    """Return *moment* as whole microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Return the moment that `to_microseconds` was given."""
    return _EPOCH + timedelta(microseconds=microseconds)


def canonical(value: object) -> bytes:
    """Return *value* as JSON, the same for the same value."""
    return orjson.dumps(value, None, _SORTED)


def _is_plain(value: object) -> bool:
    """Tell whether JSON has a type for *value*, if its integers are small."""
    if is_list(value):
        return _PLAIN.issuperset(map(type, value)) or all(map(_is_plain, value))
    if is_nested(value):
        return _PLAIN.issuperset(map(type, value.values())) or all(map(_is_plain, value.values()))
    return type(value) in _PLAIN


def _is_small(value: object) -> bool:
    """Tell whether orjson takes the integers of *value*."""
    if is_list(value):
        return all(map(_is_small, value))
    if is_nested(value):
        return all(map(_is_small, value.values()))
    return type(value) is not int or _SMALLEST <= value <= _LARGEST


def _with_tuples(value: object) -> object:
    if isinstance(value, list):
        items = cast("list[object]", value)
        return tuple(items) if _PLAIN.issuperset(map(type, items)) else tuple(map(_with_tuples, items))
    if isinstance(value, dict):
        nested = cast("dict[str, object]", value)
        if _PLAIN.issuperset(map(type, nested.values())):
            return nested
        return {name: _with_tuples(item) for name, item in nested.items()}
    return value


def _tagged(value: object) -> object:
    if is_nested(value):
        return {_TAG: "map", _VALUE: {name: _tagged(item) for name, item in value.items()}}
    if is_list(value):
        return [_tagged(item) for item in value]
    if type(value) in _PLAIN and _is_small(value):
        return value
    return {_TAG: _TAG_OF[type(value)], _VALUE: value.isoformat() if isinstance(value, date) else str(value)}


def _untagged(value: object) -> object:
    if isinstance(value, list):
        return tuple([_untagged(item) for item in cast("list[object]", value)])
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
