"""Why a vendor did not take a user, or did not get all of them, as few texts for many users."""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any, assert_never

import attrs
import orjson

from ..outcome import Adjustment, Broken, Rejected, Violation

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
