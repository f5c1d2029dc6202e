"""How far a long reading has come: where to go on, and what was counted on the way."""

import attrs

from .database import Database


@attrs.frozen
class Bookmark:
    """Where a reading goes on.

    Attributes:
        token: What the next page is asked for with.
        moment: When it was stored, in seconds since 1970.
        record: What was counted so far, as JSON.
    """

    token: str = attrs.field(repr=False)
    moment: int
    record: bytes = attrs.field(repr=False)


def read_bookmark(database: Database, reading: str) -> Bookmark | None:
    """Return the bookmark of the *reading* of that name, or None."""
    rows = database.rows("SELECT token, moment, record FROM bookmarks WHERE reading = ?", reading)
    return Bookmark(*rows[0]) if rows else None


def write_bookmark(database: Database, reading: str, bookmark: Bookmark | None) -> None:
    """Store the *bookmark* of a reading in place of any other, or take it out where it is None."""
    with database.transaction() as db:
        db.execute("DELETE FROM bookmarks WHERE reading = ?", [reading])
        if bookmark is not None:
            db.execute(
                "INSERT INTO bookmarks VALUES (?, ?, ?, ?)",
                [reading, bookmark.token, bookmark.moment, bookmark.record],
            )
