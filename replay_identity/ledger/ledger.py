"""The ledger: the desired state of every user and what each vendor confirmed of it, in one SQLite file."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final, Self

import attrs

from ..errors import LedgerError
from ..outcomes import Adjustment
from ..traits import UserTraits
from .claims import Claim, RowIds, claim_users
from .codec import Fingerprints, decode
from .database import MAX_ROWS, Database, sql_in
from .jobs import Batch, JobEntry, StoredJob, decode_entries, insert_job
from .lease import take_lease
from .settlements import (
    Rejection,
    Settlement,
    decode_losses,
    decode_rejection,
    erase_user,
    is_in_flight,
    settle_users,
)
from .upserts import UpsertCounts, incoming_user, upsert_users


@attrs.frozen
class Checkpoint:
    """Where a paged read of another vendor resumes.

    Attributes:
        token: The vendor's token for the next page.
        stored_at: When it was stored, in seconds since 1970.
        stats: Statistics of the pages read so far, as JSON.
    """

    token: str = attrs.field(repr=False)
    stored_at: int
    stats: bytes = attrs.field(repr=False)


@attrs.frozen
class BackendCounts:
    """How many users are in which state at one backend.

    Attributes:
        backend: Name of the backend.
        pending: Users to send, including those of jobs in flight.
        confirmed: Users that the vendor has confirmed at least once.
        rejected: Users that the backend rejected and that have not changed since.
        lossy: Users that the vendor received only in part, because of its limits.
        jobs: Import jobs in flight.
    """

    backend: str
    pending: int
    confirmed: int
    rejected: int
    lossy: int
    jobs: int


@attrs.frozen
class RejectedUser:
    """One user that a backend rejected.

    Attributes:
        user: The desired state of the user.
        rejection: The backend's outcome.
        rejected_at: When, in seconds since 1970.
    """

    user: UserTraits
    rejection: Rejection
    rejected_at: int


class Ledger:
    """The desired state of every user and what each vendor confirmed of it. Safe for threads, processes and forks.

    Args:
        path: The file, which is created if it does not exist; ``:memory:`` keeps everything in memory.

    Raises:
        LedgerError: The file cannot be used; every method may raise it.
    """

    def __init__(self, path: str | Path) -> None:
        self._database = Database(path)
        try:
            key: bytes = self._database.rows("SELECT key FROM ledger")[0][0]
        except BaseException:
            self._database.close()
            raise
        self._fingerprints = Fingerprints(key)
        self._backend_ids: dict[str, int] = {}

    @property
    def path(self) -> str:
        """Return the absolute path of the file."""
        return self._database.path

    @classmethod
    @contextmanager
    def temporary_copy(cls, original: "Ledger | None") -> Generator["Ledger"]:
        """Yield a copy of *original*, or an empty ledger, which is deleted afterwards."""
        with TemporaryDirectory(prefix="replay-identity-") as folder:
            path = Path(folder) / "copy.db"
            if original is not None:
                original.copy_to(path)
            with cls(path) as copy:
                yield copy

    def copy_to(self, path: Path) -> None:
        """Write a copy of the ledger to *path*, which must not exist."""
        self._database.copy_to(path)

    def upsert(
        self,
        users: Iterable[UserTraits],
        backends: Iterable[str],
        *,
        replace: bool = False,
        on_inserted: Callable[[Sequence[Claim]], None] | None = None,
    ) -> Mapping[str, UpsertCounts]:
        """Upsert the desired state of *users* at *backends*; it is on disk when this returns.

        Traits are merged into those that were upserted before. If both have an `observed_at`, the newer one wins, field
        by field; otherwise the later call wins.

        Args:
            users: Users with an id or vendor ids. All are read before the file is locked.
            backends: Names of the backends.
            replace: True if each user is the whole desired state, like a row of a source. A rejected trait that the row
                does not repeat is then dropped, instead of being rejected forever.
            on_inserted: Called with claims on the users who were new to the ledger, once they are on disk. The holder
                of the lease may use them like those of `claim`, as long as they are `still_current`.

        Returns:
            The counts by name of the backend.

        Raises:
            InvalidTraitsError: A user has neither an id nor a vendor id; then no user is upserted.
        """
        backend_ids = {name: self._register_backend(name) for name in backends}
        incoming = [incoming_user(user, self._fingerprints) for user in users]
        with self._database.transaction() as db:
            (version,) = db.execute("UPDATE ledger SET version = version + 1 RETURNING version").fetchone()
            result = upsert_users(db, self._fingerprints, backend_ids, incoming, version=version, replace=replace)
        if on_inserted is not None:
            on_inserted([Claim(row_id, version, user) for row_id, user in result.inserted.items()])
        return result.counts

    def claim(
        self,
        backend: str,
        *,
        after: int = 0,
        before: int | None = None,
        count: int = 500,
        skip: RowIds = (),
        full_state: bool = False,
    ) -> list[Claim]:
        """Return up to *count* users who are pending at *backend*, in ascending order of row ids.

        A user who is not settled is claimed again: hold the `lease`, so that only one process delivers.

        Args:
            backend: Name of the backend.
            after: Only row ids above this one.
            before: Only row ids below this one.
            count: Maximum number of claims, below SQLite's 32,766 parameters.
            skip: Row ids to leave out, such as those in flight.
            full_state: True to claim the whole desired state, not only what the vendor has not confirmed.
        """
        backend_id = self._backend_id(backend)
        with self._database.transaction() as db:
            return claim_users(
                db,
                self._fingerprints,
                backend_id,
                after=after,
                before=before,
                count=count,
                skip=skip,
                full_state=full_state,
            )

    def still_current(self, backend: str, claims: Sequence[Claim]) -> list[Claim]:
        """Return the *claims* whose users are pending at *backend* and have not changed since."""
        clause, parameters = sql_in([claim.row_id for claim in claims])
        sql = f"SELECT desired.row_id, version FROM {_PENDING_USERS} WHERE desired.row_id {clause}"
        versions: dict[int, int] = dict(self._database.rows(sql, self._backend_id(backend), *parameters))
        return [claim for claim in claims if versions.get(claim.row_id) == claim.version]

    def settle(self, backend: str, settlements: Sequence[Settlement]) -> set[int]:
        """Record the outcomes of users at *backend*; *settlements* must not name a user twice.

        Returns:
            Row ids of the users who are no longer pending: they were accepted, skipped or rejected, and have not
            changed since the claim.
        """
        backend_id = self._backend_id(backend)
        with self._database.transaction() as db:
            return settle_users(db, self._fingerprints, backend_id, settlements, now=_now())

    def pending_count(self, backend: str) -> int:
        """Return how many users are pending at *backend*."""
        sql = "SELECT count(*) FROM pending WHERE backend = ?"
        return int(self._database.rows(sql, self._backend_id(backend))[0][0])

    def lease(self, backend: str) -> AbstractContextManager[bool]:
        """Hold the right to deliver to *backend* during a `with` block; yield False if another process holds it.

        The lease ends with the process, even if that is killed.
        """
        return take_lease(self.path, backend)

    def start_job(self, backend: str, batch: Batch) -> StoredJob:
        """Store a batch before it is sent."""
        backend_id = self._register_backend(backend)
        with self._database.transaction() as db:
            return insert_job(db, backend_id, batch, now=_now())

    def name_job(self, job: StoredJob, vendor_job: str) -> StoredJob:
        """Store the vendor's id of a job, and erase its body, which need not be sent again."""
        with self._database.transaction() as db:
            db.execute("UPDATE jobs SET vendor_job = ?, body = NULL WHERE id = ?", [vendor_job, job.id])
        return attrs.evolve(job, vendor_job=vendor_job)

    def split_job(self, backend: str, job: StoredJob, parts: Iterable[Batch]) -> list[StoredJob]:
        """Replace a job that the vendor did not accept by its *parts*, in one transaction."""
        backend_id = self._backend_id(backend)
        with self._database.transaction() as db:
            db.execute("DELETE FROM jobs WHERE id = ?", [job.id])
            return [insert_job(db, backend_id, part, now=_now()) for part in parts]

    def end_job(self, backend: str, job: StoredJob, settlements: Sequence[Settlement] = ()) -> set[int]:
        """Delete a job and settle its users, in one transaction; return what `settle` returns."""
        backend_id = self._backend_id(backend)
        with self._database.transaction() as db:
            db.execute("DELETE FROM jobs WHERE id = ?", [job.id])
            return settle_users(db, self._fingerprints, backend_id, settlements, now=_now())

    def jobs(self, backend: str) -> list[StoredJob]:
        """Return the jobs of *backend* that have not ended, the oldest first."""
        rows = self._database.rows(_SELECT_JOBS, self._backend_id(backend))
        return [StoredJob(*row) for row in rows]

    def entries(self, job: StoredJob) -> list[JobEntry]:
        """Return the entries of a job, in the order of the batch's items."""
        (row,) = self._database.rows("SELECT entries FROM jobs WHERE id = ?", job.id)
        with self._database.translated_errors():
            return decode_entries(row[0])

    def body(self, job: StoredJob) -> bytes:
        """Return the request body of a job whose id at the vendor is not known yet."""
        body: bytes = self._database.rows("SELECT body FROM jobs WHERE id = ?", job.id)[0][0]
        return body

    def checkpoint(self, name: str) -> Checkpoint | None:
        """Return where the read of that *name* resumes; None if it starts at the beginning."""
        rows = self._database.rows("SELECT token, stored_at, stats FROM checkpoints WHERE name = ?", name)
        return Checkpoint(*rows[0]) if rows else None

    def set_checkpoint(self, name: str, checkpoint: Checkpoint | None) -> None:
        """Store where the read of that *name* resumes; pass None when it has finished."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM checkpoints WHERE name = ?", [name])
            if checkpoint is not None:
                db.execute(
                    "INSERT INTO checkpoints (name, token, stored_at, stats) VALUES (?, ?, ?, ?)",
                    [name, checkpoint.token, checkpoint.stored_at, checkpoint.stats],
                )

    def counts(self) -> list[BackendCounts]:
        """Return the counts of each backend that users were ever upserted for."""
        return [
            BackendCounts(name, *self._database.rows(_SELECT_COUNTS, *[backend_id] * 5)[0])
            for backend_id, name in self._database.rows("SELECT id, name FROM backends ORDER BY id")
        ]

    def rejected(self, backend: str) -> Iterator[RejectedUser]:
        """Yield the users that *backend* rejected, and why."""
        for encoded, text, rejected_at in self._pages(_SELECT_REJECTED, backend):
            with self._database.translated_errors():
                rejected = RejectedUser(decode(encoded), decode_rejection(backend, text), rejected_at)
            yield rejected

    def losses(self, backend: str) -> Iterator[tuple[Adjustment, ...]]:
        """Yield what was lost at *backend*, per user; the ledger no longer knows who the users are."""
        for (text,) in self._pages(_SELECT_LOSSES, backend):
            with self._database.translated_errors():
                losses = decode_losses(text)
            yield losses

    def invalidate(self, backend: str) -> None:
        """Invalidate everything that *backend* confirmed, so that users are sent in full when they are upserted again.

        Use it when the vendor no longer has what it confirmed: another account, a wider route, other limits.
        """
        backend_id = self._backend_id(backend)
        with self._database.transaction() as db:
            # The fingerprints are erased as well, or all fields would count as confirmed as soon as one is.
            db.execute(
                "UPDATE confirmed SET user_fingerprint = x'', field_fingerprints = x'', in_doubt = 1 WHERE backend = ?",
                [backend_id],
            )

    def checkpoint_wal(self) -> bool:
        """Truncate SQLite's write-ahead log, so that no erased value is left in it.

        Return False if another process prevents it.
        """
        return self._database.checkpoint_wal()

    def requeue_rejected(self, backend: str) -> int:
        """Make the users that *backend* rejected pending again, and return how many."""
        backend_id = self._backend_id(backend)
        with self._database.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO pending (backend, row_id)"
                " SELECT backend, row_id FROM rejections WHERE backend = ?",
                [backend_id],
            )
            return db.execute("DELETE FROM rejections WHERE backend = ?", [backend_id]).rowcount

    def is_in_flight(self, user_id: str) -> bool:
        """Return True if a job in flight includes the user of that id."""
        with self._database.transaction() as db:
            return is_in_flight(db, user_id)

    def forget(self, user_id: str) -> bool:
        """Erase everything stored about the user of that id; return False if they are unknown.

        Raises:
            LedgerError: A job in flight includes the user; its results would store them again.
        """
        with self._database.transaction() as db:
            if is_in_flight(db, user_id):
                raise LedgerError(self.path, "a job in flight includes the user", "deliver first")
            was_known = erase_user(db, self._fingerprints, user_id)
        self.checkpoint_wal()
        return was_known

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _register_backend(self, name: str) -> int:
        """Return the id of a backend, which is inserted if it is new."""
        if not self._backend_id(name):
            with self._database.transaction() as db:
                db.execute("INSERT OR IGNORE INTO backends (name) VALUES (?)", [name])
        return self._backend_id(name)

    def _backend_id(self, name: str) -> int:
        """Return the id of a backend; 0, which no backend has, if users were never upserted for it."""
        if name not in self._backend_ids:
            rows = self._database.rows("SELECT id FROM backends WHERE name = ?", name)
            if not rows:
                return 0
            self._backend_ids[name] = rows[0][0]
        return self._backend_ids[name]

    def _pages(self, sql: str, backend: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows that *sql* selects, page by page, so that other threads and processes can work in between."""
        after = 0
        while rows := self._database.rows(sql, self._backend_id(backend), after, MAX_ROWS):
            yield from (row[1:] for row in rows)
            after = rows[-1][0]


_PENDING_USERS: Final = "desired JOIN pending ON backend = ? AND pending.row_id = desired.row_id"
_SELECT_JOBS: Final = "SELECT id, idempotency_key, size, created_at, vendor_job FROM jobs WHERE backend = ? ORDER BY id"
_SELECT_COUNTS: Final = (
    "SELECT (SELECT count(*) FROM pending WHERE backend = ?), (SELECT count(*) FROM confirmed WHERE backend = ?),"
    " (SELECT count(*) FROM rejections WHERE backend = ?), (SELECT count(*) FROM losses WHERE backend = ?),"
    " (SELECT count(*) FROM jobs WHERE backend = ?)"
)
_SELECT_REJECTED: Final = (
    "SELECT rejections.row_id, encoded, text, rejected_at FROM rejections"
    " JOIN desired ON desired.row_id = rejections.row_id JOIN reasons ON id = reason"
    " WHERE backend = ? AND rejections.row_id > ? ORDER BY rejections.row_id LIMIT ?"
)
_SELECT_LOSSES: Final = (
    "SELECT row_id, text FROM losses JOIN reasons ON id = reason"
    " WHERE backend = ? AND row_id > ? ORDER BY row_id LIMIT ?"
)


def _now() -> int:
    return int(time.time())
