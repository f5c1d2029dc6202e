"""Claim pending users of one backend, with what its vendor has not confirmed yet."""

import sqlite3
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, Protocol

import attrs

from .._records import fast_frozen
from ..traits import UserTraits
from .codec import Fingerprints, decode, encoded_fields, unpack
from .database import sql_in
from .merging import drop_fields

# Above every row id.
_ROW_ID_END: Final = 2**63 - 1


class RowIds(Protocol):
    """A set of row ids, which need only support ``in``."""

    def __contains__(self, row_id: int, /) -> bool:
        """Return True if *row_id* is in the set."""
        ...


@fast_frozen
class Claim:
    """One user to send to one backend.

    Attributes:
        row_id: The user's key in the ledger; claims come in ascending order.
        version: Version of the desired state: the number of the upsert that changed it last.
        user: What to send: the ids, and all that the vendor has not confirmed.
        unchanged: True if the vendor has confirmed everything meanwhile, so that nothing has to be sent.
    """

    row_id: int
    version: int
    user: UserTraits = attrs.field(repr=False)
    unchanged: bool = False


def claim_users(
    db: sqlite3.Connection,
    fingerprints: Fingerprints,
    backend: int,
    *,
    after: int,
    before: int | None,
    count: int,
    skip: RowIds,
    full_state: bool,
) -> list[Claim]:
    """Return up to *count* claims, inside a transaction; the arguments are those of `Ledger.claim`."""
    pending = db.execute(
        "SELECT row_id FROM pending WHERE backend = ? AND row_id > ? AND row_id < ? ORDER BY row_id",
        [backend, after, _ROW_ID_END if before is None else before],
    )
    row_ids = list(islice((row_id for (row_id,) in pending if row_id not in skip), count))
    pending.close()
    rows = _desired_and_confirmed(db, backend, row_ids)
    claims = [
        _claim_unconfirmed(fingerprints, row_id, version, encoded, confirmed, full_state=full_state)
        if is_reliable
        else Claim(row_id, version, decode(encoded))
        for row_id, version, encoded, is_reliable, confirmed in rows
    ]
    # Until the vendor confirms again, what it has may differ from what it last confirmed.
    in_doubt = [
        (backend, claim.row_id)
        for claim, (*_, confirmed) in zip(claims, rows, strict=True)
        if confirmed is not None and not claim.unchanged
    ]
    db.executemany("UPDATE confirmed SET in_doubt = 1 WHERE backend = ? AND row_id = ? AND in_doubt = 0", in_doubt)
    return claims


def _desired_and_confirmed(db: sqlite3.Connection, backend: int, row_ids: Sequence[int]) -> list[Any]:
    """Select row id, version, desired state, whether the confirmed state is reliable, and its fingerprints.

    After a loss it is not: the vendor does not have what was sent.
    """
    clause, parameters = sql_in(row_ids)
    return db.execute(
        "SELECT desired.row_id, version, encoded, in_doubt IS 0 AND losses.row_id IS NULL, field_fingerprints"
        " FROM desired"
        " LEFT JOIN confirmed ON confirmed.backend = ? AND confirmed.row_id = desired.row_id"
        " LEFT JOIN losses ON losses.backend = ? AND losses.row_id = desired.row_id"
        f" WHERE desired.row_id {clause} ORDER BY desired.row_id",
        [backend, backend, *parameters],
    ).fetchall()


def _claim_unconfirmed(
    fingerprints: Fingerprints, row_id: int, version: int, encoded: bytes, confirmed: bytes, *, full_state: bool
) -> Claim:
    """Return a claim without the fields that the vendor has confirmed, or with all of them if *full_state*."""
    before, now = unpack(confirmed), fingerprints.of_fields(encoded)
    fields = encoded_fields(encoded)
    same = {field for field, name in zip(fields, now, strict=True) if before.get(name) == now[name]}
    user = decode(encoded)
    return Claim(row_id, version, user if full_state else drop_fields(user, same), unchanged=len(same) == len(fields))
