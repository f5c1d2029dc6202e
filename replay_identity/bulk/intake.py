"""Rows into the ledger, or straight to the deliveries, and what is told of those that are no users."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeAlias

import attrs

from ..errors import SourceError
from ..ledger import Claim, Ledger
from ..model import UserTraits
from ..sources import BadRow, Row
from .lanes import Lane
from .report import SyncReport

User: TypeAlias = UserTraits | Row | BadRow

MOST_BAD_ROWS: Final = 20
# Rows taken in at once: few at first, so that sending begins soon, and twice as many each time.
_FIRST_GROUP: Final = 250
_GROUP: Final = 4000
_NO_ID: Final = "is an anonymous user, whom a ledger could not find again"


@attrs.define
class Intake:
    """Take users in.

    Attributes:
        lanes: Whom they are for.
        ledger: Where they are put, or None.
        report: Where rows are counted.
    """

    lanes: Sequence[Lane]
    ledger: Ledger | None
    report: SyncReport
    _failure: Exception | None = attrs.field(default=None, init=False, repr=False)
    # Of the rows that are being put, which count once they are.
    _read: int = attrs.field(default=0, init=False)
    _bad: list[BadRow] = attrs.field(factory=list[BadRow], init=False, repr=False)

    def take(self, users: Iterable[User]) -> Iterator[None]:
        """Take *users* in, some at a time, and yield after each time.

        Raises:
            SourceError: Not even the first row can be read; a later end is told in the report. Any other error of
                the source is raised as it is, once the rows before it are taken in.
        """
        rows, size = iter(users), min(_FIRST_GROUP, _GROUP)
        while self._take_some(islice(rows, size)) and self._failure is None:
            size = min(2 * size, _GROUP)
            yield
        if isinstance(self._failure, SourceError) and self.report.rows:
            self.report.stopped = str(self._failure)
        elif self._failure is not None:
            raise self._failure

    def _take_some(self, rows: Iterable[User]) -> bool:
        """Take *rows* in, count them, and tell whether there were any."""
        self._read, self._bad = 0, []
        self._put(self._good(rows))
        self.report.rows += self._read
        self.report.bad_row_count += len(self._bad)
        self.report.bad_rows.extend(self._bad[: MOST_BAD_ROWS - len(self.report.bad_rows)])
        return self._read > 0

    def _good(self, rows: Iterable[User]) -> Iterator[UserTraits]:
        """Yield the users among the *rows* until the source ends or fails."""
        try:
            for row in rows:
                self._read += 1
                user, line = (row.user, row.line) if isinstance(row, Row) else (row, self.report.rows + self._read)
                if isinstance(user, BadRow):
                    self._bad.append(user)
                elif self.ledger is not None and user.user_id is None and not user.vendor_ids:
                    self._bad.append(BadRow(line, line, _NO_ID))
                else:
                    yield user
        except Exception as error:  # noqa: BLE001  # The source's own, which is raised later.
            self._failure = error

    def _put(self, users: Iterable[UserTraits]) -> None:
        if self.ledger is None:
            group = list(users)
            for lane in self.lanes:
                lane.put(group)
            return
        names = [lane.books.backend for lane in self.lanes]
        counts = self.ledger.put(users, names, whole=True, on_new=self._hand_over)
        for lane in self.lanes:
            lane.books.put.add(counts[lane.books.backend])

    def _hand_over(self, claims: Sequence[Claim]) -> None:
        for lane in self.lanes:
            lane.hand_over(claims)
