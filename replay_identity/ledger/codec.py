"""Encode users for storage, and fingerprint their ids and fields with the ledger's key.

A stored user is JSON. A value of a type that JSON lacks, such as a date, is wrapped in a tag. A user who was read from
a plain line of JSON is stored as that line, with a blank before it.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final, cast
from uuid import UUID

import attrs
import orjson

from .._json import parse_traits
from .._values import REMOVE, Removal, is_list, is_nested
from ..errors import InvalidTraitsError
from ..traits import UserTraits, from_validated_row, json_as_read, new_unchecked

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# The integers that orjson encodes.
_MIN_INT: Final = -(2**63)
_MAX_INT: Final = 2**64 - 1
# The types of what is decoded.
TEXT: Final = frozenset[type]({str})
TEXT_OR_NONE: Final = frozenset[type]({str, type(None)})
BYTES: Final = frozenset[type]({bytes})
NUMBER: Final = frozenset[type]({int})
NUMBER_OR_NONE: Final = frozenset[type]({int, type(None)})
_DICTS: Final = frozenset[type]({dict})
# The types that JSON returns unchanged.
_SCALARS: Final = frozenset[type[object]]({str, bool, int, float})

_SORTED: Final = orjson.OPT_SORT_KEYS
# Vendors get moments in UTC; as the adapters write them, so that equal JSON is an equal value.
_CANONICAL: Final = orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z

# A tagged value is an object with these two keys. In a tagged trait, mappings are tagged too: none can imitate a tag.
_TAG: Final = "$"
_VALUE: Final = "="
_REMOVE_TAG: Final = b'"remove"'
# What a line begins with that is stored as it was read; nothing else begins so.
_AS_READ: Final = b" "


def encode(user: UserTraits, removed: Sequence[str] = ()) -> bytes:
    """Encode *user* for storage, with the paths of traits *removed* before."""
    line = json_as_read(user)
    return _encode_fields(user, removed) if line is None or removed else stored_line(line)


def stored_line(line: bytes) -> bytes:
    """Return what `encode` returns for a user who was read from *line*."""
    # Less CPU than encoding the user again (``benchmarks/run.py --only fullstory``).
    return _AS_READ + line


def _encode_fields(user: UserTraits, removed: Sequence[str]) -> bytes:
    traits = user.traits
    not_scalar = [name for name, value in traits.items() if type(value) not in _SCALARS]
    tagged = [name for name in not_scalar if not _is_json(traits[name])]
    try:
        return _encode(user, not_scalar, tagged, removed)
    except TypeError:  # An integer of more than 64 bits.
        tagged = [name for name, value in traits.items() if not (_is_json(value) and _has_small_integers(value))]
        return _encode(user, [name for name in traits if name in not_scalar or name in tagged], tagged, removed)


def _encode(user: UserTraits, not_scalar: Sequence[str], tagged: Sequence[str], removed: Sequence[str]) -> bytes:
    content: dict[str, Any] = {"user_id": user.user_id}
    if user.name is not None:
        content["name"] = user.name
    if user.email is not None:
        content["email"] = user.email
    content["traits"] = user.traits
    if tagged:
        content["traits"] = {**user.traits, **{name: _tag(user.traits[name]) for name in tagged}}
        content["tagged"] = tagged
    if len(not_scalar) > len(tagged):
        content["nested"] = [name for name in not_scalar if name not in tagged]
    if user.types:
        content["types"] = user.types
    if user.observed_at is not None:
        content["observed_at"] = to_microseconds(user.observed_at)
    if user.vendor_ids:
        content["vendor_ids"] = user.vendor_ids
    if removed:
        content["removed"] = removed
    # Copied, since the bytes that orjson returns occupy 4 KiB however short they are.
    return memoryview(orjson.dumps(content)).tobytes()


def decode(encoded: bytes) -> UserTraits:
    """Return the user in the result of `encode`."""
    return decode_desired(encoded)[0]


def decode_desired(encoded: bytes) -> tuple[UserTraits, tuple[str, ...]]:
    """Return the user in the result of `encode`, and the paths that were removed before."""
    if encoded.startswith(_AS_READ):
        return _decode_line(encoded.removeprefix(_AS_READ)), ()
    content: dict[str, Any] = orjson.loads(encoded)
    get = content.get
    traits: dict[str, Any] = content["traits"]
    for name in get("tagged", ()):
        traits[name] = _untag(traits[name])
    for name in get("nested", ()):
        traits[name] = _with_tuples(traits[name])
    observed_at = get("observed_at")
    require(_DICTS, traits)
    require(TEXT_OR_NONE, content["user_id"], get("name"), get("email"))
    user = new_unchecked(
        content["user_id"],
        get("name"),
        get("email"),
        traits,
        get("types"),
        None if observed_at is None else from_microseconds(observed_at),
        get("vendor_ids"),
    )
    return user, tuple(get("removed", ()))


def _decode_line(line: bytes) -> UserTraits:
    row = parse_traits(line)
    require(_DICTS, row)
    try:
        return from_validated_row(cast("dict[str, Any]", row), line)
    except InvalidTraitsError:  # A damaged file; no user who can be read has such a line.
        raise ValueError from None


def require(types: Container[type], *values: object) -> None:
    """Raise TypeError if one of *values* has none of the *types*, as in a damaged file."""
    for value in values:
        if type(value) not in types:
            raise TypeError


def has_removals(encoded: bytes) -> bool:
    """Return True if an encoded user may remove a trait; False if they certainly do not."""
    return _REMOVE_TAG in encoded


def removed_paths(traits: Mapping[str, Any], parents: str = "") -> list[str]:
    """Return the dotted path of every trait to remove."""
    paths: list[str] = []
    for name, value in traits.items():
        if value is REMOVE:
            paths.append(parents + name)
        elif is_nested(value):
            paths += removed_paths(value, f"{parents}{name}.")
    return paths


def typed_field(path: str, traits: Container[str]) -> str:
    """Return the field that a type declared for *path* belongs to; *path* may lead into a nested trait."""
    return f"traits.{path if path in traits else path.partition('.')[0]}"


def to_microseconds(moment: datetime) -> int:
    """Return *moment* in microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Return the moment *microseconds* after the beginning of 1970."""
    return _EPOCH + timedelta(microseconds=microseconds)


def canonical_json(value: object) -> bytes:
    """Return *value* as JSON with sorted keys."""
    return orjson.dumps(value, None, _SORTED)


def _is_json(value: object) -> bool:
    """Return True if JSON has a type for *value*, even if its integers are too large."""
    if is_list(value):
        return _SCALARS.issuperset(map(type, value)) or all(map(_is_json, value))
    if is_nested(value):
        return _SCALARS.issuperset(map(type, value.values())) or all(map(_is_json, value.values()))
    return type(value) in _SCALARS


def _has_small_integers(value: object) -> bool:
    """Return True if orjson can encode every integer in *value*."""
    if is_list(value):
        return all(map(_has_small_integers, value))
    if is_nested(value):
        return all(map(_has_small_integers, value.values()))
    return type(value) is not int or _MIN_INT <= value <= _MAX_INT


def _with_tuples(value: object) -> object:
    if isinstance(value, list):
        items = cast("list[object]", value)
        return tuple(items) if _SCALARS.issuperset(map(type, items)) else tuple(map(_with_tuples, items))
    if isinstance(value, dict):
        nested = cast("dict[str, object]", value)
        if _SCALARS.issuperset(map(type, nested.values())):
            return nested
        return {name: _with_tuples(item) for name, item in nested.items()}
    return value


def _tag(value: object) -> object:
    if is_nested(value):
        return {_TAG: "map", _VALUE: {name: _tag(item) for name, item in value.items()}}
    if is_list(value):
        return [_tag(item) for item in value]
    if type(value) in _SCALARS and _has_small_integers(value):
        return value
    return {_TAG: _TAG_OF[type(value)], _VALUE: value.isoformat() if isinstance(value, date) else str(value)}


def _untag(value: object) -> object:
    if isinstance(value, list):
        return tuple([_untag(item) for item in cast("list[object]", value)])
    if not isinstance(value, dict):
        return value
    tagged = cast("dict[str, Any]", value)
    if tagged[_TAG] == "map":
        return {name: _untag(item) for name, item in tagged[_VALUE].items()}
    return _PARSER_OF[tagged[_TAG]](tagged[_VALUE])


_TAG_OF: Final[Mapping[type[object], str]] = {
    int: "int",
    datetime: "datetime",
    date: "date",
    Decimal: "decimal",
    UUID: "uuid",
    Removal: "remove",
}
_PARSER_OF: Final[Mapping[str, Callable[[str], object]]] = {
    "int": int,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "decimal": Decimal,
    "uuid": UUID,
    "remove": lambda _: REMOVE,
}


KEY_BYTES: Final = 32
# Ids and users must be distinct among millions; a field's value only from that field's older values.
_USER_BYTES: Final = 16
_FIELD_BYTES: Final = 8
PAIR_BYTES: Final = 2 * _FIELD_BYTES
# Rows repeat the names of their fields and many short values, so their fingerprints are cached.
_MAX_CACHED_NAMES: Final = 1024
_MAX_CACHED_VALUES: Final = 1024
_MAX_CACHED_LEN: Final = 48


@attrs.define
class Fingerprints:
    """Keyed hashes of ids, users and fields; each kind has its own hash function.

    Attributes:
        new_names: Names of fields since they were last stored, by fingerprint.
    """

    _key: bytes = attrs.field(repr=False)
    new_names: dict[bytes, str] = attrs.field(factory=dict[bytes, str], init=False, repr=False)
    _fields: "dict[str, _FieldHasher]" = attrs.field(factory=dict[str, "_FieldHasher"], init=False, repr=False)
    # Rows repeat the names of their fields in the same order.
    _shapes: "dict[tuple[str, ...], _Shape]" = attrs.field(
        factory=dict[tuple[str, ...], "_Shape"], init=False, repr=False
    )
    # By encoding.
    _masks: dict[str, int] = attrs.field(factory=dict[str, int], init=False, repr=False)
    _user_id: blake2b = attrs.field(init=False, repr=False)
    _content: blake2b = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._user_id = self._hasher(b"user id", _USER_BYTES)
        self._content = self._hasher(b"user", _USER_BYTES)

    def of_id(self, user: UserTraits) -> bytes | None:
        """Return the fingerprint of the id of *user*, or else of all their vendor ids; None if they have neither."""
        if user.user_id is not None:
            return self.of_user_id(user.user_id)
        if user.vendor_ids:
            return _digest(self._hasher(b"vendor ids", _USER_BYTES), canonical_json(user.vendor_ids))
        return None

    def of_user_id(self, user_id: str) -> bytes:
        """Return the fingerprint of your own id of a user."""
        return _digest(self._user_id, user_id.encode())

    def of_content(self, encoded: bytes) -> bytes:
        """Return the fingerprint of an encoded user."""
        return _digest(self._content, encoded)

    def of_source(self, content: bytes, encoding: str) -> bytes:
        """Return the fingerprint of a user and of the *encoding* with which a backend sends them.

        *content* is the user's fingerprint, so that only one hash is computed for all backends.
        """
        mask = self._masks.get(encoding)
        if mask is None:
            mask = int.from_bytes(_digest(self._hasher(b"source", _USER_BYTES), encoding.encode()))
            self._masks[encoding] = mask
        return (int.from_bytes(content) ^ mask).to_bytes(_USER_BYTES)

    def of_encoding(self, encoding: str) -> bytes:
        """Return the fingerprint of what decides how a backend encodes users."""
        return _digest(self._hasher(b"encoding", _FIELD_BYTES), encoding.encode())

    def of_fields(self, fields: Mapping[str, Any]) -> bytes:
        """Return the fingerprints of the names of *fields*, followed by those of their values, in the same order."""
        shape = tuple(fields)
        known = self._shapes.get(shape) or self._add_shape(shape)
        digests = [known.names]
        for hasher, content in zip(known.hashers, fields.values(), strict=True):
            kind = type(content)  # pyright: ignore[reportUnknownVariableType]  # As `is_nested` says.
            if kind is str:
                digests.append(hasher.texts.get(content) or hasher.of_text(content))
            elif kind is int or kind is bool:
                digests.append(hasher.numbers[kind].get(content) or hasher.of_number(content))
            else:
                digests.append(hasher.of_json(orjson.dumps(content, None, _CANONICAL)))
        return b"".join(digests)

    def of_name(self, field: str) -> bytes:
        """Return the fingerprint of a field's name."""
        hasher = self._fields.get(field)
        return self._name(field) if hasher is None else hasher.name

    def _add_shape(self, shape: tuple[str, ...]) -> "_Shape":
        hashers = tuple([self._fields.get(field) or self._field_hasher(field) for field in shape])
        known = _Shape(b"".join([hasher.name for hasher in hashers]), hashers)
        if len(self._shapes) < _MAX_CACHED_NAMES:
            self._shapes[shape] = known
        return known

    def _name(self, field: str) -> bytes:
        return _digest(self._hasher(b"name", _FIELD_BYTES), field.encode())

    def _field_hasher(self, field: str) -> "_FieldHasher":
        name = self._name(field)
        hasher = _FieldHasher(name, _digest(self._hasher(b"value", KEY_BYTES), name))
        self.new_names[name] = field
        if len(self._fields) < _MAX_CACHED_NAMES:
            self._fields[field] = hasher
        return hasher

    def _hasher(self, kind: bytes, size: int) -> blake2b:
        return blake2b(digest_size=size, key=self._key, person=kind)


def _no_numbers() -> dict[type, dict[int, bytes]]:
    return {int: {}, bool: {}}


@attrs.define
class _FieldHasher:
    """Hashes the values of one field.

    The key goes before the value, since to set up BLAKE2's own keyed mode takes half as long again for a short value
    (`benchmarks/run.py --only fullstory`).

    Attributes:
        name: Fingerprint of the field's name.
        texts: Fingerprints of short texts.
        numbers: Fingerprints of integers and of booleans.
        jsons: Fingerprints of other values with short JSON, by their JSON.
    """

    name: bytes
    _text_key: bytes = attrs.field(repr=False)
    _json_key: bytes = attrs.field(init=False, repr=False)
    texts: dict[str, bytes] = attrs.field(factory=dict[str, bytes], init=False, repr=False)
    numbers: dict[type, dict[int, bytes]] = attrs.field(factory=_no_numbers, init=False, repr=False)
    jsons: dict[bytes, bytes] = attrs.field(factory=dict[bytes, bytes], init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        # A text and JSON that looks like it are different values; no text has that byte.
        self._json_key = self._text_key + b"\xff"

    def of_text(self, text: str) -> bytes:
        digest = blake2b(self._text_key + text.encode(), digest_size=_FIELD_BYTES).digest()
        if len(text) <= _MAX_CACHED_LEN and len(self.texts) < _MAX_CACHED_VALUES:
            self.texts[text] = digest
        return digest

    def of_number(self, number: int) -> bytes:
        digest = self._of_json(orjson.dumps(number))
        cached = self.numbers[type(number)]
        if len(cached) < _MAX_CACHED_VALUES:
            cached[number] = digest
        return digest

    def of_json(self, json: bytes) -> bytes:
        digest = self.jsons.get(json)
        if digest is None:
            digest = self._of_json(json)
            if len(json) <= _MAX_CACHED_LEN and len(self.jsons) < _MAX_CACHED_VALUES:
                # Copied, since the bytes that orjson returns occupy 4 KiB however short they are.
                self.jsons[memoryview(json).tobytes()] = digest
        return digest

    def _of_json(self, json: bytes) -> bytes:
        return blake2b(self._json_key + json, digest_size=_FIELD_BYTES).digest()


@attrs.frozen
class _Shape:
    """The fields of many users.

    Attributes:
        names: Fingerprints of the names.
        hashers: One for each field.
    """

    names: bytes
    hashers: "tuple[_FieldHasher, ...]"


def _digest(hasher: blake2b, content: bytes) -> bytes:
    hasher = hasher.copy()
    hasher.update(content)
    return hasher.digest()


# The value of a field that the vendor may have, with a value that is not known.
UNKNOWN_VALUE: Final = bytes(_FIELD_BYTES)


def pack(fingerprints: Mapping[bytes, bytes]) -> bytes:
    """Join 8-byte keys, followed by their 8-byte values, into one string of bytes."""
    return b"".join([*fingerprints, *fingerprints.values()])


def unpack(packed: bytes) -> dict[bytes, bytes]:
    """Return the mapping that `pack` packed."""
    return dict(zip(names_in(packed), _parts(packed[len(packed) // 2 :]), strict=True))


def names_in(packed: bytes) -> list[bytes]:
    """Return the keys of the mapping that `pack` packed."""
    return _parts(packed[: len(packed) // 2])


def _parts(joined: bytes) -> list[bytes]:
    return [joined[i : i + _FIELD_BYTES] for i in range(0, len(joined), _FIELD_BYTES)]


def add_names(packed: bytes, other: bytes) -> bytes:
    """Return *packed* with the keys that only *other* has, with an unknown value."""
    return pack({**unpack(forget_values(other)), **unpack(packed)})


def forget_values(packed: bytes, fields: Mapping[bytes, bytes] | None = None) -> bytes:
    """Return *packed* with an unknown value for each of *fields*, or for all if there are none given."""
    known = unpack(packed)
    return pack({name: UNKNOWN_VALUE if fields is None or name in fields else value for name, value in known.items()})
