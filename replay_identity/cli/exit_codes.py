"""The exit codes of all commands."""

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from ..outcomes import Failure, Misconfigured

if TYPE_CHECKING:
    from ..bulk import MirrorReport, SyncReport
    from ..bulk.stats import Stats


class ExitCode(IntEnum):
    """An exit code; if several apply, wrong settings come before pending users, and these before rejected users."""

    OK = 0
    REJECTED = 1
    USAGE = 2
    BUG = 70
    PENDING = 75
    SETTINGS = 78
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


EXIT_CODES_HELP: Final = (
    "Exit codes: 0 success; 1 a user was rejected, a row is invalid, no row has a field that the mapping names, or "
    "users who vanished were not deleted; 2 wrong usage or an unreadable file; 70 a bug in replay-identity; 75 some "
    "users are pending, run it again later; 78 the settings are wrong; 130 interrupted by Ctrl-C; 141 the output was "
    "closed early; 143 terminated by SIGTERM."
)


def stats_exit_code(stats: "Stats", *, has_problems: bool = False) -> ExitCode:
    """Return the exit code for users who were identified or checked one by one.

    Args:
        stats: The outcomes of the users.
        has_problems: True if a row is invalid, or no row has a field that the mapping names.
    """
    backends = stats.backends.values()
    if any(backend.outcomes[Misconfigured.__name__] for backend in backends):
        return ExitCode.SETTINGS
    if any(backend.pending for backend in backends):
        return ExitCode.PENDING
    if has_problems or any(backend.rejected for backend in backends):
        return ExitCode.REJECTED
    return ExitCode.OK


def sync_exit_code(report: "SyncReport") -> ExitCode:
    """Return the exit code for a bulk run."""
    if report.stopped is not None:
        return ExitCode.USAGE
    mirror = ExitCode.OK if report.mirror is None else _mirror_exit_code(report.mirror)
    is_misconfigured = any(backend.stats.outcomes[Misconfigured.__name__] for backend in report.backends)
    if is_misconfigured or mirror is ExitCode.SETTINGS:
        return ExitCode.SETTINGS
    if report.pending or mirror is ExitCode.PENDING:
        return ExitCode.PENDING
    return ExitCode.REJECTED if report.bad_row_count or report.rejected or report.notes.has_problem else mirror


def _mirror_exit_code(mirror: "MirrorReport") -> ExitCode:
    """Return the exit code for users who vanished: whether they were deleted, if they should be."""
    if mirror.misconfigured:
        return ExitCode.SETTINGS
    if mirror.retryable:
        return ExitCode.PENDING
    statuses = {status for counts in mirror.receipts.values() for status in counts}
    is_refused = not statuses.isdisjoint({"failed", "unknown", "unsupported"})
    return ExitCode.OK if mirror.is_usable and not is_refused else ExitCode.REJECTED


def read_failure_exit_code(failure: Failure | None) -> ExitCode | None:
    """Return the exit code for a *failure* to read a vendor's users, or None if there is no specific one."""
    if isinstance(failure, Misconfigured):
        return ExitCode.SETTINGS
    return ExitCode.PENDING if failure is not None and failure.retryable else None
