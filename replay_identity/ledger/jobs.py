"""Batches under way, stored before they are sent, so that a crash neither loses nor doubles one."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import attrs
import orjson

from ..backend import Member
from ..model import fingerprint
from ..outcome import Adjustment


@attrs.frozen
class JobMember:
    """One user in a batch.

    Attributes:
        place: Where the ledger keeps the user.
        version: What was sent.
        user_id: The application's id.
        vendor_id: The vendor's own id that was sent.
        lost: How what was sent falls short of what was given.
    """

    place: int
    version: int
    user_id: str | None = attrs.field(repr=fingerprint)
    vendor_id: str | None = attrs.field(default=None, repr=fingerprint)
    lost: tuple[Adjustment, ...] = ()

    def named(self) -> Member:
        """Return the member by what the vendor's results name them with."""
        return Member(user_id=self.user_id, vendor_id=self.vendor_id)


@attrs.frozen
class Job:
    """One batch under way.

    Attributes:
        id: Its number in the ledger.
        idempotency_key: The key it is sent under, however often.
        members: Who is in it, in the order of its items.
        vendor_job: The vendor's id of the job, once it is known.
        body: The bytes to send, until the vendor's id is known.
        created_at: When it was first sent, in seconds since 1970.
    """

    id: int
    idempotency_key: str
    members: tuple[JobMember, ...]
    vendor_job: str | None = None
    body: bytes | None = attrs.field(default=None, repr=False)
    created_at: int = 0


def insert_job(db: sqlite3.Connection, backend: int, job: Job) -> Job:
    """Store *job* and return it with its number."""
    cursor = db.execute(
        "INSERT INTO jobs (backend, idempotency_key, created_at, members, body) VALUES (?, ?, ?, ?, ?)",
        [backend, job.idempotency_key, job.created_at, _write_members(job.members), job.body],
    )
    return attrs.evolve(job, id=cursor.lastrowid or 0)


def read_jobs(db: sqlite3.Connection, backend: int) -> list[Job]:
    """Return the jobs of one backend that are under way, the oldest first."""
    rows = db.execute(
        "SELECT id, idempotency_key, members, vendor_job, body, created_at FROM jobs WHERE backend = ? ORDER BY id",
        [backend],
    )
    return [Job(number, key, _read_members(members), *rest) for number, key, members, *rest in rows]


def _write_members(members: Sequence[JobMember]) -> bytes:
    return orjson.dumps(
        [
            (one.place, one.version, one.user_id, one.vendor_id, [attrs.asdict(loss) for loss in one.lost])
            for one in members
        ]
    )


def _read_members(written: bytes) -> tuple[JobMember, ...]:
    rows: list[tuple[int, int, str | None, str | None, list[dict[str, Any]]]] = orjson.loads(written)
    return tuple(
        JobMember(place, version, user_id, vendor_id, tuple(Adjustment(**loss) for loss in losses))
        for place, version, user_id, vendor_id, losses in rows
    )
