"""What every user should be, what each vendor holds, and what lies between: one SQLite file."""

import sqlite3
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
from .claims import Claim, Claiming, RowIds
from .codec import Fingerprints, decode
from .database import Database, sql_in
from .jobs import Batch, JobEntry, StoredJob, insert_job, read_members
from .lease import take_lease
from .settlements import Rejection, Settle, Settlement, forget_user, is_in_flight, read_loss, read_rejection
from .upserts import IncomingUser, Put, UpsertCounts, to_given


@attrs.frozen
class Checkpoint:
    """Where a reading goes on.

    Attributes:
        token: What the next page is asked for with.
        stored_at: When it was stored, in seconds since 1970.
        stats: What was counted so far, as JSON.
    """

    token: str = attrs.field(repr=False)
    stored_at: int
    stats: bytes = attrs.field(repr=False)


def read_checkpoint(database: Database, reading: str) -> Checkpoint | None:
    """Return the bookmark of the *reading* of that name, or None."""
    rows = database.rows("SELECT token, moment, record FROM bookmarks WHERE reading = ?", reading)
    return Checkpoint(*rows[0]) if rows else None


def write_checkpoint(database: Database, reading: str, checkpoint: Checkpoint | None) -> None:
    """Store the *checkpoint* of a reading in place of any other, or take it out where it is None."""
    with database.transaction() as db:
        db.execute("DELETE FROM bookmarks WHERE reading = ?", [reading])
        if checkpoint is not None:
            db.execute(
                "INSERT INTO bookmarks VALUES (?, ?, ?, ?)",
                [reading, checkpoint.token, checkpoint.stored_at, checkpoint.stats],
            )


# Users in one statement, so that SQLite prepares few different ones.
_GROUP: Final = 500


@attrs.frozen
class BackendCounts:
    """How many users stand where at one backend.

    Attributes:
        backend: Name of the backend.
        due: Users to be sent, those of jobs under way among them.
        held: Users whom the vendor has confirmed at least once.
        rejected: Users it refused as they are.
        lossy: Users of whom the vendor did not get all.
        jobs: Batches under way.
    """

    backend: str
    pending: int
    confirmed: int
    rejected: int
    lossy: int
    jobs: int


@attrs.frozen
class RejectedUser:
    """One user whom a backend refused, and why.

    Attributes:
        user: What was to be sent.
        rejection: What the backend answered.
        rejected_at: When, in seconds since 1970.
    """

    user: UserTraits
    rejection: Rejection
    rejected_at: int


class Ledger:
    """The desired state of every user and what each vendor confirmed of it. Safe under threads, processes and forks.

    Args:
        path: The file, made if it does not exist; ``:memory:`` for one that is forgotten.

    Raises:
        LedgerError: The file cannot be used, here and in every method.
    """

    def __init__(self, path: str | Path) -> None:
        self._database = Database(path)
        try:
            key: bytes = self._database.rows("SELECT key FROM ledger")[0][0]
        except BaseException:
            self._database.close()
            raise
        self._fingerprints = Fingerprints(key)
        self._backends: dict[str, int] = {}

    @property
    def path(self) -> str:
        """Return the name of the file."""
        return self._database.path

    @classmethod
    @contextmanager
    def temporary_copy(cls, original: "Ledger | None") -> Generator["Ledger"]:
        """Lend a copy of *original*, or an empty ledger, that is thrown away afterwards."""
        with TemporaryDirectory(prefix="replay-identity-") as folder:
            path = Path(folder) / "scratch.db"
            if original is not None:
                original.copy_to(path)
            with cls(path) as copy:
                yield copy

    def copy_to(self, path: Path) -> None:
        """Write a copy of the ledger, as it is now, to *path*."""
        self._database.copy_to(path)

    def upsert(
        self,
        users: Iterable[UserTraits],
        backends: Iterable[str],
        *,
        replace: bool = False,
        on_inserted: Callable[[Sequence[Claim]], None] | None = None,
    ) -> Mapping[str, UpsertCounts]:
        """Take in what *users* should be at the *backends* of these names; it is on disk when this returns.

        Traits given now are merged into those given before. Of two that say when they were observed, the newer wins;
        otherwise the later.

        Args:
            users: Users, of whom nobody is anonymous. All are read before others are kept from writing.
            backends: Names of the backends.
            replace: Whether each user says all that is wanted of them, as a row of a source does. Then what was refused
                and is not said again is wanted no more, instead of being refused for ever.
            on_inserted: Called with claims to the users that were new to the ledger, once they are on disk. The
                holder of a lease may use them like those of `claim`, as long as they are `still_current`.

        Raises:
            InvalidTraitsError: A user has no id at all; then none of them is taken.
        """
        wanted = {name: self._register(name) for name in backends}
        given = [to_given(user, self._fingerprints) for user in users]
        with self._database.transaction() as db:
            (version,) = db.execute("UPDATE ledger SET version = version + 1 RETURNING version").fetchone()
            put = Put(db, self._fingerprints, wanted, version, replace)
            for batch in _without_repetitions(given):
                put.put(batch)
        if on_inserted is not None:
            on_inserted([Claim(row_id, version, user) for row_id, user in put.new.items()])
        return put.counts

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
        """Return at most *count* users due at *backend*, in the order of their places.

        Who is not settled is claimed again; so let one process at a time deliver to a backend (see `turn`).

        Args:
            backend: Name of the backend.
            after: Only places beyond this one.
            before: Only places below this one.
            count: Most claims, below SQLite's 32,766 parameters.
            skip: Places to pass over, such as those under way.
            full_state: Whether to claim all of a user, and not only what the backend has not confirmed.
        """
        number = self._backend(backend)
        with self._database.transaction() as db:
            return Claiming(db, self._fingerprints, number).claim((after, before), count, skip, full_state=full_state)

    def still_current(self, backend: str, claims: Sequence[Claim]) -> list[Claim]:
        """Return those of *claims* to users who are due at *backend*, and of whom nothing more was put since."""
        these, parameters = sql_in([claim.row_id for claim in claims])
        sql = f"SELECT desired.user, version FROM {_DUE} WHERE desired.user {these}"
        versions: dict[int, int] = dict(self._database.rows(sql, self._backend(backend), *parameters))
        return [claim for claim in claims if versions.get(claim.row_id) == claim.version]

    def settle(self, backend: str, settlements: Sequence[Settlement]) -> set[int]:
        """Take note of what became of users at *backend*, in which nobody is twice.

        Return the places of those who are due no more: they were accepted, skipped or refused, and nothing more was
        put since the claim.
        """
        number = self._backend(backend)
        with self._database.transaction() as db:
            return self._settle(db, number, settlements)

    def pending_count(self, backend: str) -> int:
        """Return how many users are due at *backend*."""
        return int(self._database.rows("SELECT count(*) FROM due WHERE backend = ?", self._backend(backend))[0][0])

    def lease(self, backend: str) -> AbstractContextManager[bool]:
        """Hold the right to deliver to *backend*, which one process has at a time; False if another one has it.

        It ends with the process, however that ends.
        """
        return take_lease(self.path, backend)

    def start_job(self, backend: str, batch: Batch) -> StoredJob:
        """Store a batch before it is sent."""
        number = self._register(backend)
        with self._database.transaction() as db:
            return insert_job(db, number, batch, _now())

    def name_job(self, job: StoredJob, vendor_job: str) -> StoredJob:
        """Store the vendor's id of a batch; what was sent is erased, since it need not be sent again."""
        with self._database.transaction() as db:
            db.execute("UPDATE jobs SET vendor_job = ?, body = NULL WHERE id = ?", [vendor_job, job.id])
        return attrs.evolve(job, vendor_job=vendor_job)

    def split_job(self, backend: str, job: StoredJob, parts: Iterable[Batch]) -> list[StoredJob]:
        """Store the *parts* of a batch that was never taken in place of it, both or nothing."""
        number = self._backend(backend)
        with self._database.transaction() as db:
            db.execute("DELETE FROM jobs WHERE id = ?", [job.id])
            return [insert_job(db, number, part, _now()) for part in parts]

    def end_job(self, backend: str, job: StoredJob, settlements: Sequence[Settlement] = ()) -> set[int]:
        """Forget a batch and take note of what became of its users, both or nothing; return as `settle`."""
        number = self._backend(backend)
        with self._database.transaction() as db:
            db.execute("DELETE FROM jobs WHERE id = ?", [job.id])
            return self._settle(db, number, settlements)

    def jobs(self, backend: str) -> list[StoredJob]:
        """Return the batches under way at *backend*, the oldest first."""
        rows = self._database.rows(_JOBS, self._backend(backend))
        return [StoredJob(*row) for row in rows]

    def entries(self, job: StoredJob) -> list[JobEntry]:
        """Return who is in a batch under way, in the order of its items."""
        (row,) = self._database.rows("SELECT members FROM jobs WHERE id = ?", job.id)
        with self._database.problems():
            return read_members(row[0])

    def body(self, job: StoredJob) -> bytes:
        """Return the bytes of a batch that the vendor has not taken yet."""
        body: bytes = self._database.rows("SELECT body FROM jobs WHERE id = ?", job.id)[0][0]
        return body

    def checkpoint(self, reading: str) -> Checkpoint | None:
        """Return where the *reading* of that name goes on, or None if it was not begun, or finished."""
        return read_checkpoint(self._database, reading)

    def set_checkpoint(self, reading: str, checkpoint: Checkpoint | None) -> None:
        """Store where a *reading* goes on; None once it is finished."""
        write_checkpoint(self._database, reading, checkpoint)

    def counts(self) -> list[BackendCounts]:
        """Return how many users stand where, for each backend that users were ever put for."""
        return [
            BackendCounts(name, *self._database.rows(_STANDING, *[backend] * 5)[0])
            for backend, name in self._database.rows("SELECT id, name FROM backends ORDER BY id")
        ]

    def rejected(self, backend: str) -> Iterator[RejectedUser]:
        """Yield the users whom *backend* refused, and why."""
        for encoded, text, moment in self._in_groups(_REJECTED, backend):
            with self._database.problems():
                rejected = RejectedUser(decode(encoded), read_rejection(backend, text), moment)
            yield rejected

    def losses(self, backend: str) -> Iterator[tuple[Adjustment, ...]]:
        """Yield what *backend* did not get, for each user of whom it did not get all; their ids are no longer known."""
        for (text,) in self._in_groups(_LOSSES, backend):
            with self._database.problems():
                loss = read_loss(text)
            yield loss

    def invalidate(self, backend: str) -> None:
        """Have whoever is put from now on sent to *backend* in full, whatever it confirmed.

        For when it no longer holds what it confirmed: another account, a route that shows more, other limits.
        """
        number = self._backend(backend)
        with self._database.transaction() as db:
            # Without the digests: once one field is confirmed again, the others are not.
            db.execute("UPDATE held SET whole = x'', fields = x'', in_doubt = 1 WHERE backend = ?", [number])

    def checkpoint_wal(self) -> bool:
        """Empty SQLite's log into the file, so that no erased value is left in it; False if others are at it."""
        return self._database.checkpoint_wal()

    def requeue_rejected(self, backend: str) -> int:
        """Make everyone due again whom *backend* refused, and return how many they are."""
        number = self._backend(backend)
        with self._database.transaction() as db:
            db.execute("INSERT OR IGNORE INTO due SELECT backend, user FROM refusals WHERE backend = ?", [number])
            return db.execute("DELETE FROM refusals WHERE backend = ?", [number]).rowcount

    def is_in_flight(self, user_id: str) -> bool:
        """Tell whether a batch under way holds the user of that id."""
        with self._database.transaction() as db:
            return is_in_flight(db, user_id)

    def forget(self, user_id: str) -> bool:
        """Erase all that is kept of the user of that id, and tell whether there was anything.

        Raises:
            LedgerError: A batch under way holds the user, and could bring them back.
        """
        with self._database.transaction() as db:
            if is_in_flight(db, user_id):
                raise LedgerError(self.path, "has a batch under way that holds the user", "deliver first")
            was_known = forget_user(db, self._fingerprints, user_id)
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

    def _settle(self, db: sqlite3.Connection, backend: int, settlements: Sequence[Settlement]) -> set[int]:
        settle = Settle(db, self._fingerprints, backend, _now())
        groups = (settlements[start : start + _GROUP] for start in range(0, len(settlements), _GROUP))
        return {row_id for group in groups for row_id in settle.settle(group)}

    def _register(self, name: str) -> int:
        """Return the ledger's id of the backend of that *name*, which is given one if it is new."""
        if not self._backend(name):
            with self._database.transaction() as db:
                db.execute("INSERT OR IGNORE INTO backends (name) VALUES (?)", [name])
        return self._backend(name)

    def _backend(self, name: str) -> int:
        """Return the ledger's id of the backend of that *name*; 0 if nobody was ever put for it."""
        if name not in self._backends:
            rows = self._database.rows("SELECT id FROM backends WHERE name = ?", name)
            if not rows:
                return 0
            self._backends[name] = rows[0][0]
        return self._backends[name]

    def _in_groups(self, sql: str, backend: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows that *sql* selects of *backend*, some at a time, so that others get their turn."""
        after = 0
        while rows := self._database.rows(sql, self._backend(backend), after, _GROUP):
            yield from (row[1:] for row in rows)
            after = rows[-1][0]


_DUE: Final = "desired JOIN due ON backend = ? AND due.user = desired.user"
_JOBS: Final = "SELECT id, idempotency_key, size, created_at, vendor_job FROM jobs WHERE backend = ? ORDER BY id"
_STANDING: Final = (
    "SELECT (SELECT count(*) FROM due WHERE backend = ?), (SELECT count(*) FROM held WHERE backend = ?),"
    " (SELECT count(*) FROM refusals WHERE backend = ?), (SELECT count(*) FROM losses WHERE backend = ?),"
    " (SELECT count(*) FROM jobs WHERE backend = ?)"
)
_REJECTED: Final = (
    "SELECT refusals.user, traits, text, rejected_at FROM refusals JOIN desired ON desired.user = refusals.user"
    " JOIN reasons ON id = reason WHERE backend = ? AND refusals.user > ? ORDER BY refusals.user LIMIT ?"
)
_LOSSES: Final = (
    "SELECT user, text FROM losses JOIN reasons ON id = reason WHERE backend = ? AND user > ? ORDER BY user LIMIT ?"
)


def _now() -> int:
    return int(time.time())


def _without_repetitions(given: Iterable[IncomingUser]) -> Iterator[list[IncomingUser]]:
    """Yield *given* in groups in which nobody is twice, in order."""
    group: dict[bytes, IncomingUser] = {}
    for one in given:
        if one.identity in group or len(group) == _GROUP:
            yield list(group.values())
            group = {}
        group[one.identity] = one
    if group:
        yield list(group.values())
