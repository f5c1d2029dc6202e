"""Take note of what vendors answered, and erase what is no longer needed."""

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, assert_never

import attrs
import orjson

from .._records import fast_frozen
from ..errors import printable
from ..outcomes import Accepted, Adjustment, Broken, Outcome, Rejected, Skipped, Violation, lossy
from ..traits import UserTraits
from .codec import Fingerprints, encoded_fields, pack, unpack
from .database import sql_in
from .jobs import read_members

Rejection = Rejected | Broken


def rejection_text(rejection: Rejection) -> str:
    """Return *rejection* as the JSON that `read_rejection` reads."""
    match rejection:
        case Rejected(violations=violations, code=code, message=message):
            content: Mapping[str, Any] = {
                "violations": [attrs.asdict(violation) for violation in violations],
                "code": code,
                "message": message,
            }
        case Broken(error=error):
            content = {"error": error}
        case _:
            assert_never(rejection)
    return orjson.dumps(content).decode()


def read_rejection(backend: str, text: str) -> Rejection:
    """Return the refusal that `rejection_text` was given."""
    content: dict[str, Any] = orjson.loads(text)
    if "error" in content:
        return Broken(backend, content["error"])
    violations = tuple(Violation(**violation) for violation in content["violations"])
    return Rejected(backend, violations, content["code"], content["message"])


def loss_text(adjustments: Iterable[Adjustment]) -> str:
    """Return lossy *adjustments* as the JSON that `read_loss` reads."""
    return orjson.dumps([attrs.asdict(adjustment) for adjustment in adjustments]).decode()


def read_loss(text: str) -> tuple[Adjustment, ...]:
    """Return the adjustments that `loss_text` was given."""
    return tuple(Adjustment(**adjustment) for adjustment in orjson.loads(text))


@attrs.define
class ReasonTable:
    """The ids of texts in the table ``reasons``, for the time of one transaction."""

    db: sqlite3.Connection
    _ids: dict[str, int] = attrs.field(factory=dict[str, int])

    def id_of(self, text: str) -> int:
        """Return the id of *text*, which is added if it is new."""
        known = self._ids.get(text)
        if known is None:
            self.db.execute("INSERT OR IGNORE INTO reasons (text) VALUES (?)", [text])
            known = int(self.db.execute("SELECT id FROM reasons WHERE text = ?", [text]).fetchone()[0])
            self._ids[text] = known
        return known


_REJECTED: Final = (Rejected, Broken)


@fast_frozen
class Settlement:
    """What became of one user at one backend.

    Attributes:
        row_id: Where the ledger keeps the user.
        version: What was sent: the number of the transaction that put it last.
        outcome: What the backend answered.
    """

    row_id: int
    version: int
    outcome: Outcome


@attrs.define
class Settle:
    """One transaction that takes note of outcomes.

    Attributes:
        db: The connection, inside a transaction.
        fingerprints: The ledger's digests.
        backend: Id of the backend in the ledger.
        now: Seconds since 1970.
    """

    db: sqlite3.Connection
    fingerprints: Fingerprints
    backend: int
    now: int
    _reasons: ReasonTable = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._reasons = ReasonTable(self.db)

    def settle(self, settlements: Sequence[Settlement]) -> list[int]:
        """Take note of *settlements*, in which nobody is twice, and return the places of who is due no more."""
        due = self._due([settlement.row_id for settlement in settlements])
        current = [one for one in settlements if one.row_id in due and due[one.row_id][0] == one.version]
        held = {one.row_id: due[one.row_id][1] for one in current if isinstance(one.outcome, Accepted)}
        # A route may let them through later; then the vendor holds nothing of what it was not sent now.
        skipped = {one.row_id: due[one.row_id][1] for one in current if isinstance(one.outcome, Skipped)}
        rejected = [one for one in current if isinstance(one.outcome, _REJECTED)]
        self._hold(held)
        self._forget(skipped)
        self._reject(rejected)
        self._lose([one for one in current if isinstance(one.outcome, Accepted)], held)
        settled = [*held, *skipped, *(one.row_id for one in rejected)]
        self._delete("due", settled)
        self._erase(settled)
        return settled

    def _due(self, row_ids: Sequence[int]) -> dict[int, tuple[int, bytes]]:
        """Return what those of *row_ids* who are due should be, and the version of it."""
        these, parameters = sql_in(row_ids)
        rows = self.db.execute(
            "SELECT desired.user, version, traits FROM desired JOIN due ON backend = ? AND due.user = desired.user"
            f" WHERE desired.user {these}",
            [self.backend, *parameters],
        )
        return {user: (version, traits) for user, version, traits in rows}

    def _erase(self, row_ids: Sequence[int]) -> None:
        """Erase the values of the users whom no vendor needs them for any more."""
        these, parameters = sql_in(row_ids)
        self.db.execute(
            f"DELETE FROM desired WHERE user {these}"
            " AND NOT EXISTS (SELECT 1 FROM due WHERE backend IN (SELECT id FROM backends) AND due.user = desired.user)"
            " AND NOT EXISTS"
            " (SELECT 1 FROM refusals WHERE backend IN (SELECT id FROM backends) AND refusals.user = desired.user)",
            parameters,
        )

    def _hold(self, confirmed: Mapping[int, bytes]) -> None:
        """Move the mark of what the vendor holds."""
        before = self._held_before(confirmed)
        rows: list[tuple[int, int, bytes, bytes]] = []
        for row_id, encoded in confirmed.items():
            fields = self.fingerprints.of_fields(encoded)
            if row_id in before:
                fields = {**unpack(before[row_id]), **fields}
            rows.append((self.backend, row_id, self.fingerprints.of_user(encoded), pack(fields)))
        self.db.executemany("INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, 0)", rows)

    def _held_before(self, row_ids: Collection[int]) -> dict[int, bytes]:
        these, parameters = sql_in(row_ids)
        rows = self.db.execute(
            f"SELECT user, fields FROM held WHERE backend = ? AND user {these}", [self.backend, *parameters]
        )
        return dict(rows.fetchall())

    def _forget(self, skipped: Mapping[int, bytes]) -> None:
        """Hold nothing for confirmed of what is in doubt: an earlier request without an answer may have been about it.

        Others of the fields stand, and nothing is in doubt any more.
        """
        these, parameters = sql_in(skipped)
        doubted = self.db.execute(
            f"SELECT user, fields FROM held WHERE backend = ? AND in_doubt AND user {these}",
            [self.backend, *parameters],
        ).fetchall()
        rows: list[tuple[bytes, int, int]] = []
        for row_id, fields in doubted:
            names = self.fingerprints.of_fields(skipped[row_id])
            stands = {name: value for name, value in unpack(fields).items() if name not in names}
            rows.append((pack(stands), self.backend, row_id))
        self.db.executemany(
            "UPDATE held SET whole = x'', fields = ?, in_doubt = 0 WHERE backend = ? AND user = ?", rows
        )

    def _reject(self, rejected: Iterable[Settlement]) -> None:
        rows = [
            (self.backend, one.row_id, one.version, self._reasons.id_of(rejection_text(one.outcome)), self.now)
            for one in rejected
            if isinstance(one.outcome, _REJECTED)
        ]
        self.db.executemany("INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?, ?)", rows)

    def _lose(self, accepted: Sequence[Settlement], sent: Mapping[int, bytes]) -> None:
        """Put on record what the vendor did not get of whom; of fields that were not sent now, the record stays."""
        losses = {
            one.row_id: lost
            for one in accepted
            if isinstance(one.outcome, Accepted) and (lost := lossy(one.outcome.adjustments))
        }
        for row_id, text in self._lost_before([one.row_id for one in accepted]):
            fields = [printable(field) for field in encoded_fields(sent[row_id])]
            stands = [loss for loss in read_loss(text) if not any(_is_about(loss, field) for field in fields)]
            losses[row_id] = tuple(dict.fromkeys([*stands, *losses.get(row_id, ())]))
            self.db.execute("DELETE FROM losses WHERE backend = ? AND user = ?", [self.backend, row_id])
        self.db.executemany(
            "INSERT INTO losses VALUES (?, ?, ?)",
            [
                (self.backend, row_id, self._reasons.id_of(loss_text(losses[row_id])))
                for row_id in losses
                if losses[row_id]
            ],
        )

    def _lost_before(self, row_ids: Sequence[int]) -> list[tuple[int, str]]:
        these, parameters = sql_in(row_ids)
        return self.db.execute(
            f"SELECT user, text FROM losses JOIN reasons ON id = reason WHERE backend = ? AND user {these}",
            [self.backend, *parameters],
        ).fetchall()

    def _delete(self, table: str, row_ids: Sequence[int]) -> None:
        these, parameters = sql_in(row_ids)
        self.db.execute(f"DELETE FROM {table} WHERE backend = ? AND user {these}", [self.backend, *parameters])


def _is_about(loss: Adjustment, field: str) -> bool:
    return loss.path == field or loss.path.startswith((f"{field}.", f"{field}["))


# Where a user stands by their place at each backend; the key starts with the backend.
_STANDING: Final = ("due", "held", "refusals", "losses")
_OF_USER: Final = "backend IN (SELECT id FROM backends) AND user = ?"
# A vendor's words may be about one user only.
_TOLD_OF_NOBODY: Final = "id NOT IN (SELECT reason FROM refusals UNION SELECT reason FROM losses)"


def is_in_flight(db: sqlite3.Connection, user_id: str) -> bool:
    """Tell whether a batch under way holds the user of that id."""
    written = orjson.dumps(user_id)
    return any(
        # Looked for in the bytes first: a batch may have 50,000 members, and few batches hold any one user.
        written in entries and any(one.user_id == user_id for one in read_members(entries))
        for (entries,) in db.execute("SELECT members FROM jobs")
    )


def forget_user(db: sqlite3.Connection, fingerprints: Fingerprints, user_id: str) -> bool:
    """Erase all that is kept of the user of that id, inside a transaction, and tell whether there was anything."""
    identity = fingerprints.of_identity(UserTraits(user_id))
    found = db.execute("DELETE FROM users WHERE identity = ? RETURNING id", [identity]).fetchone()
    if found is None:
        return False
    db.execute("DELETE FROM desired WHERE user = ?", found)
    for table in _STANDING:
        db.execute(f"DELETE FROM {table} WHERE {_OF_USER}", found)
    db.execute(f"DELETE FROM reasons WHERE {_TOLD_OF_NOBODY}")
    return True
