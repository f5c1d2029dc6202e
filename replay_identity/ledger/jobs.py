"""Import jobs, stored before they are sent, so that a crash neither loses nor repeats one."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, cast

import attrs
import orjson

from .codec import NUMBER, TEXT_OR_NONE, require
from .database import ROW_ID_END
from .settlements import decode_loss
from .store import Batch, JobEntry, StoredJob

_Row: TypeAlias = tuple[int, int, str | None, str | None, list[dict[str, Any]] | None, int, bool]


def insert_job(db: sqlite3.Connection, vendor_account: int, encoding: bytes, batch: Batch, *, now: int) -> StoredJob:
    """Store *batch* and return its job."""
    key, size = batch.idempotency_key, len(batch.entries)
    entries, values = _encode_entries(batch.entries)
    cursor = db.execute(
        "INSERT INTO jobs (vendor_account, idempotency_key, size, created_at, encoding, entries, field_values, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            vendor_account,
            key,
            size,
            now,
            encoding,
            entries,
            values,
            batch.body,
        ],
    )
    return StoredJob(cursor.lastrowid or 0, key, size, now)


def is_in_flight(db: sqlite3.Connection, user_id: str) -> bool:
    """Return True if a job in flight includes the user of that id."""
    return any(has_user(entries, user_id) for (entries,) in db.execute("SELECT entries FROM jobs"))


def has_user(encoded_entries: bytes, user_id: str) -> bool:
    """Return True if the entries of a job include the user of that id."""
    # Searched as bytes first: a batch may have 50,000 entries, and most batches do not have the user.
    return orjson.dumps(user_id) in encoded_entries and any(
        entry.user_id == user_id for entry in decode_entries(encoded_entries, b"")
    )


def _encode_entries(entries: Sequence[JobEntry]) -> tuple[bytes, bytes]:
    """Encode *entries* column by column, and the fingerprints of their values; a list of names is stored once."""
    shapes: dict[bytes, int] = {}
    shape_of: list[int] = []
    values: list[bytes] = []
    for entry in entries:
        middle = len(entry.fields) // 2
        shape_of.append(shapes.setdefault(entry.fields[:middle], len(shapes)))
        values.append(entry.fields[middle:])
    columns = (
        [entry.row_id for entry in entries],
        [entry.version for entry in entries],
        [entry.user_id for entry in entries],
        [entry.vendor_id for entry in entries],
        [[attrs.asdict(loss) for loss in entry.lost] if entry.lost else None for entry in entries],
        shape_of,
        [entry.in_doubt for entry in entries],
    )
    return orjson.dumps([[names.hex() for names in shapes], columns]), b"".join(values)


def decode_entries(encoded: bytes, values: bytes) -> list[JobEntry]:
    """Return the entries that `insert_job` encoded, with their *values*."""
    names: list[str]
    columns: list[list[Any]]
    names, columns = orjson.loads(encoded)
    row_ids, versions, user_ids, vendor_ids, *_ = columns
    require(NUMBER, *row_ids, *versions)
    require(TEXT_OR_NONE, *user_ids, *vendor_ids)
    rows = cast("Iterable[_Row]", zip(*columns, strict=True))
    shapes = [bytes.fromhex(each) for each in names]
    entries: list[JobEntry] = []
    start = 0
    for row_id, version, user_id, vendor_id, losses, shape, in_doubt in rows:
        if not 0 < row_id < ROW_ID_END:
            raise ValueError(row_id)
        lost = tuple([decode_loss(loss) for loss in losses]) if losses else ()
        end = start + len(shapes[shape])
        entries.append(JobEntry(row_id, version, user_id, vendor_id, lost, shapes[shape] + values[start:end], in_doubt))
        start = end
    return entries
