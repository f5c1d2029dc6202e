"""Batches under way, stored before they are sent, so that a crash neither loses nor doubles one."""

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
        row_id: Where the ledger keeps the user.
        version: What was sent.
        user_id: The application's id.
        vendor_id: The vendor's own id that was sent.
        lost: How what was sent falls short of what was given.
    """

    row_id: int
    version: int
    user_id: str | None = attrs.field(repr=fingerprint)
    vendor_id: str | None = attrs.field(default=None, repr=fingerprint)
    lost: tuple[Adjustment, ...] = ()

    def batch_entry(self) -> BatchEntry:
        """Return the member by what the vendor's results name them with."""
        return BatchEntry(user_id=self.user_id, vendor_id=self.vendor_id)


@attrs.frozen
class Batch:
    """What is to be sent as one job.

    Attributes:
        idempotency_key: The key to send it under, however often.
        entries: Who is in it, in the order of its items.
        body: The bytes to send.
    """

    idempotency_key: str
    entries: Sequence[JobEntry] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class StoredJob:
    """One batch under way; its members and its bytes stay in the ledger, since there may be many.

    Attributes:
        id: Its number in the ledger.
        idempotency_key: The key it is sent under, however often.
        size: How many users are in it.
        created_at: When it was stored, in seconds since 1970.
        vendor_job: The vendor's id of the job, once it is known.
    """

    id: int
    idempotency_key: str
    size: int
    created_at: int
    vendor_job: str | None = None


def insert_job(db: sqlite3.Connection, backend: int, batch: Batch, now: int) -> StoredJob:
    """Store *batch* and return its job."""
    key, size = batch.idempotency_key, len(batch.entries)
    cursor = db.execute(
        "INSERT INTO jobs (backend, idempotency_key, size, created_at, members, body) VALUES (?, ?, ?, ?, ?, ?)",
        [backend, key, size, now, write_members(batch.entries), batch.body],
    )
    return StoredJob(cursor.lastrowid or 0, key, size, now)


def write_members(entries: Sequence[JobEntry]) -> bytes:
    """Return *entries* as the JSON that `read_members` reads."""
    return orjson.dumps(
        [
            (one.row_id, one.version, one.user_id, one.vendor_id, [attrs.asdict(loss) for loss in one.lost])
            for one in entries
        ]
    )


def read_members(written: bytes) -> list[JobEntry]:
    """Return the members that `write_members` was given."""
    rows: list[tuple[int, int, str | None, str | None, list[dict[str, Any]]]] = orjson.loads(written)
    return [
        JobEntry(row_id, version, user_id, vendor_id, tuple(Adjustment(**loss) for loss in losses))
        for row_id, version, user_id, vendor_id, losses in rows
    ]
