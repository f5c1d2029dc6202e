"""The ledger: the desired state of every user and what each vendor confirmed of it."""

import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import attrs

from ..errors import InvalidTraitsError
from ..outcomes import Adjustment
from ..traits import UserTraits
from .batches import Batch, JobEntries, StoredJob
from .codec import Fingerprints, encode, names_in, unpack
from .merging import field_names
from .sqlite_store import SqliteStore
from .store import (
    Account,
    AccountCounts,
    AccountInfo,
    Checkpoint,
    Claim,
    IncomingUser,
    MirrorStart,
    MutableRowIds,
    PathsOf,
    RecentRejection,
    RejectedUser,
    RowIds,
    Settlement,
    Store,
    UpsertCounts,
    UserStatus,
    VanishedUser,
)


class Ledger:
    """The desired state of every user and what each vendor confirmed of it. Safe for threads, processes and forks.

    Methods that take a *backend* take an `Account`, or the name of a backend, which means the account that the ledger
    was last used for under that name.

    Args:
        path: The file, which is created if it does not exist; ``:memory:`` keeps everything in memory.

    Raises:
        LedgerError: The file cannot be used; every method may raise it.
    """

    def __init__(self, path: str | Path) -> None:
        self._store: Store = SqliteStore(path)

    @property
    def path(self) -> str:
        """Return the absolute path of the file."""
        return self._store.path

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
        self._store.copy_to(path)

    def open_account(self, account: Account) -> AccountInfo:
        """Register *account* as the one that its backend uses from now on, and return what was known of it."""
        return self._store.open_account(account)

    def adopt_account(self, account: Account) -> bool:
        """Give *account* the state of the account used before it under the same backend name.

        Use it when only the key was rotated, and the account at the vendor is the same. An account does so only once,
        so that repeating the call does no harm. Return False if there was nothing to take over.
        """
        return self._store.adopt_account(account)

    def learn_organisation(self, account: str, name: str) -> str | None:
        """Store the *account* of a key as *name*, which is that of its organisation, from now on.

        What was stored under the key is renamed; if the organisation is known from another key, the two become one. If
        another process is delivering to one of the two at the moment, nothing is changed.

        Return the account of another organisation that the key belonged to until now, or None.
        """
        return self._store.learn_organisation(account, name)

    def stored_name(self, account: str) -> str:
        """Return the name of the organisation's account if *account* is that of one of its keys, else *account*."""
        return self._store.stored_name(account)

    def upsert(
        self,
        users: Iterable[UserTraits],
        backends: Iterable[str | Account],
        *,
        replace: bool = False,
        on_inserted: Callable[[Sequence[Claim]], None] | None = None,
        held: MutableRowIds | None = None,
        more_follow: Callable[[UserTraits], bool] | None = None,
    ) -> Mapping[str, UpsertCounts]:
        """Upsert the desired state of *users* at *backends*; it is on disk when this returns.

        Traits are merged into those that were upserted before. If both have an `observed_at`, the newer one wins, field
        by field; otherwise the later call wins.

        Args:
            users: Users with an id or vendor ids. All are read before the file is locked.
            backends: The backends.
            replace: True if each user is the whole desired state, like a row of a source. A rejected trait that the row
                does not repeat is then dropped, instead of being rejected forever.
            on_inserted: Called with claims on the users who were new to the ledger, once they are on disk. The holder
                of the lease may use them like those of `claim`, as long as they are `still_current`.
            held: Row ids of users who must not be delivered yet, to be skipped by `claim`. Users with further rows
                follow are added, other users of this call are removed.
            more_follow: Called once for each of *users*, in order; returns True if more rows about the user follow.

        Returns:
            The counts by name of the backend.

        Raises:
            InvalidTraitsError: A user has neither an id nor a vendor id; then no user is upserted.
        """
        accounts = [_account(backend) for backend in backends]
        fingerprints = self._store.fingerprints
        incoming = [_incoming(user, fingerprints, more_follow) for user in users]
        result = self._store.upsert(incoming, accounts, replace=replace, held=held)
        if on_inserted is not None:
            on_inserted([Claim(row_id, result.version, user) for row_id, user in result.inserted.items()])
        return result.counts

    def unchanged(self, users: Sequence[tuple[str, bytes]], backends: Iterable[str | Account]) -> list[bool]:
        """Return True for each of *users* that `upsert` would only count as unchanged at all *backends*.

        It changes nothing and never waits for another process. False may also be returned of a user who is unchanged,
        for example while another backend has yet to receive them.

        Args:
            users: Ids, and the users of these ids as `codec.encode` returns them; no id may occur twice.
            backends: The backends.
        """
        return self._store.unchanged(users, [_account(backend) for backend in backends])

    def claim(
        self,
        backend: str | Account,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 500,
        skip: RowIds = (),
        now: float | None = None,
    ) -> list[Claim]:
        """Return up to *limit* users who are pending at *backend*, in ascending order of row ids.

        A user who is not settled is claimed again: hold the `lease`, so that only one process delivers.

        Args:
            backend: The backend.
            after: Only row ids above this one.
            before: Only row ids below this one.
            limit: Maximum number of claims, below SQLite's 32,766 parameters.
            skip: Row ids to leave out, such as those in flight.
            now: Seconds since 1970; users who are deferred beyond it are left out. By default the current time.
        """
        moment = time.time() if now is None else now
        return self._store.claim(_account(backend), after=after, before=before, limit=limit, now=moment, skip=skip)

    def still_current(self, backend: str | Account, claims: Sequence[Claim]) -> list[Claim]:
        """Return the *claims* whose users are pending at *backend* and have not changed since."""
        return self._store.still_current(_account(backend), claims)

    def compare(self, claim: Claim, fields: Mapping[str, object]) -> tuple[Claim, Collection[str] | None]:
        """Compare *fields*, as a backend encodes them for its vendor, with what the vendor has confirmed.

        Return the claim to settle, which remembers the fields, and the names of the fields that differ; None if nothing
        counts as confirmed.
        """
        packed = self._store.fingerprints.of_fields(fields)
        compared = Claim(
            claim.row_id,
            claim.version,
            claim.user,
            claim.removed,
            claim.confirmed,
            claim.in_doubt,
            claim.rejection,
            packed,
        )
        if claim.in_doubt or not claim.confirmed:
            return compared, None
        before, now = unpack(claim.confirmed), unpack(packed)
        return compared, {field for field, name in zip(fields, now, strict=True) if before.get(name) != now[name]}

    def stored_names(self, claim: Claim) -> Collection[str]:
        """Return the names of the fields that the vendor has of the user of *claim*, or may have."""
        return self._store.field_names(names_in(claim.confirmed))

    def settle(
        self, backend: str | Account, settlements: Sequence[Settlement], *, paths_of: PathsOf = field_names
    ) -> set[int]:
        """Record the outcomes of users at *backend*; *settlements* must not name a user twice.

        If another process has opened the account with other settings since, every user stays pending.

        Args:
            backend: The backend.
            settlements: The outcomes.
            paths_of: Returns the paths of what the backend sends of a user, as losses name them. By default the user's
                own fields.

        Returns:
            Row ids of the users who are no longer pending: they were accepted, skipped or rejected, and have not
            changed since the claim.
        """
        return self._store.settle(_account(backend), settlements, paths_of=paths_of, now=_now())

    def has_other_settings(self, account: Account) -> bool:
        """Return True if another process has opened *account* with other settings since this one did."""
        return self._store.has_other_settings(account)

    def pending_count(self, backend: str | Account, *, due_at: float | None = None) -> int:
        """Return how many users are pending at *backend*, or how many may be sent *due_at* that time since 1970."""
        return self._store.pending_count(_account(backend), due_at=due_at)

    def pending_at_vendor(self, backend: str | Account) -> int:
        """Return how many users are pending at the vendor's account of *backend*, under whatever name of a backend."""
        return self._store.pending_at_vendor(_account(backend))

    def next_due(self, backend: str | Account, *, now: float) -> float | None:
        """Return when the first user who was deferred beyond *now* may be sent, in seconds since 1970, or None."""
        return self._store.next_due(_account(backend), now=now)

    def vendor_accounts(self, backends: Iterable[str] = ()) -> list[Account]:
        """Return one account for each account at a vendor that the ledger was used for, or is used for by *backends*.

        They come in the order in which leases on several of them are to be taken.
        """
        return self._store.vendor_accounts(list(backends))

    def lease(self, backend: str | Account) -> AbstractContextManager[bool]:
        """Hold the right to deliver to *backend* during a `with` block; yield False if it is held already.

        Backends whose account at the vendor is the same take turns, so that neither overtakes the other. The lease ends
        with the process, even if that is killed.
        """
        return self._store.lease(_account(backend))

    def start_job(self, backend: str | Account, batch: Batch) -> StoredJob:
        """Store a batch before it is sent."""
        (job,) = self._store.start_jobs(_account(backend), [batch], replaced=None, now=_now())
        return job

    def name_job(self, job: StoredJob, vendor_job: str) -> StoredJob:
        """Store the vendor's id of a job, and erase its body, which need not be sent again."""
        self._store.name_job(job, vendor_job)
        return attrs.evolve(job, vendor_job=vendor_job)

    def split_job(self, backend: str | Account, job: StoredJob, parts: Iterable[Batch]) -> list[StoredJob]:
        """Replace a job that the vendor did not accept by its *parts*, in one transaction."""
        return self._store.start_jobs(_account(backend), parts, replaced=job, now=_now())

    def end_job(
        self,
        backend: str | Account,
        job: StoredJob,
        settlements: Sequence[Settlement] = (),
        *,
        paths_of: PathsOf = field_names,
    ) -> set[int]:
        """Delete a job and settle its users, in one transaction; see `settle`."""
        return self._store.end_job(_account(backend), job, settlements, paths_of=paths_of, now=_now())

    def jobs(self, backend: str | Account) -> list[StoredJob]:
        """Return the jobs of *backend* that have not ended, the oldest first."""
        return self._store.jobs(_account(backend))

    def entries(self, job: StoredJob) -> JobEntries:
        """Return the entries of a job, in the order of the batch's items."""
        return self._store.entries(job)

    def body(self, job: StoredJob) -> bytes:
        """Return the request body of a job whose id at the vendor is not known yet."""
        return self._store.body(job)

    def checkpoint(self, name: str) -> Checkpoint | None:
        """Return where the read of that *name* resumes; None if it starts at the beginning."""
        return self._store.checkpoint(name)

    def set_checkpoint(self, name: str, checkpoint: Checkpoint | None) -> None:
        """Store where the read of that *name* resumes; pass None when it has finished."""
        self._store.set_checkpoint(name, checkpoint)

    def counts(self) -> list[AccountCounts]:
        """Return the counts of each account that the ledger was used for, the one used last at the end."""
        return self._store.counts()

    def rejected(self, backend: str | Account) -> Iterator[RejectedUser]:
        """Yield the users that *backend* rejected, and why."""
        return self._store.rejected(_account(backend))

    def rejected_since(self, backend: str | Account, version: int) -> list[RecentRejection]:
        """Return the users that *backend* rejected after that version of the ledger, which `open_account` returned."""
        return self._store.rejected_since(_account(backend), version)

    def losses(self, backend: str | Account) -> Iterator[tuple[Adjustment, ...]]:
        """Yield what was lost at *backend*, per user; the ledger no longer knows who the users are."""
        return self._store.losses(_account(backend))

    def status_of(self, user_id: str) -> UserStatus | None:
        """Return the state of the user of that id at each account, or None if the ledger does not know them."""
        return self._store.status_of(user_id)

    def invalidate(self, backend: str | Account) -> None:
        """Invalidate everything that *backend* confirmed, so that users are sent in full when they are upserted again.

        Use it when the vendor no longer has what it confirmed, for example after users were deleted there.
        """
        self._store.invalidate(_account(backend))

    def purge(self) -> bool:
        """Purge erased values from the disk; return False if another process prevents it."""
        return self._store.purge()

    def requeue_rejected(self, backend: str | Account) -> int:
        """Make the users that *backend* rejected pending again, and return how many."""
        return self._store.requeue_rejected(_account(backend))

    def is_in_flight(self, user_id: str) -> bool:
        """Return True if a job in flight includes the user of that id."""
        return self._store.is_in_flight(user_id)

    def forget(self, user_id: str) -> bool:
        """Erase everything stored about the user of that id; return False if they are unknown.

        Raises:
            LedgerError: A job in flight includes the user; its results would store them again.
        """
        return self._store.forget(user_id)

    def begin_mirror(self) -> MirrorStart:
        """Begin a run of the mirror: one source, of which the ledger keeps the ids of all users."""
        return self._store.begin_mirror()

    def mark_mirrored(self, run: int, user_ids: Collection[str]) -> None:
        """Record that the source has these users in that *run*; a user who came back has not vanished."""
        self._store.mark_mirrored(run, user_ids)

    def end_mirror(self, run: int) -> int:
        """Record that a *run* has read its whole source, and return how many users have vanished."""
        return self._store.end_mirror(run)

    def vanished(self, run: int, *, after: str = "", limit: int = 500) -> list[VanishedUser]:
        """Return up to *limit* users who were in the source before that *run*, with ids above *after*, in order."""
        return self._store.vanished(run, after=after, limit=limit)

    def forget_vanished(self, user_ids: Collection[str]) -> set[str]:
        """Erase everything stored about these users, except that they vanished.

        Return the ids of those who are in a job in flight, whose results would store them again; they are not erased.
        """
        return self._store.forget_vanished(user_ids)

    def settle_vanished(self, run: int, users: Sequence[VanishedUser], *, accounts: Collection[str]) -> None:
        """Record where *users* were deleted; erase the ids of those who were deleted at all *accounts*.

        A user who came back since that *run* has not vanished, and stays.
        """
        self._store.settle_vanished(run, users, accounts=accounts)

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _incoming(
    user: UserTraits, fingerprints: Fingerprints, more_follow: Callable[[UserTraits], bool] | None
) -> IncomingUser:
    id_fingerprint = fingerprints.of_id(user)
    if id_fingerprint is None:
        raise InvalidTraitsError(
            "user_id", "the id and the vendor ids are missing; a ledger needs one of them to find the user again"
        )
    is_held = more_follow is not None and more_follow(user)
    return IncomingUser(id_fingerprint, user, encode(user), is_held)


def _account(backend: str | Account) -> Account:
    return backend if isinstance(backend, Account) else Account(backend)


def _now() -> int:
    return int(time.time())
