"""Take in what users should be, and find out at which vendors that makes a difference."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import attrs

from .._records import fast_frozen
from ..errors import InvalidTraitsError
from ..traits import UserTraits
from .codec import Fingerprints, decode, encode, pack, to_microseconds, unpack
from .database import sql_in
from .merging import field_names, merged, replaced, without

# How a moment is kept beside the digest of its field's name.
_MOMENT_BYTES: Final = 8
# Makes the moments before 1970 positive.
_BEFORE_1970: Final = 1 << 62


@attrs.define
class UpsertCounts:
    """What a put meant for one backend, in users.

    Attributes:
        due: Have to be sent, and had not to be before.
        waiting: Had to be sent already; one request will do.
        unchanged: Are held by the vendor as they are.
        rejected: Were refused as they are, and would be again.
    """

    pending: int = 0
    already_pending: int = 0
    unchanged: int = 0
    rejected: int = 0

    def add(self, other: "UpsertCounts") -> None:
        """Count all that *other* counted."""
        self.pending += other.pending
        self.already_pending += other.already_pending
        self.unchanged += other.unchanged
        self.rejected += other.rejected


@fast_frozen
class IncomingUser:
    """One user as given, with what the ledger finds and compares them by."""

    identity: bytes
    user: UserTraits
    encoded: bytes = attrs.field(repr=False)


def to_given(user: UserTraits, fingerprints: Fingerprints) -> IncomingUser:
    """Return *user* ready to be put.

    Raises:
        InvalidTraitsError: There is no id to find the user by when more is said of them.
    """
    identity = fingerprints.of_identity(user)
    if identity is None:
        raise InvalidTraitsError("user_id", "is missing; without any id there is no one to keep up to date")
    return IncomingUser(identity, user, encode(user))


@fast_frozen
class _ExistingUser:
    """A user the ledger has met, and what it knows of them."""

    row_id: int
    moments: bytes | None
    version: int | None
    desired: bytes | None = attrs.field(repr=False)


@fast_frozen
class _Confirmed:
    """What a vendor last confirmed of one user."""

    whole: bytes
    fields: bytes
    in_doubt: bool


@attrs.define
class Put:
    """One transaction that takes users in.

    Attributes:
        db: The connection, inside a transaction.
        fingerprints: The ledger's digests.
        backends: Ids in the ledger by name of the backends that the users are for.
        version: Number of this transaction, above all earlier ones.
        replace: Whether each user says all that is wanted of them, as a row of a source does and an event does not.
        counts: What it meant for each backend.
        new: Users met for the first time, by their places.
    """

    db: sqlite3.Connection
    fingerprints: Fingerprints
    backends: Mapping[str, int]
    version: int
    replace: bool = False
    counts: dict[str, UpsertCounts] = attrs.field(init=False)
    new: dict[int, UserTraits] = attrs.field(factory=dict[int, UserTraits], init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.counts = {name: UpsertCounts() for name in self.backends}

    def put(self, batch: Sequence[IncomingUser]) -> None:
        """Take in a *batch* in which nobody is twice."""
        if not self.backends:
            return
        known = self._known(batch)
        new = [given for given in batch if given.identity not in known] if known else batch
        if new:
            self._put_new(new)
        if known:
            self._put_known([(known[given.identity], given) for given in batch if given.identity in known])

    def _known(self, batch: Sequence[IncomingUser]) -> dict[bytes, _ExistingUser]:
        rows = self.db.execute(
            "SELECT identity, id, moments, version, traits FROM users LEFT JOIN desired ON user = id"
            f" WHERE identity IN ({','.join('?' * len(batch))})",
            [given.identity for given in batch],
        )
        return {identity: _ExistingUser(*row) for identity, *row in rows}

    def _put_new(self, batch: Sequence[IncomingUser]) -> None:
        """Take in users whom the ledger has never met: they are due everywhere."""
        (last,) = self.db.execute("UPDATE ledger SET users = users + ? RETURNING users", [len(batch)]).fetchone()
        first = last + 1 - len(batch)
        self.db.executemany(
            "INSERT INTO users VALUES (?, ?, ?)",
            [(given.identity, row_id, self._moments(given.user, {})) for row_id, given in enumerate(batch, first)],
        )
        self.db.executemany(
            "INSERT INTO desired VALUES (?, ?, ?)",
            [(row_id, self.version, given.encoded) for row_id, given in enumerate(batch, first)],
        )
        for name, backend in self.backends.items():
            self.db.execute(
                "INSERT INTO due SELECT ?, user FROM desired WHERE user BETWEEN ? AND ?", [backend, first, last]
            )
            self.counts[name].pending += len(batch)
        self.new.update((row_id, given.user) for row_id, given in enumerate(batch, first))

    def _put_known(self, met: Sequence[tuple[_ExistingUser, IncomingUser]]) -> None:
        standings = {name: _BackendState.read(self.db, backend, met) for name, backend in self.backends.items()}
        due_somewhere = self._due_somewhere(met) if self.replace else frozenset[int]()
        for known, given in met:
            fresh = self._take_moments(known, given)
            is_mended = self.replace and fresh is given and known.row_id not in due_somewhere
            desired = _desired(known, fresh, is_mended=is_mended)
            changed = desired != known.desired
            due = [
                backend
                for name, backend in self.backends.items()
                if self._becomes_due(standings[name], self.counts[name], known, fresh, changed=changed)
            ]
            if changed and (due or known.desired is not None):
                self.db.execute(
                    "INSERT OR REPLACE INTO desired VALUES (?, ?, ?)", [known.row_id, self.version, desired]
                )
                self.new.pop(known.row_id, None)  # They were given twice, and should be neither as they were first.
            for backend in due:
                self.db.execute("INSERT INTO due VALUES (?, ?)", [backend, known.row_id])
                self.db.execute("DELETE FROM refusals WHERE backend = ? AND user = ?", [backend, known.row_id])

    def _due_somewhere(self, met: Sequence[tuple[_ExistingUser, IncomingUser]]) -> frozenset[int]:
        these, parameters = sql_in([known.row_id for known, _ in met])
        rows = self.db.execute(f"SELECT user FROM backends JOIN due ON backend = id WHERE user {these}", parameters)
        return frozenset(row_id for (row_id,) in rows)

    def _becomes_due(
        self,
        standing: "_BackendState",
        counts: UpsertCounts,
        known: _ExistingUser,
        given: IncomingUser,
        *,
        changed: bool,
    ) -> bool:
        """Count what *given* means for one backend, and tell whether it makes the user due there."""
        if known.row_id in standing.due:
            counts.already_pending += 1
            return False
        rejected = standing.rejected.get(known.row_id)
        if rejected is not None and rejected == known.version and not changed:
            counts.rejected += 1
            return False
        held = standing.held.get(known.row_id)
        if rejected is None and held is not None and self._says_nothing_new(given, held):
            counts.unchanged += 1
            return False
        counts.pending += 1
        return True

    def _says_nothing_new(self, given: IncomingUser, held: _Confirmed) -> bool:
        return not held.in_doubt and (
            self.fingerprints.of_user(given.encoded) == held.whole
            or self.fingerprints.of_fields(given.encoded).items() <= unpack(held.fields).items()
        )

    def _take_moments(self, known: _ExistingUser, given: IncomingUser) -> IncomingUser:
        """Return what of *given* is not older than what is known already, and store since when it is known."""
        if known.moments is None and given.user.observed_at is None:
            return given
        moments = unpack(known.moments or b"")
        user = given.user
        if user.observed_at is not None:
            now = _packed(user.observed_at)
            older = {field for field in field_names(user) if moments.get(self.fingerprints.of_name(field), b"") > now}
            user = without(user, older) if older else user
        self.db.execute(
            "UPDATE users SET moments = ? WHERE identity = ?", [self._moments(user, moments), given.identity]
        )
        return given if user is given.user else attrs.evolve(given, user=user, encoded=encode(user))

    def _moments(self, user: UserTraits, known: Mapping[bytes, bytes]) -> bytes | None:
        """Return since when each field is known, now that *user* says theirs; what has no moment is not compared."""
        if user.observed_at is None and not known:
            return None
        names = [self.fingerprints.of_name(field) for field in field_names(user)]
        if user.observed_at is None:
            return pack({name: moment for name, moment in known.items() if name not in names})
        return pack({**known, **dict.fromkeys(names, _packed(user.observed_at))})


def _desired(known: _ExistingUser, given: IncomingUser, *, is_mended: bool) -> bytes:
    """Return what a user should be from now on; of one who is *mended* after a refusal, only what is said now."""
    if known.desired is None:
        return given.encoded
    older = decode(known.desired)
    if is_mended and not _is_older(given.user, older):
        return encode(replaced(older, given.user))
    return encode(merged(older, given.user))


def _is_older(user: UserTraits, other: UserTraits) -> bool:
    """Tell whether *user* was observed before *other*; what has no moment is not compared."""
    if user.observed_at is None or other.observed_at is None:
        return False
    return user.observed_at < other.observed_at


@attrs.frozen
class _BackendState:
    """How some users stand at one backend; refused: which version of them."""

    due: frozenset[int]
    rejected: Mapping[int, int]
    held: Mapping[int, _Confirmed]

    @classmethod
    def read(
        cls, db: sqlite3.Connection, backend: int, met: Iterable[tuple[_ExistingUser, IncomingUser]]
    ) -> "_BackendState":
        """Return how the users *met* stand at the backend of that id."""
        row_ids = [known.row_id for known, _ in met]
        these, parameters = sql_in(row_ids)
        where = f"WHERE backend = {backend:d} AND user {these}"
        held = db.execute(f"SELECT user, whole, fields, in_doubt FROM held {where}", parameters)
        return cls(
            frozenset(user for (user,) in db.execute(f"SELECT user FROM due {where}", parameters)),
            dict(db.execute(f"SELECT user, version FROM refusals {where}", parameters).fetchall()),
            {user: _Confirmed(*row) for user, *row in held},
        )


def _packed(moment: datetime) -> bytes:
    """Return *moment* as bytes that sort as moments do."""
    return (to_microseconds(moment) + _BEFORE_1970).to_bytes(_MOMENT_BYTES)
