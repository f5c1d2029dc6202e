"""Take note of what vendors answered, and erase what is no longer needed."""

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence

import attrs

from ..outcome import Accepted, Adjustment, Broken, Outcome, Rejected, Skipped
from .digests import Digests, pack, unpack
from .encoding import encoded_fields
from .reasons import Reasons, loss_text, read_loss, refusal_text


@attrs.frozen
class Settlement:
    """What became of one user at one backend.

    Attributes:
        place: Where the ledger keeps the user.
        version: What was sent: the number of the transaction that put it last.
        outcome: What the backend answered.
    """

    place: int
    version: int
    outcome: Outcome


@attrs.define
class Settle:
    """One transaction that takes note of outcomes.

    Attributes:
        db: The connection, inside a transaction.
        digests: The ledger's digests.
        backend: Id of the backend in the ledger.
        now: Seconds since 1970.
    """

    db: sqlite3.Connection
    digests: Digests
    backend: int
    now: int
    _reasons: Reasons = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._reasons = Reasons(self.db)

    def settle(self, settlements: Sequence[Settlement]) -> list[int]:
        """Take note of *settlements*, in which nobody is twice, and return the places of who is due no more."""
        desired = self._desired([settlement.place for settlement in settlements])
        current = [
            (settlement, desired[settlement.place][1])
            for settlement in settlements
            if desired.get(settlement.place, (None,))[0] == settlement.version
        ]
        held = [(one.place, encoded) for one, encoded in current if isinstance(one.outcome, Accepted | Skipped)]
        refused = [(one.place, one.outcome) for one, _ in current if isinstance(one.outcome, Rejected | Broken)]
        self._hold(held)
        self._refuse(refused)
        self._lose(dict(held), {one.place: lost for one, _ in current if (lost := lossy(one.outcome))})
        settled = [place for place, _ in held] + [place for place, _ in refused]
        self._delete("due", settled)
        self._erase(settled)
        return settled

    def _erase(self, places: Sequence[int]) -> None:
        """Erase the values of the users whom no vendor needs them for any more."""
        self.db.execute(
            f"DELETE FROM desired WHERE user IN ({_marks(places)})"
            " AND NOT EXISTS (SELECT 1 FROM due WHERE backend IN (SELECT id FROM backends) AND due.user = desired.user)"
            " AND NOT EXISTS"
            " (SELECT 1 FROM refusals WHERE backend IN (SELECT id FROM backends) AND refusals.user = desired.user)",
            places,
        )

    def _desired(self, places: Sequence[int]) -> dict[int, tuple[int, bytes]]:
        rows = self.db.execute(f"SELECT user, version, traits FROM desired WHERE user IN ({_marks(places)})", places)
        return {user: (version, traits) for user, version, traits in rows}

    def _hold(self, confirmed: Sequence[tuple[int, bytes]]) -> None:
        """Move the mark of what the vendor holds."""
        before = self._held_before([place for place, _ in confirmed])
        rows: list[tuple[int, int, bytes, bytes]] = []
        for place, encoded in confirmed:
            fields = self.digests.of_fields(encoded)
            if place in before:
                fields = {**unpack(before[place]), **fields}
            rows.append((self.backend, place, self.digests.of_user(encoded), pack(fields)))
        self.db.executemany("INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, 0)", rows)

    def _held_before(self, places: Sequence[int]) -> dict[int, bytes]:
        rows = self.db.execute(
            f"SELECT user, fields FROM held WHERE backend = ? AND user IN ({_marks(places)})", [self.backend, *places]
        )
        return dict(rows.fetchall())

    def _refuse(self, refused: Iterable[tuple[int, Rejected | Broken]]) -> None:
        self.db.executemany(
            "INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?)",
            [(self.backend, place, self._reasons.id_of(refusal_text(refusal)), self.now) for place, refusal in refused],
        )

    def _lose(self, held: Mapping[int, bytes], lost: Mapping[int, tuple[Adjustment, ...]]) -> None:
        """Put on record what the vendor did not get of whom; of fields that were not sent now, the record stays."""
        earlier = self.db.execute(
            f"SELECT user, text FROM losses JOIN reasons ON id = reason WHERE backend = ? AND user IN ({_marks(held)})",
            [self.backend, *held],
        )
        losses = dict(lost)
        for place, text in earlier.fetchall():
            fields = encoded_fields(held[place])
            stands = (loss for loss in read_loss(text) if not any(_is_about(loss, field) for field in fields))
            losses[place] = (*stands, *losses.get(place, ()))
            self.db.execute("DELETE FROM losses WHERE backend = ? AND user = ?", [self.backend, place])
        self.db.executemany(
            "INSERT INTO losses VALUES (?, ?, ?)",
            [(self.backend, place, self._reasons.id_of(loss_text(losses[place]))) for place in losses if losses[place]],
        )

    def _delete(self, table: str, places: Sequence[int]) -> None:
        among = f"backend = ? AND user IN ({_marks(places)})"
        self.db.execute(f"DELETE FROM {table} WHERE {among}", [self.backend, *places])  # Ours.


def lossy(outcome: Outcome) -> tuple[Adjustment, ...]:
    """Return what the vendor did not get of what it accepted."""
    if not isinstance(outcome, Accepted):
        return ()
    return tuple(adjustment for adjustment in outcome.adjustments if adjustment.lossy)


def _is_about(loss: Adjustment, field: str) -> bool:
    return loss.path == field or loss.path.startswith((f"{field}.", f"{field}["))


def _marks(values: Collection[object]) -> str:
    return ",".join("?" * len(values))
