"""What a run tells: while it runs, and at its end."""

from typing import Any

import attrs

from ..sources import BadRow
from .books import Books


@attrs.frozen
class Progress:
    """How far one backend is.

    Attributes:
        backend: Name of the backend.
        given: Users known so far who have to be brought up to date.
        settled: Users who are.
        waits_for: What is being waited for, or an empty text.
        problem: Why the backend was given up on, or None.
    """

    backend: str
    given: int
    settled: int
    waits_for: str = ""
    problem: str | None = None


@attrs.define
class SyncReport:
    """The closed books of one run.

    Attributes:
        rows: Rows that were read.
        bad_rows: The first rows that were no users.
        bad_row_count: How many there were.
        books: One backend each, in the order given.
        stopped: Why the run ended before its end, or None.
    """

    rows: int = 0
    bad_rows: list[BadRow] = attrs.field(factory=list[BadRow])
    bad_row_count: int = 0
    books: tuple[Books, ...] = ()
    stopped: str | None = None

    def __getitem__(self, backend: str) -> Books:
        """Return the books of the backend of that name, or raise KeyError."""
        return {books.backend: books for books in self.books}[backend]

    @property
    def pending(self) -> int:
        """Return how many users are still due, at all backends together."""
        return sum(books.pending for books in self.books)

    @property
    def rejected(self) -> int:
        """Return how many users were refused, at all backends together."""
        return sum(books.rejected for books in self.books)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return {
            "rows": self.rows,
            "bad_row_count": self.bad_row_count,
            "bad_rows": [attrs.asdict(row) for row in self.bad_rows],
            "backends": {books.backend: books.as_dict() for books in self.books},
            "stopped": self.stopped,
        }
