"""What a command exits with."""

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from ..outcomes import Failure, Misconfigured

if TYPE_CHECKING:
    from ..bulk import SyncReport
    from ..bulk.stats import Stats


class ExitCode(IntEnum):
    """An exit code; where several apply, settings come before pending users and these before refused ones."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    BUG = 70
    PENDING = 75
    SETTINGS = 78
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


HELP: Final = (
    "Exit codes: 0 all is well; 1 a user was refused or a row is bad; 2 wrong usage, or a file that cannot be read; "
    "70 a bug of ours; 75 some users are pending, so run it again later; 78 the settings are wrong; 130 interrupted; "
    "141 nobody reads the output; 143 ended by SIGTERM."
)


def exit_code(stats: "Stats", *, bad_rows: int = 0) -> ExitCode:
    """Return the code that says what became of the users counted."""
    backends = stats.backends.values()
    if any(backend.outcomes[Misconfigured.__name__] for backend in backends):
        return ExitCode.SETTINGS
    if any(backend.pending for backend in backends):
        return ExitCode.PENDING
    if bad_rows or any(backend.rejected for backend in backends):
        return ExitCode.REFUSED
    return ExitCode.OK


def reading_exit_code(failure: Failure | None) -> ExitCode | None:
    """Return the code that says why a vendor's users cannot be read, if it says more than that."""
    if isinstance(failure, Misconfigured):
        return ExitCode.SETTINGS
    return ExitCode.PENDING if failure is not None and failure.retryable else None


def report_exit_code(report: "SyncReport") -> ExitCode:
    """Return the code that says what became of the users in the books."""
    if report.stopped is not None:
        return ExitCode.USAGE
    if any(counts.stats.outcomes[Misconfigured.__name__] for counts in report.backends):
        return ExitCode.SETTINGS
    if report.pending:
        return ExitCode.PENDING
    return ExitCode.REFUSED if report.bad_row_count or report.rejected else ExitCode.OK
