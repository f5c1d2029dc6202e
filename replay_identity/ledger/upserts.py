"""Upsert users' desired state, and mark the accounts that need an update."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import attrs

from .._records import fast_frozen
from ..traits import UserTraits
from .accounts import StoredAccount
from .codec import Fingerprints, decode_desired, encode, has_removals, pack, to_microseconds, unpack
from .database import MAX_ROWS, next_version, sql_in, sql_list
from .merging import drop_fields, field_names, merge_users, removals_to_keep, replace_user, still_removed
from .store import IncomingUser, MutableRowIds, UpsertCounts, UpsertResult

# Moments are stored as 8 bytes that sort as the moments do: an offset makes those before 1970 positive.
_MOMENT_BYTES: Final = 8
_MOMENT_OFFSET: Final = 1 << 62


@attrs.frozen
class UpsertTarget:
    """One account to upsert users for.

    Attributes:
        account: The account.
        counts: Counts the users.
    """

    account: StoredAccount
    counts: UpsertCounts = attrs.field(factory=UpsertCounts)


@attrs.define
class HeldUsers:
    """The row ids of users who must not be delivered yet, while an upsert adds some.

    Attributes:
        row_ids: The set that claims leave out, which another thread reads.
    """

    row_ids: MutableRowIds
    _added: list[int] = attrs.field(factory=list[int], init=False)

    def __contains__(self, row_id: int) -> bool:
        return row_id in self.row_ids

    def add(self, row_id: int) -> None:
        """Hold a user, before the user can be claimed."""
        if row_id not in self.row_ids:
            self._added.append(row_id)
            self.row_ids.add(row_id)

    def release(self, row_ids: Iterable[int]) -> None:
        """Let users be delivered."""
        for row_id in row_ids:
            self.row_ids.discard(row_id)

    def roll_back(self) -> None:
        """Undo all additions: the next upsert gives the row ids of new users to others."""
        self.release(self._added)


def upsert_users(
    db: sqlite3.Connection,
    fingerprints: Fingerprints,
    targets: Mapping[str, UpsertTarget],
    users: Iterable[IncomingUser],
    *,
    replace: bool,
    held: HeldUsers | None,
) -> UpsertResult:
    """Upsert *users* for *targets*, by name of the backend, inside a transaction.

    Args:
        db: The connection.
        fingerprints: The ledger's fingerprints.
        targets: The accounts.
        users: The users; a user may occur more than once.
        replace: True if each user is the whole desired state, like a row of a source and unlike an event.
        held: Row ids of users who must not be delivered yet, or None. Users who are held are added.
    """
    version = next_version(db)
    upsert = _Upsert(db, fingerprints, tuple(targets.values()), version, replace, held)
    for batch in _without_repetitions(users):
        upsert.add(batch)
    counts = {
        name: attrs.evolve(target.counts, versions=range(version, version + 1)) for name, target in targets.items()
    }
    return UpsertResult(version, counts, upsert.inserted, upsert.released)


# Users that `upsert_users` would count as unchanged at an account, if it gets what the account has confirmed, and leave
# as they are: nothing about them is pending, rejected or dated.
SELECT_SETTLED: Final = (
    "SELECT id_fingerprint, vendor_account, source FROM users"
    " JOIN confirmed ON vendor_account IN ({accounts}) AND confirmed.row_id = users.row_id AND in_doubt = 0"
    " WHERE id_fingerprint IN ({users}) AND moments IS NULL"
    " AND NOT EXISTS (SELECT 1 FROM desired WHERE desired.row_id = users.row_id)"
)


def _without_repetitions(users: Iterable[IncomingUser]) -> Iterator[list[IncomingUser]]:
    """Yield *users* in order, in batches that contain no user twice."""
    batch: dict[bytes, IncomingUser] = {}
    for user in users:
        if user.id_fingerprint in batch or len(batch) == MAX_ROWS:
            yield list(batch.values())
            batch = {}
        batch[user.id_fingerprint] = user
    if batch:
        yield list(batch.values())


@fast_frozen
class _ExistingUser:
    """A user that the ledger knows; version and desired state are None if no backend needs them."""

    row_id: int
    moments: bytes | None
    version: int | None
    desired: bytes | None = attrs.field(repr=False)


@attrs.frozen
class _AccountState:
    """The state of some users at one account, by row id.

    Attributes:
        pending: Users that are pending.
        rejected: Fingerprint of the source that was rejected.
        confirmed: Fingerprint of the source that the vendor last confirmed; users in doubt are left out.
    """

    pending: frozenset[int]
    rejected: Mapping[int, bytes]
    confirmed: Mapping[int, bytes]

    @classmethod
    def select(cls, db: sqlite3.Connection, account: StoredAccount, row_ids: Sequence[int]) -> "_AccountState":
        clause, parameters = sql_in(row_ids)
        where = f"WHERE account = {account.id:d} AND row_id {clause}"
        rejected = db.execute(f"SELECT row_id, source FROM rejections {where}", parameters)
        confirmed = db.execute(
            "SELECT row_id, source FROM confirmed"
            f" WHERE vendor_account = {account.vendor_account:d} AND row_id {clause} AND in_doubt = 0",
            parameters,
        )
        return cls(
            frozenset(row_id for (row_id,) in db.execute(f"SELECT row_id FROM pending {where}", parameters)),
            dict(rejected.fetchall()),
            dict(confirmed.fetchall()),
        )


@attrs.define
class _Upsert:
    """One upsert, inside its transaction."""

    db: sqlite3.Connection
    fingerprints: Fingerprints
    targets: Sequence[UpsertTarget]
    version: int
    replace: bool
    held: HeldUsers | None
    inserted: dict[int, UserTraits] = attrs.field(factory=dict[int, UserTraits], init=False, repr=False)
    released: list[int] = attrs.field(factory=list[int], init=False, repr=False)

    def add(self, batch: Sequence[IncomingUser]) -> None:
        """Upsert a *batch* that contains no user twice."""
        if not self.targets:
            return
        existing = self._select_existing(batch)
        new = [user for user in batch if user.id_fingerprint not in existing] if existing else batch
        if new:
            self._insert(new)
        if existing:
            self._update([(existing[user.id_fingerprint], user) for user in batch if user.id_fingerprint in existing])

    def _select_existing(self, batch: Sequence[IncomingUser]) -> dict[bytes, _ExistingUser]:
        rows = self.db.execute(
            "SELECT id_fingerprint, users.row_id, moments, version, encoded FROM users"
            " LEFT JOIN desired ON desired.row_id = users.row_id"
            f" WHERE id_fingerprint IN ({sql_list(batch)})",
            [user.id_fingerprint for user in batch],
        )
        return {id_fingerprint: _ExistingUser(*row) for id_fingerprint, *row in rows}

    def _insert(self, batch: Sequence[IncomingUser]) -> None:
        """Insert new users, who are pending at every account."""
        (last,) = self.db.execute("UPDATE ledger SET users = users + ? RETURNING users", [len(batch)]).fetchone()
        first = last + 1 - len(batch)
        self.db.executemany(
            "INSERT INTO users (id_fingerprint, row_id, moments) VALUES (?, ?, ?)",
            [(user.id_fingerprint, row_id, self._moments(user.user, {})) for row_id, user in enumerate(batch, first)],
        )
        self.db.executemany(
            "INSERT INTO desired (row_id, version, encoded) VALUES (?, ?, ?)",
            [(row_id, self.version, user.encoded) for row_id, user in enumerate(batch, first)],
        )
        for target in self.targets:
            self.db.execute(
                "INSERT INTO pending (account, row_id, since) SELECT ?, row_id, ? FROM desired"
                " WHERE row_id BETWEEN ? AND ?",
                [target.account.id, self.version, first, last],
            )
            target.counts.pending += len(batch)
        if self.held is None:
            self.inserted.update((row_id, user.user) for row_id, user in enumerate(batch, first))
            return
        for row_id, user in enumerate(batch, first):
            if user.is_held:
                self.held.add(row_id)
            else:
                self.inserted[row_id] = user.user

    def _update(self, batch: Sequence[tuple[_ExistingUser, IncomingUser]]) -> None:
        row_ids = [existing.row_id for existing, _ in batch]
        states = [_AccountState.select(self.db, target.account, row_ids) for target in self.targets]
        pending_somewhere = self._select_pending(row_ids) if self.replace else frozenset[int]()
        for existing, incoming in batch:
            fresh = self._drop_stale_fields(existing, incoming)
            # Merged while an account has yet to receive the older state: what the row does not repeat may still have
            # to be sent there. Merged into earlier rows of the same source, too.
            is_next_row = self.held is not None and existing.row_id in self.held
            may_replace = (
                self.replace and fresh is incoming and existing.row_id not in pending_somewhere and not is_next_row
            )
            desired = _new_desired_state(existing, fresh, may_replace=may_replace)
            changed = desired != existing.desired
            pending = [
                target
                for target, state in zip(self.targets, states, strict=True)
                if self._becomes_pending(state, target, existing.row_id, fresh, desired)
            ]
            if changed and (pending or existing.desired is not None):
                self.db.execute(
                    "INSERT OR REPLACE INTO desired (row_id, version, encoded) VALUES (?, ?, ?)",
                    [existing.row_id, self.version, desired],
                )
                # A user that occurs twice must not be sent as it first occurred.
                self.inserted.pop(existing.row_id, None)
            if self.held is not None:
                self._hold_or_release(self.held, existing.row_id, incoming)
            self.db.executemany(
                "INSERT INTO pending (account, row_id, since) VALUES (?, ?, ?)",
                [(target.account.id, existing.row_id, self.version) for target in pending],
            )

    def _hold_or_release(self, held: HeldUsers, row_id: int, incoming: IncomingUser) -> None:
        if incoming.is_held:
            self.inserted.pop(row_id, None)
            held.add(row_id)
        elif row_id in held:
            self.released.append(row_id)

    def _select_pending(self, row_ids: Sequence[int]) -> frozenset[int]:
        """Return those of *row_ids* that are pending at any account."""
        clause, parameters = sql_in(row_ids)
        rows = self.db.execute(
            f"SELECT row_id FROM accounts JOIN pending ON account = id WHERE row_id {clause}", parameters
        )
        return frozenset(row_id for (row_id,) in rows)

    def _becomes_pending(
        self, state: _AccountState, target: UpsertTarget, row_id: int, incoming: IncomingUser, desired: bytes
    ) -> bool:
        """Count *incoming* at one account, and return True if the user becomes pending there."""
        counts = target.counts
        if row_id in state.pending:
            counts.already_pending += 1
            return False
        if row_id in state.rejected:
            if state.rejected[row_id] == self._source_of(desired, target):
                counts.rejected += not incoming.is_held
                return False
        elif state.confirmed.get(row_id) == self._source_of(incoming.encoded, target):
            counts.unchanged += not incoming.is_held
            return False
        counts.pending += 1
        return True

    def _source_of(self, encoded: bytes, target: UpsertTarget) -> bytes:
        return self.fingerprints.of_source(self.fingerprints.of_content(encoded), target.account.encoding)

    def _drop_stale_fields(self, existing: _ExistingUser, incoming: IncomingUser) -> IncomingUser:
        """Return *incoming* without the fields that were observed later before, and store the moments of the rest."""
        if existing.moments is None and incoming.user.observed_at is None:
            return incoming
        moments = unpack(existing.moments or b"")
        user = incoming.user
        if user.observed_at is not None:
            observed_at = _pack_moment(user.observed_at)
            stale = {
                field for field in field_names(user) if moments.get(self.fingerprints.of_name(field), b"") > observed_at
            }
            user = drop_fields(user, stale) if stale else user
        self.db.execute(
            "UPDATE users SET moments = ? WHERE id_fingerprint = ?",
            [self._moments(user, moments), incoming.id_fingerprint],
        )
        return incoming if user is incoming.user else attrs.evolve(incoming, user=user, encoded=encode(user))

    def _moments(self, user: UserTraits, known: Mapping[bytes, bytes]) -> bytes | None:
        """Return *known* updated with the fields of *user*; a field without a moment is never compared by moment."""
        if user.observed_at is None and not known:
            return None
        names = [self.fingerprints.of_name(field) for field in field_names(user)]
        if user.observed_at is None:
            return pack({name: moment for name, moment in known.items() if name not in names})
        return pack({**known, **dict.fromkeys(names, _pack_moment(user.observed_at))})


def _new_desired_state(existing: _ExistingUser, incoming: IncomingUser, *, may_replace: bool) -> bytes:
    is_same = existing.desired == incoming.encoded and not has_removals(incoming.encoded)
    if existing.desired is None or is_same:  # The same user merged is the same user, but may be encoded otherwise.
        return incoming.encoded
    older, removed = decode_desired(existing.desired)
    overridden = removals_to_keep(older.traits, incoming.user.traits)
    if may_replace and not _is_older(incoming.user, older):
        user = replace_user(older, incoming.user, removed)
        removed = tuple(still_removed(older.traits, removed))
    else:
        user = merge_users(older, incoming.user)
    return encode(user, tuple(dict.fromkeys([*removed, *overridden])))


def _is_older(user: UserTraits, other: UserTraits) -> bool:
    """Return True if *user* was observed before *other*; False if either has no moment."""
    if user.observed_at is None or other.observed_at is None:
        return False
    return user.observed_at < other.observed_at


def _pack_moment(moment: datetime) -> bytes:
    return (to_microseconds(moment) + _MOMENT_OFFSET).to_bytes(_MOMENT_BYTES)
