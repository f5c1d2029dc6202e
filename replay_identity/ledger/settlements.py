"""Record outcomes in the ledger, and erase what no backend needs any more."""

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, assert_never

import attrs
import orjson

from .._records import fast_frozen
from ..errors import printable
from ..outcomes import Accepted, Adjustment, Broken, Outcome, Rejected, Skipped, Violation, lossy_adjustments
from ..traits import UserTraits
from .codec import Fingerprints, encoded_fields, pack, unpack
from .database import MAX_ROWS, sql_in
from .jobs import has_user

Rejection: TypeAlias = Rejected | Broken
_REJECTIONS: Final = (Rejected, Broken)


@fast_frozen
class Settlement:
    """The outcome for one user at one backend.

    Attributes:
        row_id: The user's key in the ledger.
        version: Version of the desired state that was sent.
        outcome: The backend's outcome.
    """

    row_id: int
    version: int
    outcome: Outcome


def settle_users(
    db: sqlite3.Connection, fingerprints: Fingerprints, backend: int, settlements: Sequence[Settlement], *, now: int
) -> set[int]:
    """Record *settlements*, which name no user twice, in a transaction; return the row ids no longer pending."""
    recorder = _OutcomeRecorder(db, fingerprints, backend, now)
    settled: set[int] = set()
    for start in range(0, len(settlements), MAX_ROWS):
        settled.update(recorder.record(settlements[start : start + MAX_ROWS]))
    return settled


@attrs.define
class _OutcomeRecorder:
    """Records the outcomes of one backend in one transaction."""

    db: sqlite3.Connection
    fingerprints: Fingerprints
    backend: int
    now: int
    _reasons: "_ReasonTable" = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._reasons = _ReasonTable(self.db)

    def record(self, settlements: Sequence[Settlement]) -> list[int]:
        pending = self._select_pending([settlement.row_id for settlement in settlements])
        # An outcome for an older version says nothing about the newer one, which stays pending.
        current = [each for each in settlements if each.row_id in pending and pending[each.row_id][0] == each.version]
        accepted = {each.row_id: pending[each.row_id][1] for each in current if isinstance(each.outcome, Accepted)}
        # Skipped users are not confirmed: a route may let them through later.
        skipped = {each.row_id: pending[each.row_id][1] for each in current if isinstance(each.outcome, Skipped)}
        rejected = [each for each in current if isinstance(each.outcome, _REJECTIONS)]
        self._confirm(accepted)
        self._drop_in_doubt(skipped)
        self._reject(rejected)
        self._record_losses([each for each in current if isinstance(each.outcome, Accepted)], accepted)
        settled = [*accepted, *skipped, *(each.row_id for each in rejected)]
        self._delete_pending(settled)
        self._erase_desired(settled)
        return settled

    def _select_pending(self, row_ids: Sequence[int]) -> dict[int, tuple[int, bytes]]:
        """Return version and desired state of those of *row_ids* that are pending."""
        clause, parameters = sql_in(row_ids)
        rows = self.db.execute(
            "SELECT desired.row_id, version, encoded FROM desired"
            " JOIN pending ON backend = ? AND pending.row_id = desired.row_id"
            f" WHERE desired.row_id {clause}",
            [self.backend, *parameters],
        )
        return {row_id: (version, encoded) for row_id, version, encoded in rows}

    def _delete_pending(self, row_ids: Sequence[int]) -> None:
        clause, parameters = sql_in(row_ids)
        self.db.execute(f"DELETE FROM pending WHERE backend = ? AND row_id {clause}", [self.backend, *parameters])

    def _erase_desired(self, row_ids: Sequence[int]) -> None:
        """Erase the values of users who are neither pending nor rejected at any backend."""
        clause, parameters = sql_in(row_ids)
        self.db.execute(
            f"DELETE FROM desired WHERE row_id {clause}"
            " AND NOT EXISTS (SELECT 1 FROM pending"
            " WHERE backend IN (SELECT id FROM backends) AND pending.row_id = desired.row_id)"
            " AND NOT EXISTS (SELECT 1 FROM rejections"
            " WHERE backend IN (SELECT id FROM backends) AND rejections.row_id = desired.row_id)",
            parameters,
        )

    def _confirm(self, accepted: Mapping[int, bytes]) -> None:
        """Add the fields that were accepted to the confirmed state."""
        before = self._select_confirmed(accepted)
        rows: list[tuple[int, int, bytes, bytes]] = []
        for row_id, encoded in accepted.items():
            fields = self.fingerprints.of_fields(encoded)
            if row_id in before:
                fields = {**unpack(before[row_id]), **fields}
            rows.append((self.backend, row_id, self.fingerprints.of_user(encoded), pack(fields)))
        self.db.executemany(
            "INSERT OR REPLACE INTO confirmed (backend, row_id, user_fingerprint, field_fingerprints, in_doubt)"
            " VALUES (?, ?, ?, ?, 0)",
            rows,
        )

    def _select_confirmed(self, row_ids: Collection[int]) -> dict[int, bytes]:
        clause, parameters = sql_in(row_ids)
        rows = self.db.execute(
            f"SELECT row_id, field_fingerprints FROM confirmed WHERE backend = ? AND row_id {clause}",
            [self.backend, *parameters],
        )
        return dict(rows.fetchall())

    def _drop_in_doubt(self, skipped: Mapping[int, bytes]) -> None:
        """Drop in-doubt fields from the confirmed state: an unanswered request may have changed them.

        The other fields stay confirmed, and the user is no longer in doubt.
        """
        clause, parameters = sql_in(skipped)
        in_doubt = self.db.execute(
            f"SELECT row_id, field_fingerprints FROM confirmed WHERE backend = ? AND in_doubt AND row_id {clause}",
            [self.backend, *parameters],
        ).fetchall()
        rows: list[tuple[bytes, int, int]] = []
        for row_id, packed in in_doubt:
            dropped = self.fingerprints.of_fields(skipped[row_id])
            kept = {name: value for name, value in unpack(packed).items() if name not in dropped}
            rows.append((pack(kept), self.backend, row_id))
        self.db.executemany(
            "UPDATE confirmed SET user_fingerprint = x'', field_fingerprints = ?, in_doubt = 0"
            " WHERE backend = ? AND row_id = ?",
            rows,
        )

    def _reject(self, rejected: Iterable[Settlement]) -> None:
        rows = [
            (self.backend, each.row_id, each.version, self._reasons.id_of(_encode_rejection(each.outcome)), self.now)
            for each in rejected
            if isinstance(each.outcome, _REJECTIONS)
        ]
        self.db.executemany(
            "INSERT OR REPLACE INTO rejections (backend, row_id, version, reason, rejected_at) VALUES (?, ?, ?, ?, ?)",
            rows,
        )

    def _record_losses(self, accepted: Sequence[Settlement], sent: Mapping[int, bytes]) -> None:
        """Record what the vendor did not get; earlier losses of fields that were not sent now stay recorded."""
        losses = {
            each.row_id: lost
            for each in accepted
            if isinstance(each.outcome, Accepted) and (lost := lossy_adjustments(each.outcome.adjustments))
        }
        for row_id, text in self._select_losses([each.row_id for each in accepted]):
            fields = [printable(field) for field in encoded_fields(sent[row_id])]
            kept = [loss for loss in decode_losses(text) if not any(_is_about(loss, field) for field in fields)]
            losses[row_id] = tuple(dict.fromkeys([*kept, *losses.get(row_id, ())]))
            self.db.execute("DELETE FROM losses WHERE backend = ? AND row_id = ?", [self.backend, row_id])
        self.db.executemany(
            "INSERT INTO losses (backend, row_id, reason) VALUES (?, ?, ?)",
            [
                (self.backend, row_id, self._reasons.id_of(_encode_losses(lost)))
                for row_id, lost in losses.items()
                if lost
            ],
        )

    def _select_losses(self, row_ids: Sequence[int]) -> list[tuple[int, str]]:
        clause, parameters = sql_in(row_ids)
        return self.db.execute(
            f"SELECT row_id, text FROM losses JOIN reasons ON id = reason WHERE backend = ? AND row_id {clause}",
            [self.backend, *parameters],
        ).fetchall()


def _is_about(loss: Adjustment, field: str) -> bool:
    return loss.path == field or loss.path.startswith((f"{field}.", f"{field}["))


@attrs.define
class _ReasonTable:
    """Ids of texts in the table ``reasons``, cached for one transaction."""

    db: sqlite3.Connection
    _ids: dict[str, int] = attrs.field(factory=dict[str, int])

    def id_of(self, text: str) -> int:
        """Return the id of *text*, which is inserted if it is new."""
        known = self._ids.get(text)
        if known is None:
            self.db.execute("INSERT OR IGNORE INTO reasons (text) VALUES (?)", [text])
            known = int(self.db.execute("SELECT id FROM reasons WHERE text = ?", [text]).fetchone()[0])
            self._ids[text] = known
        return known


def _encode_rejection(rejection: Rejection) -> str:
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


def decode_rejection(backend: str, text: str) -> Rejection:
    """Return the outcome that a row of ``rejections`` refers to."""
    content: dict[str, Any] = orjson.loads(text)
    if "error" in content:
        return Broken(backend, content["error"])
    violations = tuple(Violation(**violation) for violation in content["violations"])
    return Rejected(backend, violations, content["code"], content["message"])


def _encode_losses(adjustments: Iterable[Adjustment]) -> str:
    return orjson.dumps([attrs.asdict(adjustment) for adjustment in adjustments]).decode()


def decode_losses(text: str) -> tuple[Adjustment, ...]:
    """Return the lossy adjustments that a row of ``losses`` refers to."""
    return tuple(Adjustment(**adjustment) for adjustment in orjson.loads(text))


# Keyed by backend and row id; the condition names the backends, since the keys start with them.
_TABLES_BY_BACKEND: Final = ("pending", "confirmed", "rejections", "losses")
_AT_ANY_BACKEND: Final = "backend IN (SELECT id FROM backends) AND row_id = ?"
# Unused reasons are erased too: a vendor's message may be about one user only.
_UNUSED_REASON: Final = "id NOT IN (SELECT reason FROM rejections UNION SELECT reason FROM losses)"


def is_in_flight(db: sqlite3.Connection, user_id: str) -> bool:
    """Return True if a job that has not ended includes the user of that id."""
    return any(has_user(encoded, user_id) for (encoded,) in db.execute("SELECT entries FROM jobs"))


def erase_user(db: sqlite3.Connection, fingerprints: Fingerprints, user_id: str) -> bool:
    """Erase everything stored about the user of that id, inside a transaction; return False if they are unknown."""
    id_fingerprint = fingerprints.of_id(UserTraits(user_id))
    row = db.execute("DELETE FROM users WHERE id_fingerprint = ? RETURNING row_id", [id_fingerprint]).fetchone()
    if row is None:
        return False
    db.execute("DELETE FROM desired WHERE row_id = ?", row)
    for table in _TABLES_BY_BACKEND:
        db.execute(f"DELETE FROM {table} WHERE {_AT_ANY_BACKEND}", row)
    db.execute(f"DELETE FROM reasons WHERE {_UNUSED_REASON}")
    return True
