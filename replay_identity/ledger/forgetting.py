"""Forget one user: erase all that is kept of them, and find out whether that is possible."""

import sqlite3
from typing import Final

import orjson

from ..model import UserTraits
from .digests import Digests
from .jobs import read_members

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
