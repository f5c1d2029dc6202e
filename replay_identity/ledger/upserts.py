"""Upsert users' desired state, and mark the backends that need an update."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import attrs

from .._records import fast_frozen
from ..errors import InvalidTraitsError
from ..traits import UserTraits
from .codec import Fingerprints, decode, encode, pack, to_microseconds, unpack
from .database import MAX_ROWS, sql_in
from .merging import drop_fields, field_names, merge_users, replace_user

# Moments are stored as 8 bytes that sort as the moments do: an offset makes those before 1970 positive.
_MOMENT_BYTES: Final = 8
_MOMENT_OFFSET: Final = 1 << 62


@attrs.define
class UpsertCounts:
    """How many users an upsert put into which state at one backend.

    Attributes:
        pending: Users that became pending.
        already_pending: Users that were pending before; one request delivers both changes.
        unchanged: Users that are as the vendor confirmed them.
        rejected: Users that have not changed since they were rejected, and would be rejected again.
    """

    pending: int = 0
    already_pending: int = 0
    unchanged: int = 0
    rejected: int = 0

    def add(self, other: "UpsertCounts") -> None:
        """Add the counts of *other* to these."""
        self.pending += other.pending
        self.already_pending += other.already_pending
        self.unchanged += other.unchanged
        self.rejected += other.rejected


@fast_frozen
class IncomingUser:
    """One user to upsert, with the fingerprint of their id."""

    id_fingerprint: bytes
    user: UserTraits
    encoded: bytes = attrs.field(repr=False)


def incoming_user(user: UserTraits, fingerprints: Fingerprints) -> IncomingUser:
    """Return *user* ready to be upserted.

    Raises:
        InvalidTraitsError: The user has neither an id nor a vendor id, so nothing could be merged with them later.
    """
    id_fingerprint = fingerprints.of_id(user)
    if id_fingerprint is None:
        raise InvalidTraitsError(
            "user_id", "the id and the vendor ids are missing; a ledger needs one of them to find the user again"
        )
    return IncomingUser(id_fingerprint, user, encode(user))


@attrs.define
class UpsertResult:
    """What an upsert did.

    Attributes:
        counts: Counts by name of the backend.
        inserted: Users who were new to the ledger, by row id.
    """

    counts: Mapping[str, UpsertCounts]
    inserted: Mapping[int, UserTraits] = attrs.field(repr=False)


def upsert_users(
    db: sqlite3.Connection,
    fingerprints: Fingerprints,
    backends: Mapping[str, int],
    users: Iterable[IncomingUser],
    *,
    version: int,
    replace: bool,
) -> UpsertResult:
    """Upsert *users* for *backends*, ids by name, inside a transaction.

    Args:
        db: The connection.
        fingerprints: The ledger's fingerprints.
        backends: Ids of the backends by name.
        users: The users; a user may occur more than once.
        version: Number of this upsert, higher than all before.
        replace: True if each user is the whole desired state, like a row of a source and unlike an event.
    """
    upsert = _Upsert(db, fingerprints, backends, version, replace)
    for batch in _without_repetitions(users):
        upsert.add(batch)
    return UpsertResult(upsert.counts, upsert.inserted)


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


@fast_frozen
class _Confirmed:
    """What a vendor last confirmed of one user."""

    user_fingerprint: bytes
    field_fingerprints: bytes
    in_doubt: bool


@attrs.frozen
class _BackendState:
    """The state of some users at one backend, by row id.

    Attributes:
        pending: Users that are pending.
        rejected: The version that was rejected.
        confirmed: What the vendor last confirmed.
    """

    pending: frozenset[int]
    rejected: Mapping[int, int]
    confirmed: Mapping[int, _Confirmed]

    @classmethod
    def select(cls, db: sqlite3.Connection, backend: int, row_ids: Sequence[int]) -> "_BackendState":
        clause, parameters = sql_in(row_ids)
        where = f"WHERE backend = {backend:d} AND row_id {clause}"
        confirmed = db.execute(
            f"SELECT row_id, user_fingerprint, field_fingerprints, in_doubt FROM confirmed {where}", parameters
        )
        return cls(
            frozenset(row_id for (row_id,) in db.execute(f"SELECT row_id FROM pending {where}", parameters)),
            dict(db.execute(f"SELECT row_id, version FROM rejections {where}", parameters).fetchall()),
            {row_id: _Confirmed(*row) for row_id, *row in confirmed},
        )


@attrs.define
class _Upsert:
    """One upsert, inside its transaction."""

    db: sqlite3.Connection
    fingerprints: Fingerprints
    backends: Mapping[str, int]
    version: int
    replace: bool
    counts: dict[str, UpsertCounts] = attrs.field(init=False)
    inserted: dict[int, UserTraits] = attrs.field(factory=dict[int, UserTraits], init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.counts = {name: UpsertCounts() for name in self.backends}

    def add(self, batch: Sequence[IncomingUser]) -> None:
        """Upsert a *batch* that contains no user twice."""
        if not self.backends:
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
            f" WHERE id_fingerprint IN ({','.join('?' * len(batch))})",
            [user.id_fingerprint for user in batch],
        )
        return {id_fingerprint: _ExistingUser(*row) for id_fingerprint, *row in rows}

    def _insert(self, batch: Sequence[IncomingUser]) -> None:
        """Insert new users, who are pending at every backend."""
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
        for name, backend in self.backends.items():
            self.db.execute(
                "INSERT INTO pending (backend, row_id) SELECT ?, row_id FROM desired WHERE row_id BETWEEN ? AND ?",
                [backend, first, last],
            )
            self.counts[name].pending += len(batch)
        self.inserted.update((row_id, user.user) for row_id, user in enumerate(batch, first))

    def _update(self, batch: Sequence[tuple[_ExistingUser, IncomingUser]]) -> None:
        row_ids = [existing.row_id for existing, _ in batch]
        states = {name: _BackendState.select(self.db, backend, row_ids) for name, backend in self.backends.items()}
        pending_somewhere = self._select_pending(row_ids) if self.replace else frozenset[int]()
        for existing, incoming in batch:
            fresh = self._drop_stale_fields(existing, incoming)
            # Merged while a backend has yet to receive the older state: what the row does not repeat may still have
            # to be sent there.
            may_replace = self.replace and fresh is incoming and existing.row_id not in pending_somewhere
            desired = _new_desired_state(existing, fresh, may_replace=may_replace)
            changed = desired != existing.desired
            pending = [
                backend
                for name, backend in self.backends.items()
                if self._becomes_pending(states[name], self.counts[name], existing, fresh, changed=changed)
            ]
            if changed and (pending or existing.desired is not None):
                self.db.execute(
                    "INSERT OR REPLACE INTO desired (row_id, version, encoded) VALUES (?, ?, ?)",
                    [existing.row_id, self.version, desired],
                )
                # A user that occurs twice must not be sent as it first occurred.
                self.inserted.pop(existing.row_id, None)
            for backend in pending:
                self.db.execute("INSERT INTO pending (backend, row_id) VALUES (?, ?)", [backend, existing.row_id])
                self.db.execute("DELETE FROM rejections WHERE backend = ? AND row_id = ?", [backend, existing.row_id])

    def _select_pending(self, row_ids: Sequence[int]) -> frozenset[int]:
        """Return those of *row_ids* that are pending at any backend."""
        clause, parameters = sql_in(row_ids)
        rows = self.db.execute(
            f"SELECT row_id FROM backends JOIN pending ON backend = id WHERE row_id {clause}", parameters
        )
        return frozenset(row_id for (row_id,) in rows)

    def _becomes_pending(
        self,
        state: _BackendState,
        counts: UpsertCounts,
        existing: _ExistingUser,
        incoming: IncomingUser,
        *,
        changed: bool,
    ) -> bool:
        """Count *incoming* at one backend, and return True if the user becomes pending there."""
        if existing.row_id in state.pending:
            counts.already_pending += 1
            return False
        rejected_version = state.rejected.get(existing.row_id)
        if rejected_version is not None and rejected_version == existing.version and not changed:
            counts.rejected += 1
            return False
        confirmed = state.confirmed.get(existing.row_id)
        if rejected_version is None and confirmed is not None and self._is_confirmed(incoming, confirmed):
            counts.unchanged += 1
            return False
        counts.pending += 1
        return True

    def _is_confirmed(self, incoming: IncomingUser, confirmed: _Confirmed) -> bool:
        return not confirmed.in_doubt and (
            self.fingerprints.of_user(incoming.encoded) == confirmed.user_fingerprint
            or self.fingerprints.of_fields(incoming.encoded).items() <= unpack(confirmed.field_fingerprints).items()
        )

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
    if existing.desired is None:
        return incoming.encoded
    older = decode(existing.desired)
    if may_replace and not _is_older(incoming.user, older):
        return encode(replace_user(older, incoming.user))
    return encode(merge_users(older, incoming.user))


def _is_older(user: UserTraits, other: UserTraits) -> bool:
    """Return True if *user* was observed before *other*; False if either has no moment."""
    if user.observed_at is None or other.observed_at is None:
        return False
    return user.observed_at < other.observed_at


def _pack_moment(moment: datetime) -> bytes:
    return (to_microseconds(moment) + _MOMENT_OFFSET).to_bytes(_MOMENT_BYTES)
