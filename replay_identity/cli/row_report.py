"""Process the rows of a file one by one, and report the outcomes."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import attrs

from ..bulk.stats import Stats
from ..errors import SourceError
from ..outcomes import Misconfigured, Outcome
from ..sources import BadRow, Row, Rows, SourceNotes
from ..traits import UserTraits
from .exit_codes import ExitCode, stats_exit_code

# Further bad rows are only counted.
MAX_BAD_ROWS: Final = 20

Evaluate: TypeAlias = Callable[[UserTraits], Sequence[Outcome]]
OnRow: TypeAlias = Callable[[Row | BadRow, Sequence[Outcome]], None]


@attrs.define
class BadRows:
    """The number of bad rows, and the first of them."""

    count: int = 0
    first: list[BadRow] = attrs.field(factory=list[BadRow])

    def add(self, row: BadRow) -> None:
        """Count *row*, and keep it if it is one of the first."""
        self.count += 1
        if self.count <= MAX_BAD_ROWS:
            self.first.append(row)

    def as_dict(self) -> dict[str, Any]:
        """Return the rows for JSON."""
        return {"bad_row_count": self.count, "bad_rows": [attrs.asdict(row) for row in self.first]}


@attrs.define
class RowReport:
    """The outcomes of all rows of a file.

    Attributes:
        stats: The outcomes of the users.
        bad_rows: The rows without a valid user.
        notes: How the file was read.
        stopped: Why the rest of the file was not processed, or None.
        code: Exit code if processing stopped early, or None.
    """

    stats: Stats = attrs.field(factory=Stats)
    bad_rows: BadRows = attrs.field(factory=BadRows)
    notes: SourceNotes = attrs.field(factory=SourceNotes)
    stopped: str | None = None
    code: ExitCode | None = None

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code for the whole file."""
        return self.code or stats_exit_code(
            self.stats, has_problems=bool(self.bad_rows.count or self.notes.has_problem)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            **self.stats.as_dict(),
            **self.bad_rows.as_dict(),
            "source": self.notes.as_dict(),
            "stopped": self.stopped,
        }

    def run(self, rows: Rows[Row | BadRow], evaluate: Evaluate, on_row: OnRow) -> None:
        """Evaluate each user, until *rows* end, Ctrl-C, or an error that every user would meet.

        Args:
            rows: The rows of a file.
            evaluate: Returns a user's outcomes.
            on_row: Called with each row and its outcomes.

        Raises:
            SourceError: The first row could not be read.
        """
        self.notes = rows.notes
        try:
            for row in rows:
                outcomes = self._add(row, evaluate)
                on_row(row, outcomes)
                if outcomes and all(isinstance(outcome, Misconfigured) for outcome in outcomes):
                    self.stopped = "the settings of every backend are wrong"
                    break
        except SourceError as error:
            if not (self.stats.users or self.bad_rows.count):
                raise
            self.stopped, self.code = str(error), ExitCode.USAGE
        except KeyboardInterrupt:
            self.stopped, self.code = "interrupted; the last user may have been sent", ExitCode.INTERRUPTED

    def _add(self, row: Row | BadRow, evaluate: Evaluate) -> Sequence[Outcome]:
        if isinstance(row, BadRow):
            self.bad_rows.add(row)
            return ()
        outcomes = evaluate(row.user)
        self.stats.add(outcomes)
        return outcomes
