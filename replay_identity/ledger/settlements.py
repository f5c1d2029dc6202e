"""Record outcomes in the ledger, and erase what no account needs any more."""

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, assert_never

import attrs
import orjson

from .._records import fast_frozen
from ..errors import printable
from ..outcomes import Accepted, Adjustment, Broken, Rejected, Skipped, SkipReason, Violation, lossy_adjustments
from .accounts import StoredAccount
from .codec import (
    NUMBER_OR_NONE,
    TEXT,
    TEXT_OR_NONE,
    Fingerprints,
    add_names,
    decode,
    forget_values,
    pack,
    require,
    unpack,
)
from .database import MAX_ROWS, next_version, sql_in
from .store import PathsOf, Rejection, Settlement

_REJECTIONS: Final = (Rejected, Broken)


def settle_users(
    db: sqlite3.Connection,
    fingerprints: Fingerprints,
    account: StoredAccount,
    settlements: Sequence[Settlement],
    *,
    paths_of: PathsOf,
    now: int,
) -> set[int]:
    """Record *settlements*, which name no user twice, in a transaction; return the row ids no longer pending.

    Args:
        db: The connection.
        fingerprints: The ledger's fingerprints.
        account: The account. If it was opened with other settings since the users were encoded, what the vendor has is
            recorded, and every user stays pending.
        settlements: The outcomes.
        paths_of: Returns the paths of what the backend sends of a user, as losses name them.
        now: Seconds since 1970.
    """
    recorder = _OutcomeRecorder(db, fingerprints, account, paths_of, now)
    settled: set[int] = set()
    for start in range(0, len(settlements), MAX_ROWS):
        settled.update(recorder.record(settlements[start : start + MAX_ROWS]))
    return settled


@fast_frozen
class _PendingUser:
    """A user who is pending; see the tables ``desired`` and ``pending``."""

    version: int
    encoded: bytes = attrs.field(repr=False)
    since: int = 0


@attrs.define
class _OutcomeRecorder:
    """Records the outcomes of one account in one transaction."""

    db: sqlite3.Connection
    fingerprints: Fingerprints
    account: StoredAccount
    paths_of: PathsOf
    now: int

    def record(self, settlements: Sequence[Settlement]) -> list[int]:
        pending = self._select_pending([settlement.row_id for settlement in settlements])
        # An outcome for an older version says nothing about the newer one, which stays pending.
        current = [
            each for each in settlements if each.row_id in pending and pending[each.row_id].version == each.version
        ]
        confirmed = [each for each in current if _confirms(each)]
        unconfirmed = [each for each in current if not _confirms(each) and isinstance(each.outcome, Skipped)]
        rejected = [each for each in current if isinstance(each.outcome, _REJECTIONS)]
        self._confirm(confirmed, pending)
        self._forget_doubtful([*unconfirmed, *rejected])
        if self.account.has_other_settings:
            return []
        self._record_losses(confirmed, pending)
        settled = [each.row_id for each in (*confirmed, *unconfirmed, *rejected)]
        self._replace_rejections(settled, rejected, pending)
        self._defer([each for each in settlements if each.not_before and each.row_id in pending])
        self._delete_pending(settled)
        self._erase_desired(settled)
        return settled

    def _select_pending(self, row_ids: Sequence[int]) -> dict[int, "_PendingUser"]:
        """Return those of *row_ids* that are pending."""
        clause, parameters = sql_in(row_ids)
        rows = self.db.execute(
            "SELECT desired.row_id, version, encoded, since FROM desired"
            " JOIN pending ON account = ? AND pending.row_id = desired.row_id"
            f" WHERE desired.row_id {clause}",
            [self.account.id, *parameters],
        )
        return {row_id: _PendingUser(*row) for row_id, *row in rows}

    def _defer(self, deferred: Sequence[Settlement]) -> None:
        self.db.executemany(
            "UPDATE pending SET not_before = ? WHERE account = ? AND row_id = ?",
            [(each.not_before, self.account.id, each.row_id) for each in deferred],
        )

    def _delete_pending(self, row_ids: Sequence[int]) -> None:
        clause, parameters = sql_in(row_ids)
        self.db.execute(f"DELETE FROM pending WHERE account = ? AND row_id {clause}", [self.account.id, *parameters])

    def _erase_desired(self, row_ids: Sequence[int]) -> None:
        """Erase the values of users who are neither pending nor rejected at any account."""
        clause, parameters = sql_in(row_ids)
        self.db.execute(
            f"DELETE FROM desired WHERE row_id {clause}"
            " AND NOT EXISTS (SELECT 1 FROM pending"
            " WHERE account IN (SELECT id FROM accounts) AND pending.row_id = desired.row_id)"
            " AND NOT EXISTS (SELECT 1 FROM rejections"
            " WHERE account IN (SELECT id FROM accounts) AND rejections.row_id = desired.row_id)",
            parameters,
        )

    def _confirm(self, settlements: Sequence[Settlement], pending: Mapping[int, "_PendingUser"]) -> None:
        """Add the fields that were accepted to the confirmed state."""
        before = self._select_confirmed([each.row_id for each in settlements])
        rows: list[tuple[int, int, bytes, bytes, int]] = []
        for each in settlements:
            source = b"" if self.account.has_other_settings else self._source_of(pending[each.row_id].encoded)
            fields = each.fields
            if older := before.get(each.row_id):
                # Not known: what a request without an answer may have changed, and what one without fields has changed.
                is_known = fields and not each.in_doubt
                fields = pack({**unpack(older if is_known else forget_values(older)), **unpack(fields)})
            rows.append((self.account.vendor_account, each.row_id, source, fields, self.now))
        self.db.executemany(
            "INSERT OR REPLACE INTO confirmed (vendor_account, row_id, source, fields, confirmed_at, in_doubt)"
            " VALUES (?, ?, ?, ?, ?, 0)",
            rows,
        )

    def _select_confirmed(self, row_ids: Collection[int]) -> dict[int, bytes]:
        clause, parameters = sql_in(row_ids)
        rows = self.db.execute(
            f"SELECT row_id, fields FROM confirmed WHERE vendor_account = ? AND row_id {clause}",
            [self.account.vendor_account, *parameters],
        )
        return dict(rows.fetchall())

    def _forget_doubtful(self, settlements: Sequence[Settlement]) -> None:
        """Forget the values of fields that a request without success may have set; the others stay confirmed."""
        before = self._select_confirmed([each.row_id for each in settlements])
        self.db.executemany(
            "UPDATE confirmed SET source = x'', fields = ?, in_doubt = 0 WHERE vendor_account = ? AND row_id = ?",
            [
                (
                    self._without_values(before[each.row_id], each),
                    self.account.vendor_account,
                    each.row_id,
                )
                for each in settlements
                if each.row_id in before
            ],
        )

    @staticmethod
    def _without_values(confirmed: bytes, settlement: Settlement) -> bytes:
        fields = None if settlement.in_doubt else unpack(settlement.fields)
        return add_names(forget_values(confirmed, fields), settlement.fields)

    def _replace_rejections(
        self, settled: Sequence[int], rejected: Sequence[Settlement], pending: Mapping[int, "_PendingUser"]
    ) -> None:
        """Delete the rejections of earlier states of the *settled* users, and store those of the *rejected* ones."""
        reasons = ReasonTable(self.db)
        clause, parameters = sql_in(settled)
        older = self.db.execute(
            f"DELETE FROM rejections WHERE account = ? AND row_id {clause} RETURNING reason",
            [self.account.id, *parameters],
        )
        for (reason,) in older.fetchall():
            reasons.drop(reason)
        recorded = next_version(self.db) if rejected else 0
        self.db.executemany(
            "INSERT INTO rejections (account, row_id, version, since, recorded, source, reason, rejected_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    self.account.id,
                    each.row_id,
                    each.version,
                    pending[each.row_id].since,
                    recorded,
                    self._source_of(pending[each.row_id].encoded),
                    reasons.id_of(_encode_rejection(each.outcome)),
                    self.now,
                )
                for each in rejected
                if isinstance(each.outcome, _REJECTIONS)
            ],
        )
        reasons.store_counts()

    def _source_of(self, encoded: bytes) -> bytes:
        return self.fingerprints.of_source(self.fingerprints.of_content(encoded), self.account.encoding)

    def _record_losses(self, confirmed: Sequence[Settlement], pending: Mapping[int, "_PendingUser"]) -> None:
        """Record what the vendor did not get; earlier losses of fields that this state does not set stay recorded."""
        losses = {each.row_id: lost for each in confirmed if (lost := _lost(each))}
        reasons, vendor_account = ReasonTable(self.db), self.account.vendor_account
        for row_id, reason, text in self._select_losses([each.row_id for each in confirmed]):
            paths = [printable(path) for path in self.paths_of(decode(pending[row_id].encoded))]
            kept = [loss for loss in decode_losses(text) if not any(_is_about(loss, path) for path in paths)]
            losses[row_id] = tuple(dict.fromkeys([*kept, *losses.get(row_id, ())]))
            self.db.execute("DELETE FROM losses WHERE vendor_account = ? AND row_id = ?", [vendor_account, row_id])
            reasons.drop(reason)
        self.db.executemany(
            "INSERT INTO losses (vendor_account, row_id, reason) VALUES (?, ?, ?)",
            [(vendor_account, row_id, reasons.id_of(_encode_losses(lost))) for row_id, lost in losses.items() if lost],
        )
        reasons.store_counts()

    def _select_losses(self, row_ids: Sequence[int]) -> list[tuple[int, int, str]]:
        clause, parameters = sql_in(row_ids)
        return self.db.execute(
            "SELECT row_id, reason, text FROM losses JOIN reasons ON id = reason"
            f" WHERE vendor_account = ? AND row_id {clause}",
            [self.account.vendor_account, *parameters],
        ).fetchall()


def _confirms(settlement: Settlement) -> bool:
    """Return True if the vendor has the user as encoded: it accepted them, or had confirmed every field before."""
    match settlement.outcome:
        case Accepted():
            return True
        case Skipped(reason=reason):
            return reason is SkipReason.UNCHANGED
        case _:
            return False


def _lost(settlement: Settlement) -> tuple[Adjustment, ...]:
    outcome = settlement.outcome
    return lossy_adjustments(outcome.adjustments) if isinstance(outcome, Accepted) else settlement.lost


def _is_about(loss: Adjustment, path: str) -> bool:
    return loss.path == path or loss.path.startswith((f"{path}.", f"{path}["))


def store_names(db: sqlite3.Connection, new_names: Mapping[bytes, str]) -> Collection[bytes]:
    """Store names of fields, by fingerprint, up to `MAX_NAMES` in all, and return the fingerprints of the *new_names*.

    They are what a removal of a nested trait is made complete with. Beyond the maximum, which only a mistake such as
    one name per user reaches, names are not stored.
    """
    if not new_names:
        return ()
    names = dict(new_names)  # Another thread may add some.
    (stored,) = db.execute("SELECT count(*) FROM fields").fetchone()
    rows = islice(names.items(), max(0, MAX_NAMES - stored))
    db.executemany("INSERT OR IGNORE INTO fields (fingerprint, name) VALUES (?, ?)", rows)
    return names


# Names of fields in one ledger.
MAX_NAMES: Final = 10_000


@attrs.define
class ReasonTable:
    """Ids of texts in the table ``reasons``, which counts the users that each text is about.

    The ids are cached for one transaction. A text that no user needs any more is erased: it may quote one user only.
    """

    db: sqlite3.Connection
    _ids: dict[str, int] = attrs.field(factory=dict[str, int], init=False, repr=False)
    _changes: Counter[int] = attrs.field(factory=Counter[int], init=False, repr=False)

    def id_of(self, text: str) -> int:
        """Return the id of *text*, which is inserted if it is new, and count one more user."""
        known = self._ids.get(text)
        if known is None:
            self.db.execute("INSERT OR IGNORE INTO reasons (text, users) VALUES (?, 0)", [text])
            known = int(self.db.execute("SELECT id FROM reasons WHERE text = ?", [text]).fetchone()[0])
            self._ids[text] = known
        self._changes[known] += 1
        return known

    def drop(self, reason: int) -> None:
        """Count one user less."""
        self._changes[reason] -= 1

    def store_counts(self) -> None:
        """Store the counts, and erase the texts that no user needs."""
        changes, self._changes = self._changes, Counter[int]()
        if not changes:
            return
        self.db.executemany(
            "UPDATE reasons SET users = users + ? WHERE id = ?", [(count, reason) for reason, count in changes.items()]
        )
        self.db.executemany("DELETE FROM reasons WHERE id = ? AND users <= 0", [(reason,) for reason in changes])


def drop_reasons(db: sqlite3.Connection, reasons: Iterable[int]) -> None:
    """Count one user less for each of *reasons*."""
    table = ReasonTable(db)
    for reason in reasons:
        table.drop(reason)
    table.store_counts()


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
        require(TEXT, content["error"])
        return Broken(backend, content["error"])
    violations = tuple(Violation(**violation) for violation in content["violations"])
    for violation in violations:
        require(TEXT, violation.path, violation.rule)
        require(NUMBER_OR_NONE, violation.limit, violation.actual)
        require(TEXT_OR_NONE, violation.unit)
    require(TEXT_OR_NONE, content["code"], content["message"])
    return Rejected(backend, violations, content["code"], content["message"])


def _encode_losses(adjustments: Iterable[Adjustment]) -> str:
    return orjson.dumps([attrs.asdict(adjustment) for adjustment in adjustments]).decode()


def decode_losses(text: str) -> tuple[Adjustment, ...]:
    """Return the lossy adjustments that a row of ``losses`` refers to."""
    return tuple(decode_loss(loss) for loss in orjson.loads(text))


def decode_loss(loss: Mapping[str, Any]) -> Adjustment:
    """Return the lossy adjustment that is stored as *loss*."""
    adjustment = Adjustment(**loss)
    require(TEXT, adjustment.path, adjustment.kind, adjustment.rule)
    require(TEXT_OR_NONE, adjustment.sent_as)
    return adjustment
