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
# Rows taken in at once.
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
    _failure: Exception | None = attrs.field(default=None, init=False)

    def take(self, users: Iterable[User]) -> Iterator[None]:
        """Take *users* in, some at a time, and yield after each time.

        Raises:
            SourceError: Not even the first row can be read; a later end is told in the report. Any other error of
                the source is raised as it is, once the rows before it are taken in.
        """
        rows, taken = iter(users), -1
        while self._failure is None and taken < self.report.rows:
            taken = self.report.rows
            self._put(self._good(islice(rows, _GROUP)))
            if taken < self.report.rows:
                yield
        if isinstance(self._failure, SourceError) and self.report.rows:
            self.report.stopped = str(self._failure)
        elif self._failure is not None:
            raise self._failure

    def _good(self, rows: Iterable[User]) -> Iterator[UserTraits]:
        """Yield the users among the *rows*, and count the others, until the source ends or fails."""
        report = self.report
        try:
            for row in rows:
                report.rows += 1
                user, line = (row.user, row.line) if isinstance(row, Row) else (row, report.rows)
                if isinstance(user, BadRow):
                    self._count_bad(user)
                elif self.ledger is not None and user.user_id is None and not user.vendor_ids:
                    self._count_bad(BadRow(line, line, _NO_ID))
                else:
                    yield user
        except Exception as error:  # noqa: BLE001  # The source's own, which is raised later.
            self._failure = error

    def _count_bad(self, row: BadRow) -> None:
        self.report.bad_row_count += 1
        if len(self.report.bad_rows) < MOST_BAD_ROWS:
            self.report.bad_rows.append(row)

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
