"""What stays on disk of a value once it is delivered: a digest, keyed with a secret of this ledger's own."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

import attrs

from ..model import UserTraits
from .encoding import encoded_fields

KEY_BYTES: Final = 32
# Ids and whole users are told apart by the million; one field only from its own older values.
_LONG: Final = 16
_SHORT: Final = 8
# Rows repeat the names of their fields and many of their values, so the digests of these are kept at hand.
_MOST_REMEMBERED: Final = 4096
_MEMORABLE: Final = 32


@attrs.define
class Digests:
    """Digests of ids, of users and of fields under one key, each kind apart from the others."""

    _key: bytes = attrs.field(repr=False)
    _names: dict[str, tuple[bytes, "blake2b"]] = attrs.field(factory=dict[str, tuple[bytes, "blake2b"]], repr=False)
    _values: dict[tuple[str, bytes], bytes] = attrs.field(factory=dict[tuple[str, bytes], bytes], repr=False)

    def of_identity(self, user: UserTraits) -> bytes | None:
        """Return the digest by which the ledger finds *user* again, or None if they have no id at all."""
        if user.user_id is not None:
            identity = user.user_id
        elif user.vendor_ids:
            identity = "\0".join(f"{vendor}={user.vendor_ids[vendor]}" for vendor in sorted(user.vendor_ids))
        else:
            return None
        kind = b"user id" if user.user_id is not None else b"vendor ids"
        return blake2b(identity.encode(), digest_size=_LONG, key=self._key, person=kind).digest()

    def of_user(self, encoded: bytes) -> bytes:
        """Return the digest of all that an encoded user says."""
        return blake2b(encoded, digest_size=_LONG, key=self._key, person=b"user").digest()

    def of_fields(self, encoded: bytes) -> dict[bytes, bytes]:
        """Return the digest of each field of an encoded user, by the digest of its name."""
        return dict(self._of_field(name, value) for name, value in encoded_fields(encoded).items())

    def of_name(self, field: str) -> bytes:
        """Return the digest of a field's name."""
        return self._named(field)[0]

    def _of_field(self, name: str, value: bytes) -> tuple[bytes, bytes]:
        name_digest, hasher = self._named(name)
        known = self._values.get((name, value))
        if known is None:
            hasher = hasher.copy()
            hasher.update(value)
            known = hasher.digest()
            if len(value) <= _MEMORABLE and len(self._values) < _MOST_REMEMBERED:
                self._values[name, value] = known
        return name_digest, known

    def _named(self, name: str) -> tuple[bytes, "blake2b"]:
        """Return the digest of a field's *name*, and what its values are hashed with."""
        known = self._names.get(name)
        if known is None:
            digest = blake2b(name.encode(), digest_size=_SHORT, key=self._key, person=b"name").digest()
            known = digest, blake2b(digest, digest_size=_SHORT, key=self._key, person=b"value")
            if len(self._names) < _MOST_REMEMBERED:
                self._names[name] = known
        return known


def pack(digests: Mapping[bytes, bytes]) -> bytes:
    """Return *digests* as one string of bytes."""
    return b"".join([part for pair in digests.items() for part in pair])


def unpack(packed: bytes) -> dict[bytes, bytes]:
    """Return the digests that `pack` was given."""
    step = 2 * _SHORT
    return {packed[i : i + _SHORT]: packed[i + _SHORT : i + step] for i in range(0, len(packed), step)}
