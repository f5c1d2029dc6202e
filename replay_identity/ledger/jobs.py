"""Import jobs, stored before they are sent, so that a crash neither loses nor repeats one."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import attrs
import orjson

from .._records import fast_frozen
from ..adapters.protocols import BatchEntry
from ..outcomes import Adjustment
from ..traits import fingerprint


@fast_frozen
class JobEntry:
    """One user in a batch.

    Attributes:
        row_id: The user's key in the ledger.
        version: Version of the desired state that was sent.
        user_id: Your own id of the user.
        vendor_id: The vendor's own id that was sent.
        lost: Lossy adjustments to the vendor's limits.
    """

    row_id: int
    version: int
    user_id: str | None = attrs.field(repr=fingerprint)
    vendor_id: str | None = attrs.field(default=None, repr=fingerprint)
    lost: tuple[Adjustment, ...] = ()

    def batch_entry(self) -> BatchEntry:
        """Return the ids by which the vendor's results are matched with users."""
        return BatchEntry(user_id=self.user_id, vendor_id=self.vendor_id)


@attrs.frozen
class Batch:
    """Users to send in one import.

    Attributes:
        idempotency_key: Key of the request, the same however often it is sent.
        entries: The users, in the order of the batch's items.
        body: Body of the request.
    """

    idempotency_key: str
    entries: Sequence[JobEntry] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class StoredJob:
    """One import that has not ended; its entries and its body stay in the ledger, since they may be large.

    Attributes:
        id: The job's key in the ledger.
        idempotency_key: Key of the request, the same however often it is sent.
        size: Number of users.
        created_at: When it was stored, in seconds since 1970.
        vendor_job: The vendor's id of the job, or None until it is known.
    """

    id: int
    idempotency_key: str
    size: int
    created_at: int
    vendor_job: str | None = None


def insert_job(db: sqlite3.Connection, backend: int, batch: Batch, *, now: int) -> StoredJob:
    """Store *batch* and return its job."""
    key, size = batch.idempotency_key, len(batch.entries)
    cursor = db.execute(
        "INSERT INTO jobs (backend, idempotency_key, size, created_at, entries, body) VALUES (?, ?, ?, ?, ?, ?)",
        [backend, key, size, now, _encode_entries(batch.entries), batch.body],
    )
    return StoredJob(cursor.lastrowid or 0, key, size, now)


def has_user(encoded_entries: bytes, user_id: str) -> bool:
    """Return True if the entries of a job include the user of that id."""
    # Searched as bytes first: a batch may have 50,000 entries, and most batches do not have the user.
    return orjson.dumps(user_id) in encoded_entries and any(
        entry.user_id == user_id for entry in decode_entries(encoded_entries)
    )


def decode_entries(encoded: bytes) -> list[JobEntry]:
    """Return the entries of a stored job."""
    rows: list[tuple[int, int, str | None, str | None, list[dict[str, Any]]]] = orjson.loads(encoded)
    return [
        JobEntry(row_id, version, user_id, vendor_id, tuple(Adjustment(**loss) for loss in losses))
        for row_id, version, user_id, vendor_id, losses in rows
    ]


def _encode_entries(entries: Sequence[JobEntry]) -> bytes:
    return orjson.dumps(
        [
            (entry.row_id, entry.version, entry.user_id, entry.vendor_id, [attrs.asdict(loss) for loss in entry.lost])
            for entry in entries
        ]
    )
