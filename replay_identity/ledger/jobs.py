"""Import jobs, stored before they are sent, so that a crash neither loses nor repeats one."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import attrs
import orjson

from .batches import Batch, JobEntries, StoredJob
from .codec import NUMBER, TEXT_OR_NONE, require
from .database import ROW_ID_END
from .settlements import decode_loss

T = TypeVar("T")


def insert_job(db: sqlite3.Connection, vendor_account: int, encoding: bytes, batch: Batch, *, now: int) -> StoredJob:
    """Store *batch* and return its job."""
    key, size = batch.idempotency_key, len(batch.entries)
    entries, values = _encode_entries(JobEntries.of(batch.entries))
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
    return orjson.dumps(user_id) in encoded_entries and user_id in decode_entries(encoded_entries, b"").user_ids


def _encode_entries(entries: JobEntries) -> tuple[bytes, bytes]:
    """Encode the columns of *entries*, and the fingerprints of their values; a list of names is stored once."""
    shapes: dict[bytes, int] = {}
    shape_of: list[int] = []
    values: list[bytes] = []
    for fields in entries.fields:
        middle = len(fields) // 2
        shape_of.append(shapes.setdefault(fields[:middle], len(shapes)))
        values.append(fields[middle:])
    size = len(entries)
    columns = (
        entries.row_ids,
        entries.versions,
        entries.user_ids,
        _column(entries.vendor_ids, size),
        _column({index: [attrs.asdict(loss) for loss in lost] for index, lost in entries.lost.items()}, size),
        shape_of,
        [index in entries.in_doubt for index in range(size)],
    )
    return orjson.dumps([[names.hex() for names in shapes], columns]), b"".join(values)


def _column(values: Mapping[int, T], size: int) -> list[T | None]:
    """Return a list of *size* items: the *values* by index, and None for every other index."""
    column: list[T | None] = [None] * size
    for index, value in values.items():
        column[index] = value
    return column


def _by_index(column: Sequence[T | None]) -> dict[int, T]:
    """Return the values of *column* by index, without those that are None."""
    return {index: value for index, value in enumerate(column) if value is not None}


def decode_entries(encoded: bytes, values: bytes) -> JobEntries:
    """Return the entries that `insert_job` encoded, with their *values*."""
    names: list[str]
    columns: list[list[Any]]
    names, columns = orjson.loads(encoded)
    row_ids, versions, user_ids, vendor_ids, losses, shape_of, in_doubt = columns
    require(NUMBER, *row_ids, *versions)
    require(TEXT_OR_NONE, *user_ids, *vendor_ids)
    if len({len(column) for column in columns}) > 1 or not all(0 < row_id < ROW_ID_END for row_id in row_ids):
        raise ValueError(len(row_ids))
    lost = {index: tuple([decode_loss(loss) for loss in each]) for index, each in _by_index(losses).items()}
    fields = _decode_fields([bytes.fromhex(each) for each in names], shape_of, values)
    doubtful = {index for index, is_doubtful in enumerate(in_doubt) if is_doubtful}
    return JobEntries(row_ids, versions, user_ids, fields, _by_index(vendor_ids), lost, doubtful)


def _decode_fields(shapes: Sequence[bytes], shape_of: Sequence[int], values: bytes) -> list[bytes]:
    fields: list[bytes] = []
    start = 0
    for shape in shape_of:
        names = shapes[shape]
        end = start + len(names)
        fields.append(names + values[start:end])
        start = end
    return fields
