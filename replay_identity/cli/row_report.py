"""Every row of a file, one after another, and what came of it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import attrs

from ..bulk.stats import Stats
from ..errors import SourceError
from ..outcomes import Misconfigured, Outcome
from ..sources import BadRow, Row
from ..traits import UserTraits
from .exit_codes import ExitCode, exit_code

MOST_BAD_ROWS: Final = 20

Ask: TypeAlias = Callable[[UserTraits], Sequence[Outcome]]
OnRow: TypeAlias = Callable[[Row | BadRow, Sequence[Outcome]], None]


@attrs.define
class RowReport:
    """What came of the rows of a file.

    Attributes:
        stats: What became of the users.
        bad_rows: The first rows that were no users.
        bad_row_count: How many there were.
        stopped: Why the rest of the file was not read, or None.
        code: What the exit code is where the reading stopped.
    """

    stats: Stats = attrs.field(factory=Stats)
    bad_rows: list[BadRow] = attrs.field(factory=list[BadRow])
    bad_row_count: int = 0
    stopped: str | None = None
    code: ExitCode | None = None

    @property
    def exit_code(self) -> ExitCode:
        """Return the code that says what came of it all."""
        return self.code or exit_code(self.stats, bad_rows=self.bad_row_count)

    def as_dict(self) -> dict[str, Any]:
        """Return the survey as JSON has it."""
        bad_rows = [attrs.asdict(row) for row in self.bad_rows]
        counted = self.stats.as_dict()
        return {**counted, "bad_row_count": self.bad_row_count, "bad_rows": bad_rows, "stopped": self.stopped}

    def run(self, rows: Iterable[Row | BadRow], ask: Ask, on_row: OnRow) -> None:
        """Ask what becomes of each user, until the end of *rows*, Ctrl-C, or an error that every user would meet.

        Raises:
            SourceError: Not even the first row can be read.
        """
        try:
            for row in rows:
                outcomes = self._take(row, ask)
                on_row(row, outcomes)
                if outcomes and all(isinstance(outcome, Misconfigured) for outcome in outcomes):
                    self.stopped = "no backend has good settings"
                    break
        except SourceError as error:
            if not (self.stats.users or self.bad_row_count):
                raise
            self.stopped, self.code = str(error), ExitCode.USAGE
        except KeyboardInterrupt:
            self.stopped, self.code = "interrupted; the user under way may have been sent", ExitCode.INTERRUPTED

    def _take(self, row: Row | BadRow, ask: Ask) -> Sequence[Outcome]:
        if isinstance(row, Row):
            outcomes = ask(row.user)
            self.stats.add(outcomes)
            return outcomes
        self.bad_row_count += 1
        if len(self.bad_rows) < MOST_BAD_ROWS:
            self.bad_rows.append(row)
        return ()
