"""Take note of what vendors answered, and erase what is no longer needed."""

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, assert_never

import attrs
import orjson

from .._records import record
from ..errors import printable
from ..outcomes import Accepted, Adjustment, Broken, Outcome, Rejected, Skipped, Violation, lossy
from ..traits import UserTraits
from .codec import Digests, encoded_fields, pack, unpack
from .database import among
from .jobs import read_members

Refusal = Rejected | Broken


def refusal_text(refusal: Refusal) -> str:
    """Return *refusal* as the JSON that `read_refusal` reads."""
    match refusal:
        case Rejected(violations=violations, code=code, message=message):
            content: Mapping[str, Any] = {
                "violations": [attrs.asdict(violation) for violation in violations],
                "code": code,
                "message": message,
            }
        case Broken(error=error):
            content = {"error": error}
        case _:
            assert_never(refusal)
    return orjson.dumps(content).decode()


def read_refusal(backend: str, text: str) -> Refusal:
    """Return the refusal that `refusal_text` was given."""
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
class Reasons:
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


_REFUSED: Final = (Rejected, Broken)


@record
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
        due = self._due([settlement.place for settlement in settlements])
        current = [one for one in settlements if one.place in due and due[one.place][0] == one.version]
        held = {one.place: due[one.place][1] for one in current if isinstance(one.outcome, Accepted)}
        # A route may let them through later; then the vendor holds nothing of what it was not sent now.
        skipped = {one.place: due[one.place][1] for one in current if isinstance(one.outcome, Skipped)}
        refused = [one for one in current if isinstance(one.outcome, _REFUSED)]
        self._hold(held)
        self._forget(skipped)
        self._refuse(refused)
        self._lose([one for one in current if isinstance(one.outcome, Accepted)], held)
        settled = [*held, *skipped, *(one.place for one in refused)]
        self._delete("due", settled)
        self._erase(settled)
        return settled

    def _due(self, places: Sequence[int]) -> dict[int, tuple[int, bytes]]:
        """Return what those of *places* who are due should be, and the version of it."""
        these, parameters = among(places)
        rows = self.db.execute(
            "SELECT desired.user, version, traits FROM desired JOIN due ON backend = ? AND due.user = desired.user"
            f" WHERE desired.user {these}",
            [self.backend, *parameters],
        )
        return {user: (version, traits) for user, version, traits in rows}

    def _erase(self, places: Sequence[int]) -> None:
        """Erase the values of the users whom no vendor needs them for any more."""
        these, parameters = among(places)
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
        for place, encoded in confirmed.items():
            fields = self.digests.of_fields(encoded)
            if place in before:
                fields = {**unpack(before[place]), **fields}
            rows.append((self.backend, place, self.digests.of_user(encoded), pack(fields)))
        self.db.executemany("INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, 0)", rows)

    def _held_before(self, places: Collection[int]) -> dict[int, bytes]:
        these, parameters = among(places)
        rows = self.db.execute(
            f"SELECT user, fields FROM held WHERE backend = ? AND user {these}", [self.backend, *parameters]
        )
        return dict(rows.fetchall())

    def _forget(self, skipped: Mapping[int, bytes]) -> None:
        """Hold nothing for confirmed of what is in doubt: an earlier request without an answer may have been about it.

        Others of the fields stand, and nothing is in doubt any more.
        """
        these, parameters = among(skipped)
        doubted = self.db.execute(
            f"SELECT user, fields FROM held WHERE backend = ? AND in_doubt AND user {these}",
            [self.backend, *parameters],
        ).fetchall()
        rows: list[tuple[bytes, int, int]] = []
        for place, fields in doubted:
            names = self.digests.of_fields(skipped[place])
            stands = {name: value for name, value in unpack(fields).items() if name not in names}
            rows.append((pack(stands), self.backend, place))
        self.db.executemany(
            "UPDATE held SET whole = x'', fields = ?, in_doubt = 0 WHERE backend = ? AND user = ?", rows
        )

    def _refuse(self, refused: Iterable[Settlement]) -> None:
        rows = [
            (self.backend, one.place, one.version, self._reasons.id_of(refusal_text(one.outcome)), self.now)
            for one in refused
            if isinstance(one.outcome, _REFUSED)
        ]
        self.db.executemany("INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?, ?)", rows)

    def _lose(self, accepted: Sequence[Settlement], sent: Mapping[int, bytes]) -> None:
        """Put on record what the vendor did not get of whom; of fields that were not sent now, the record stays."""
        losses = {
            one.place: lost
            for one in accepted
            if isinstance(one.outcome, Accepted) and (lost := lossy(one.outcome.adjustments))
        }
        for place, text in self._lost_before([one.place for one in accepted]):
            fields = [printable(field) for field in encoded_fields(sent[place])]
            stands = [loss for loss in read_loss(text) if not any(_is_about(loss, field) for field in fields)]
            losses[place] = tuple(dict.fromkeys([*stands, *losses.get(place, ())]))
            self.db.execute("DELETE FROM losses WHERE backend = ? AND user = ?", [self.backend, place])
        self.db.executemany(
            "INSERT INTO losses VALUES (?, ?, ?)",
            [(self.backend, place, self._reasons.id_of(loss_text(losses[place]))) for place in losses if losses[place]],
        )

    def _lost_before(self, places: Sequence[int]) -> list[tuple[int, str]]:
        these, parameters = among(places)
        return self.db.execute(
            f"SELECT user, text FROM losses JOIN reasons ON id = reason WHERE backend = ? AND user {these}",
            [self.backend, *parameters],
        ).fetchall()

    def _delete(self, table: str, places: Sequence[int]) -> None:
        these, parameters = among(places)
        self.db.execute(f"DELETE FROM {table} WHERE backend = ? AND user {these}", [self.backend, *parameters])


def _is_about(loss: Adjustment, field: str) -> bool:
    return loss.path == field or loss.path.startswith((f"{field}.", f"{field}["))


# Where a user stands by their place at each backend; the key starts with the backend.
_STANDING: Final = ("due", "held", "refusals", "losses")
_OF_USER: Final = "backend IN (SELECT id FROM backends) AND user = ?"
# A vendor's words may be about one user only.
_TOLD_OF_NOBODY: Final = "id NOT IN (SELECT reason FROM refusals UNION SELECT reason FROM losses)"


def is_under_way(db: sqlite3.Connection, user_id: str) -> bool:
    """Tell whether a batch under way holds the user of that id."""
    written = orjson.dumps(user_id)
    return any(
        # Looked for in the bytes first: a batch may have 50,000 members, and few batches hold any one user.
        written in members and any(one.user_id == user_id for one in read_members(members))
        for (members,) in db.execute("SELECT members FROM jobs")
    )


def forget_user(db: sqlite3.Connection, digests: Digests, user_id: str) -> bool:
    """Erase all that is kept of the user of that id, inside a transaction, and tell whether there was anything."""
    identity = digests.of_identity(UserTraits(user_id))
    found = db.execute("DELETE FROM users WHERE identity = ? RETURNING id", [identity]).fetchone()
    if found is None:
        return False
    db.execute("DELETE FROM desired WHERE user = ?", found)
    for table in _STANDING:
        db.execute(f"DELETE FROM {table} WHERE {_OF_USER}", found)
    db.execute(f"DELETE FROM reasons WHERE {_TOLD_OF_NOBODY}")
    return True
