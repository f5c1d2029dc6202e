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
_GROUP: Final = 2000
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

    def take(self, users: Iterable[User]) -> Iterator[None]:
        """Take *users* in, some at a time, and yield after each time.

        Raises:
            SourceError: Not even the first row can be read; a later end is told in the report.
        """
        rows = iter(users)
        failure: SourceError | None = None
        while failure is None:
            group: list[User] = []
            try:
                group.extend(islice(rows, _GROUP))
            except SourceError as error:
                failure = error  # The rows before it are in the group.
            if group:
                self._put(self._good(group))
                yield
            elif failure is None:
                return
        if not self.report.rows:
            raise failure
        self.report.stopped = str(failure)

    def _good(self, group: Sequence[User]) -> list[UserTraits]:
        """Return the users among the rows, and count the others."""
        users: list[UserTraits] = []
        for number, row in enumerate(group, self.report.rows + 1):
            user, line = (row.user, row.line) if isinstance(row, Row) else (row, number)
            if isinstance(user, BadRow):
                self._count_bad(user)
            elif self.ledger is not None and user.user_id is None and not user.vendor_ids:
                self._count_bad(BadRow(line, line, _NO_ID))
            else:
                users.append(user)
        self.report.rows += len(group)
        return users

    def _count_bad(self, row: BadRow) -> None:
        self.report.bad_row_count += 1
        if len(self.report.bad_rows) < MOST_BAD_ROWS:
            self.report.bad_rows.append(row)

    def _put(self, users: Sequence[UserTraits]) -> None:
        if self.ledger is None:
            for lane in self.lanes:
                lane.put(users)
            return
        names = [lane.books.backend for lane in self.lanes]
        counts = self.ledger.put(users, names, whole=True, on_new=self._hand_over)
        for lane in self.lanes:
            lane.books.put.add(counts[lane.books.backend])

    def _hand_over(self, claims: Sequence[Claim]) -> None:
        for lane in self.lanes:
            lane.hand_over(claims)
