"""Take out who has to be sent to one backend, and of them what the vendor does not hold yet."""

import sqlite3
from itertools import islice
from typing import Final, Protocol

import attrs

from .._records import fast_frozen
from ..traits import UserTraits
from .codec import Fingerprints, decode, encoded_fields, unpack
from .database import sql_in
from .merging import without

# A place that no user has.
_BEYOND_ALL: Final = 2**63 - 1


class RowIds(Protocol):
    """Places of users in the ledger, of which only that is asked."""

    def __contains__(self, row_id: int, /) -> bool:
        """Tell whether *row_id* is one of them."""
        ...


@fast_frozen
class Claim:
    """One user to send to one backend.

    Attributes:
        row_id: Where the ledger keeps the user; claims come in the order of places.
        version: The number of the transaction that put the user last.
        user: What to send: all that the vendor has not confirmed, with the ids.
        unchanged: Whether the vendor holds it all by now, so that nothing has to be sent.
    """

    row_id: int
    version: int
    user: UserTraits = attrs.field(repr=False)
    unchanged: bool = False


@attrs.define
class Claiming:
    """One transaction that takes claims out.

    Attributes:
        db: The connection, inside a transaction.
        fingerprints: The ledger's digests.
        backend: Id of the backend in the ledger.
    """

    db: sqlite3.Connection
    fingerprints: Fingerprints
    backend: int

    def claim(
        self, between: tuple[int, int | None], count: int, skip: RowIds, *, full_state: bool = False
    ) -> list[Claim]:
        """Return at most *count* claims *between* two places, in order, but none to the places in *skip*."""
        after, before = between
        due = self.db.execute(
            "SELECT user FROM due WHERE backend = ? AND user > ? AND user < ? ORDER BY user",
            [self.backend, after, _BEYOND_ALL if before is None else before],
        )
        row_ids = list(islice((row_id for (row_id,) in due if row_id not in skip), count))
        due.close()
        these, parameters = sql_in(row_ids)
        rows = self.db.execute(
            "SELECT desired.user, version, traits, in_doubt IS 0 AND losses.user IS NULL, fields FROM desired"
            " LEFT JOIN held ON held.backend = ? AND held.user = desired.user"
            " LEFT JOIN losses ON losses.backend = ? AND losses.user = desired.user"
            f" WHERE desired.user {these} ORDER BY desired.user",
            [self.backend, self.backend, *parameters],
        ).fetchall()
        claims = [
            self._filtered(row_id, version, traits, fields, full_state=full_state)
            if is_sure
            else Claim(row_id, version, decode(traits))
            for row_id, version, traits, is_sure, fields in rows
        ]
        # From now on the vendor may hold something else than it confirmed, until it confirms again.
        doubted = [
            (self.backend, claim.row_id)
            for claim, (*_, fields) in zip(claims, rows, strict=True)
            if fields is not None and not claim.unchanged
        ]
        self.db.executemany("UPDATE held SET in_doubt = 1 WHERE backend = ? AND user = ? AND in_doubt = 0", doubted)
        return claims

    def _filtered(self, row_id: int, version: int, encoded: bytes, held: bytes, *, full_state: bool) -> Claim:
        """Return the claim to what of a user differs from what the vendor holds."""
        confirmed, fingerprints = unpack(held), self.fingerprints.of_fields(encoded)
        fields = encoded_fields(encoded)
        same = {
            field for field, name in zip(fields, fingerprints, strict=True) if confirmed.get(name) == fingerprints[name]
        }
        user = decode(encoded)
        return Claim(row_id, version, user if full_state else without(user, same), unchanged=len(same) == len(fields))
