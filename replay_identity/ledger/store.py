"""The records of a ledger, and the protocol of the store that keeps them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeAlias

import attrs

from .._records import fast_frozen
from ..outcomes import Adjustment, Broken, Outcome, Rejected
from ..traits import UserTraits, fingerprint
from .batches import Batch, JobEntries, StoredJob
from .codec import Fingerprints

Rejection: TypeAlias = Rejected | Broken
# Returns the paths of what a backend sends of a user, as losses name them.
PathsOf: TypeAlias = Callable[[UserTraits], Collection[str]]


@attrs.frozen
class Account:
    """One backend at one account of its vendor.

    Users are pending at it. What the vendor has confirmed is shared by all backends whose account has the same name.

    Attributes:
        backend: Name of the backend.
        name: Printable name of the account, without secrets. An empty one stands for the account that was used last
            under the backend's name.
        encoding: Everything besides the user that decides what the backend sends.
    """

    backend: str
    name: str = ""
    encoding: str = attrs.field(default="", repr=False)


@attrs.frozen
class AccountInfo:
    """What a ledger knew of an account when it was opened.

    Attributes:
        is_new: True if the ledger has never been used for the account.
        others: The accounts that the ledger has been used for under the same backend name, the latest first.
        version: Version of the ledger: every later upsert and rejection has a higher one.
    """

    is_new: bool
    others: tuple["AccountCounts", ...] = ()
    version: int = attrs.field(default=0, eq=False)


@attrs.frozen
class AccountCounts:
    """How many users are in which state at one account.

    Attributes:
        backend: Name of the backend.
        account: Printable name of the account; empty if it is not known.
        pending: Users to send, including those of jobs in flight.
        confirmed: Users that the vendor has confirmed at least once.
        rejected: Users that the backend rejected and that have not changed since.
        lossy: Users that the vendor received only in part, because of its limits.
        jobs: Import jobs in flight.
    """

    backend: str
    account: str
    pending: int
    confirmed: int
    rejected: int
    lossy: int
    jobs: int


@fast_frozen
class IncomingUser:
    """One user to upsert, with the fingerprint of their id.

    Attributes:
        id_fingerprint: Fingerprint of the id.
        user: The user.
        encoded: The user, encoded for storage.
        is_held: True if the user must not be delivered yet.
    """

    id_fingerprint: bytes
    user: UserTraits
    encoded: bytes = attrs.field(repr=False)
    is_held: bool = False


@attrs.define
class UpsertCounts:
    """How many users an upsert put into which state at one backend.

    Attributes:
        pending: Users that became pending.
        already_pending: Users that were pending before; one request delivers both changes.
        unchanged: Users that are as the vendor confirmed them.
        rejected: Users that have not changed since they were rejected, and would be rejected again.
        versions: The versions of the desired states that the upserts changed, and of those in between.
    """

    pending: int = 0
    already_pending: int = 0
    unchanged: int = 0
    rejected: int = 0
    versions: range = attrs.field(default=range(0), eq=False, repr=False)

    def add(self, other: "UpsertCounts") -> None:
        """Add the counts of *other*, which came later, to these."""
        self.versions = range((self.versions or other.versions).start, other.versions.stop)
        self.pending += other.pending
        self.already_pending += other.already_pending
        self.unchanged += other.unchanged
        self.rejected += other.rejected


@attrs.define
class UpsertResult:
    """What an upsert did.

    Attributes:
        version: Version of the desired states that it changed.
        counts: Counts by name of the backend.
        inserted: Users who were new to the ledger and are not held, by row id.
        released: Row ids of users who were held and may be delivered now.
    """

    version: int
    counts: Mapping[str, UpsertCounts]
    inserted: Mapping[int, UserTraits] = attrs.field(repr=False)
    released: Sequence[int] = attrs.field(default=(), repr=False)


@fast_frozen
class Claim:
    """One user to send to one backend.

    Attributes:
        row_id: The user's key in the ledger; claims come in ascending order.
        version: Version of the desired state: the number of the upsert that changed it last.
        user: The whole desired state.
        removed: Dotted paths of traits that were removed since the state was last confirmed everywhere, some of which
            may have been set again.
        confirmed: What the vendor has confirmed, as packed fingerprints by field.
        in_doubt: True if a request since then has had no answer, so that nothing counts as confirmed.
        rejection: The outcome if the backend rejected the same desired state before, else None.
        fields: The fields as they are about to be sent, as packed fingerprints.
    """

    row_id: int
    version: int
    user: UserTraits = attrs.field(repr=False)
    removed: tuple[str, ...] = attrs.field(default=(), repr=False)
    confirmed: bytes = attrs.field(default=b"", repr=False)
    in_doubt: bool = False
    rejection: Rejection | None = None
    fields: bytes = attrs.field(default=b"", repr=False)


@fast_frozen
class Settlement:
    """The outcome for one user at one backend.

    Attributes:
        row_id: The user's key in the ledger.
        version: Version of the desired state that was sent.
        outcome: The backend's outcome.
        fields: The user's fields as encoded for the vendor, as packed fingerprints.
        in_doubt: True if the claim was in doubt.
        lost: What the vendor's limits keep from it of a user who did not have to be sent.
        not_before: If the user stays pending: when they may be claimed again, in seconds since 1970.
    """

    row_id: int
    version: int
    outcome: Outcome
    fields: bytes = attrs.field(default=b"", repr=False)
    in_doubt: bool = False
    lost: tuple[Adjustment, ...] = ()
    not_before: float = 0


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


@attrs.frozen
class RecentRejection:
    """A rejection of which another process may not know.

    Attributes:
        row_id: The user's key in the ledger.
        version: Version of the desired state that was rejected.
        since: Version of the ledger when the user became pending.
    """

    row_id: int
    version: int
    since: int


@attrs.frozen
class AccountStatus:
    """The state of one user at one account.

    Attributes:
        backend: Name of the backend.
        account: Printable name of the account; empty if it is not known.
        pending: True if the desired state has yet to be sent or confirmed.
        not_before: If the user was deferred: when they may be sent again, in seconds since 1970; else None.
        in_doubt: True if something was sent since the last confirmation, without an answer.
        in_job: True if an import job in flight includes the user.
        confirmed_at: When the vendor last confirmed the user, in seconds since 1970, or None.
        confirmed_fields: Names of the fields that the vendor has confirmed, as it knows them.
        rejection: The outcome that rejected the user, or None.
        rejected_at: When, in seconds since 1970, or None.
        losses: What the vendor did not get, because of its limits.
    """

    backend: str
    account: str
    pending: bool = False
    not_before: float | None = None
    in_doubt: bool = False
    in_job: bool = False
    confirmed_at: int | None = None
    confirmed_fields: tuple[str, ...] = ()
    rejection: Rejection | None = None
    rejected_at: int | None = None
    losses: tuple[Adjustment, ...] = ()


@attrs.frozen
class UserStatus:
    """What the ledger knows of one user.

    Attributes:
        accounts: The state at each account that the ledger has been used for.
        desired: The desired state, with its values, while a backend still needs it; else None.
        claims: What would be claimed, by backend and account, while the desired state is needed.
    """

    accounts: tuple[AccountStatus, ...]
    desired: UserTraits | None = attrs.field(default=None, repr=False)
    claims: Mapping[tuple[str, str], Claim] = attrs.field(factory=dict[tuple[str, str], Claim], repr=False)


@attrs.frozen
class MirrorStart:
    """A run of a mirror, which marks the users of its source.

    Attributes:
        run: Number of the run.
        known: Users that earlier runs have marked.
        is_first: True if no run before it has read its whole source.
    """

    run: int
    known: int
    is_first: bool


@attrs.frozen
class VanishedUser:
    """A user who is no longer in the source of a mirror.

    Attributes:
        user_id: Your own id of the user.
        deleted_at: Accounts that need not be asked to delete the user any more.
    """

    user_id: str = attrs.field(repr=fingerprint)
    deleted_at: frozenset[str] = frozenset()


class RowIds(Protocol):
    """A set of row ids, which need only support ``in``."""

    def __contains__(self, row_id: int, /) -> bool:
        """Return True if *row_id* is in the set."""
        ...


class MutableRowIds(RowIds, Protocol):
    """A set of row ids that can change."""

    def add(self, row_id: int, /) -> None:
        """Add *row_id*."""
        ...

    def discard(self, row_id: int, /) -> None:
        """Remove *row_id* if it is in the set."""
        ...


class Store(Protocol):
    """Keeps the state of a ledger, in one transaction per call.

    One writer at a time is essential: if a user could be upserted between the moment at which `settle` reads their
    version and the moment at which it deletes what was pending, the newer state would be lost.

    Every method raises LedgerError if the store cannot be read or written.
    """

    @property
    def path(self) -> str:
        """Return where the store is."""
        ...

    @property
    def fingerprints(self) -> Fingerprints:
        """Return the fingerprints with the store's key."""
        ...

    def open_account(self, account: Account) -> AccountInfo:
        """Register *account* as the latest one of its backend, and return what was known of it."""
        ...

    def adopt_account(self, account: Account) -> bool:
        """Give *account* the state of the account used before it; return False if there is none."""
        ...

    def learn_organisation(self, key_account: str, name: str) -> str | None:
        """Store the account *key_account* as *name*; return the other name that it had before, or None."""
        ...

    def stored_name(self, account: str) -> str:
        """Return the name under which an account of that name is stored."""
        ...

    def upsert(
        self,
        users: Sequence[IncomingUser],
        accounts: Sequence[Account],
        *,
        replace: bool,
        held: MutableRowIds | None,
    ) -> UpsertResult:
        """Upsert *users*; the arguments are those of `Ledger.upsert`."""
        ...

    def unchanged(self, users: Sequence[tuple[str, bytes]], accounts: Sequence[Account]) -> list[bool]:
        """Return True for each of *users* that an upsert would not change; the arguments are those of the ledger."""
        ...

    def claim(
        self, account: Account, *, after: int, before: int | None, limit: int, now: float, skip: RowIds
    ) -> list[Claim]:
        """Return up to *limit* pending users; the arguments are those of `Ledger.claim`."""
        ...

    def still_current(self, account: Account, claims: Sequence[Claim]) -> list[Claim]:
        """Return the *claims* whose users are pending and have not changed since."""
        ...

    def settle(self, account: Account, settlements: Sequence[Settlement], *, paths_of: PathsOf, now: int) -> set[int]:
        """Record outcomes; return the row ids of the users who are no longer pending."""
        ...

    def has_other_settings(self, account: Account) -> bool:
        """Return True if the account was opened with other settings since."""
        ...

    def pending_count(self, account: Account, *, due_at: float | None = None) -> int:
        """Return how many users are pending, or how many of them may be claimed *due_at* that time."""
        ...

    def pending_at_vendor(self, account: Account) -> int:
        """Return how many users are pending at the vendor's account, whatever the name of the backend."""
        ...

    def next_due(self, account: Account, *, now: float) -> float | None:
        """Return when the first user who was deferred beyond *now* may be claimed; None if there is none."""
        ...

    def rejected_since(self, account: Account, version: int) -> list[RecentRejection]:
        """Return the users who were rejected after that version of the ledger."""
        ...

    def start_jobs(
        self, account: Account, batches: Iterable[Batch], *, replaced: StoredJob | None, now: int
    ) -> list[StoredJob]:
        """Store batches before they are sent; they replace a job if one is given."""
        ...

    def name_job(self, job: StoredJob, vendor_job: str) -> None:
        """Store the vendor's id of a job, and erase its body."""
        ...

    def end_job(
        self, account: Account, job: StoredJob, settlements: Sequence[Settlement], *, paths_of: PathsOf, now: int
    ) -> set[int]:
        """Delete a job and settle its users; return what `settle` returns."""
        ...

    def jobs(self, account: Account) -> list[StoredJob]:
        """Return the jobs that have not ended, the oldest first."""
        ...

    def entries(self, job: StoredJob) -> JobEntries:
        """Return the entries of a job, in the order of the batch's items."""
        ...

    def body(self, job: StoredJob) -> bytes:
        """Return the request body of a job whose id at the vendor is not known yet."""
        ...

    def field_names(self, fingerprints: Collection[bytes]) -> list[str]:
        """Return the names of fields by the fingerprints of the names; unknown ones are left out."""
        ...

    def checkpoint(self, name: str) -> Checkpoint | None:
        """Return where the read of that *name* resumes; None if it starts at the beginning."""
        ...

    def set_checkpoint(self, name: str, checkpoint: Checkpoint | None) -> None:
        """Store where the read of that *name* resumes; None when it has finished."""
        ...

    def counts(self) -> list[AccountCounts]:
        """Return the counts of each account."""
        ...

    def rejected(self, account: Account) -> Iterator[RejectedUser]:
        """Yield the rejected users, and why."""
        ...

    def losses(self, account: Account) -> Iterator[tuple[Adjustment, ...]]:
        """Yield what was lost, per user."""
        ...

    def status_of(self, user_id: str) -> UserStatus | None:
        """Return what is known of the user of that id, or None."""
        ...

    def invalidate(self, account: Account) -> None:
        """Invalidate everything that was confirmed."""
        ...

    def requeue_rejected(self, account: Account) -> int:
        """Make rejected users pending again, and return how many."""
        ...

    def is_in_flight(self, user_id: str) -> bool:
        """Return True if a job in flight includes the user of that id."""
        ...

    def forget(self, user_id: str) -> bool:
        """Erase everything about the user of that id; return False if they are unknown."""
        ...

    def begin_mirror(self) -> MirrorStart:
        """Begin a run of the mirror."""
        ...

    def mark_mirrored(self, run: int, user_ids: Collection[str]) -> None:
        """Record that the source has these users in that run."""
        ...

    def end_mirror(self, run: int) -> int:
        """Record that a run has read its whole source, and return how many users have vanished."""
        ...

    def vanished(self, run: int, *, after: str, limit: int) -> list[VanishedUser]:
        """Return up to *limit* users who were last marked before that run, in the order of their ids."""
        ...

    def forget_vanished(self, user_ids: Collection[str]) -> set[str]:
        """Erase everything about these users except that they vanished; return those in jobs, who are not erased."""
        ...

    def settle_vanished(self, run: int, users: Sequence[VanishedUser], *, accounts: Collection[str]) -> None:
        """Record where users were deleted; erase those who need not be deleted at any of *accounts* any more."""
        ...

    def vendor_accounts(self, backends: Collection[str]) -> list[Account]:
        """Return one account for each account at a vendor, after registering *backends* that are new."""
        ...

    def lease(self, account: Account) -> AbstractContextManager[bool]:
        """Hold the right to deliver to the vendor's account; yield False if it is held already."""
        ...

    def copy_to(self, path: Path) -> None:
        """Write a copy to *path*, which must not exist."""
        ...

    def purge(self) -> bool:
        """Purge erased values from the disk; return False if another process prevents it."""
        ...

    def close(self) -> None:
        """Close the store."""
        ...
