"""What stays on disk of a value once it is delivered: a digest, keyed with a secret of this ledger's own."""

from collections.abc import Mapping
from hashlib import blake2b
from itertools import chain
from typing import Final

import attrs

from ..model import UserTraits
from .encoding import canonical, encoded_fields

KEY_BYTES: Final = 32
# Ids and whole users are told apart by the million; one field only from its own older values.
_LONG: Final = 16
_SHORT: Final = 8
# Rows repeat the names of their fields and many of their values, so the digests of these are kept at hand.
_MOST_NAMES: Final = 1024
_MOST_REMEMBERED: Final = 256
_MEMORABLE: Final = 32


@attrs.define
class _Name:
    """A field's name: its digest, and what its values are hashed with."""

    digest: bytes
    hasher: blake2b = attrs.field(repr=False)
    remembered: dict[bytes, bytes] = attrs.field(factory=dict[bytes, bytes], repr=False)

    def of_value(self, value: bytes) -> bytes:
        """Return the digest of one of the field's values."""
        hasher = self.hasher.copy()
        hasher.update(value)
        digest = hasher.digest()
        if len(value) <= _MEMORABLE and len(self.remembered) < _MOST_REMEMBERED:
            # A copy, since what orjson returns takes up 4 KiB however short it is.
            self.remembered[memoryview(value).tobytes()] = digest
        return digest


@attrs.define
class Digests:
    """Digests of ids, of users and of fields under one key, each kind apart from the others."""

    _key: bytes = attrs.field(repr=False)
    _names: dict[str, _Name] = attrs.field(factory=dict[str, _Name], repr=False)
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
        digests: dict[bytes, bytes] = {}
        for field, value in encoded_fields(encoded).items():
            name = self._names.get(field) or self._named(field)
            digests[name.digest] = name.remembered.get(value) or name.of_value(value)
        return digests

    def of_name(self, field: str) -> bytes:
        """Return the digest of a field's name."""
        return self._named(field).digest

    def _named(self, field: str) -> _Name:
        name = self._names.get(field)
        if name is None:
            digest = _digest(self._hasher(b"name", _SHORT), field.encode())
            hasher = self._hasher(b"value", _SHORT)
            hasher.update(digest)
            name = _Name(digest, hasher)
            if len(self._names) < _MOST_NAMES:
                self._names[field] = name
        return name

    def _hasher(self, kind: bytes, size: int) -> blake2b:
        return blake2b(digest_size=size, key=self._key, person=kind)


def _digest(hasher: blake2b, content: bytes) -> bytes:
    hasher = hasher.copy()
    hasher.update(content)
    return hasher.digest()


def pack(digests: Mapping[bytes, bytes]) -> bytes:
    """Return *digests* as one string of bytes."""
    return b"".join(chain.from_iterable(digests.items()))


def unpack(packed: bytes) -> dict[bytes, bytes]:
    """Return the digests that `pack` was given."""
    step = 2 * _SHORT
    return {packed[i : i + _SHORT]: packed[i + _SHORT : i + step] for i in range(0, len(packed), step)}
