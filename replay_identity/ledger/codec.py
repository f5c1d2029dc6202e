"""Users as the ledger keeps them until they are delivered: JSON, with a tag on each value that JSON has no type for."""

from collections.abc import Callable, Container, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from itertools import chain
from typing import Any, Final, cast
from uuid import UUID

import attrs
import orjson

from .._values import REMOVE, Removal, is_list, is_nested
from ..traits import UserTraits, new_unchecked

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
    return new_unchecked(
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


KEY_BYTES: Final = 32
# Ids and whole users are told apart by the million; one field only from its own older values.
_LONG: Final = 16
_SHORT: Final = 8
# Rows repeat the names of their fields and many of their values, so the digests of these are kept at hand.
_MOST_NAMES: Final = 1024
_MOST_REMEMBERED: Final = 256
_MAX_CACHED_LEN: Final = 32


@attrs.define
class _FieldHasher:
    """A field's name: its digest, and what its values are hashed with."""

    digest: bytes
    hasher: blake2b = attrs.field(repr=False)
    cached_adjustment: dict[bytes, bytes] = attrs.field(factory=dict[bytes, bytes], repr=False)

    def of_value(self, value: bytes) -> bytes:
        """Return the digest of one of the field's values."""
        hasher = self.hasher.copy()
        hasher.update(value)
        digest = hasher.digest()
        if len(value) <= _MAX_CACHED_LEN and len(self.cached_adjustment) < _MOST_REMEMBERED:
            # A copy, since what orjson returns takes up 4 KiB however short it is.
            self.cached_adjustment[memoryview(value).tobytes()] = digest
        return digest


@attrs.define
class Fingerprints:
    """Digests of ids, of users and of fields under one key, each kind apart from the others."""

    _key: bytes = attrs.field(repr=False)
    _names: dict[str, _FieldHasher] = attrs.field(factory=dict[str, _FieldHasher], repr=False)
    _user_id: blake2b = attrs.field(init=False, repr=False)
    _user: blake2b = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._user_id = self._hasher(b"user id", _LONG)
        self._user = self._hasher(b"user", _LONG)

    def of_identity(self, user: UserTraits) -> bytes | None:
        """Return the digest by which the ledger finds *user* again, or None if they have no id at all."""
        if user.user_id is not None:
            return _digest(self._user_id, user.user_id.encode())
        if user.vendor_ids:
            return _digest(self._hasher(b"vendor ids", _LONG), canonical(user.vendor_ids))
        return None

    def of_user(self, encoded: bytes) -> bytes:
        """Return the digest of all that an encoded user says."""
        return _digest(self._user, encoded)

    def of_fields(self, encoded: bytes) -> dict[bytes, bytes]:
        """Return the digest of each field of an encoded user, by the digest of its name."""
        fingerprints: dict[bytes, bytes] = {}
        for field, value in encoded_fields(encoded).items():
            name = self._names.get(field) or self._named(field)
            fingerprints[name.digest] = name.cached_adjustment.get(value) or name.of_value(value)
        return fingerprints

    def of_name(self, field: str) -> bytes:
        """Return the digest of a field's name."""
        return self._named(field).digest

    def _named(self, field: str) -> _FieldHasher:
        name = self._names.get(field)
        if name is None:
            digest = _digest(self._hasher(b"name", _SHORT), field.encode())
            hasher = self._hasher(b"value", _SHORT)
            hasher.update(digest)
            name = _FieldHasher(digest, hasher)
            if len(self._names) < _MOST_NAMES:
                self._names[field] = name
        return name

    def _hasher(self, kind: bytes, size: int) -> blake2b:
        return blake2b(digest_size=size, key=self._key, person=kind)


def _digest(hasher: blake2b, content: bytes) -> bytes:
    hasher = hasher.copy()
    hasher.update(content)
    return hasher.digest()


def pack(fingerprints: Mapping[bytes, bytes]) -> bytes:
    """Return *fingerprints* as one string of bytes."""
    return b"".join(chain.from_iterable(fingerprints.items()))


def unpack(packed: bytes) -> dict[bytes, bytes]:
    """Return the digests that `pack` was given."""
    step = 2 * _SHORT
    return {packed[i : i + _SHORT]: packed[i + _SHORT : i + step] for i in range(0, len(packed), step)}
