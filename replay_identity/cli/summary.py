"""Print the result of a bulk run and what to do next, and exit."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NoReturn

import attrs
import typer
from rich.console import Console
from rich.text import Text

from .._text import pluralize
from ..adapters.credentials import at_one_place, of_two_organisations
from ..bulk import BackendReport, DryRunReport, Estimate, SyncReport
from ..bulk.stats import BackendStats, Cause
from ..ledger import AccountCounts
from ..outcomes import Misconfigured, SkipReason
from .exit_codes import ExitCode, sync_exit_code
from .inputs import LedgerFile
from .mirror import print_mirror, print_mirror_problem
from .progress import format_duration
from .tables import format_count, new_table, print_bad_rows, print_notes, print_reasons, print_table
from .terminal import print_json, stderr_console, stdout_console

# Why most users are skipped; the table has a column for them.
_UNCHANGED: Final = Cause("Skipped", SkipReason.UNCHANGED)
# Abandoned jobs that are named.
_MAX_JOBS: Final = 3


def finish_run(
    report: SyncReport, ledger: LedgerFile, *, title: str, json: bool, interrupted: ExitCode | None
) -> NoReturn:
    """Print the report of a run and what to do next, and exit."""
    code = interrupted or sync_exit_code(report)
    if json:
        print_json({**report.as_dict(), "ledger": str(ledger.path), "exit_code": code})
    else:
        print_sync_report(stdout_console(), report, title)
        if report.mirror is not None:
            print_mirror(stdout_console(), report.mirror)
        print_notes(stderr_console(), report.notes)
    print_account_notes(stderr_console(), report)
    print_problems(stderr_console(), report)
    if interrupted is None:
        print_advice(stderr_console(), report, ledger)
    else:
        stderr_console().print(resume_advice(ledger), soft_wrap=True)
    raise typer.Exit(code)


def finish_dry_run(dry_run: DryRunReport, *, json: bool) -> NoReturn:
    """Print the report of a dry run, and exit as the run would."""
    code = sync_exit_code(dry_run.report)
    if json:
        print_json({**dry_run.as_dict(), "exit_code": code})
    else:
        console = stdout_console()
        print_sync_report(console, dry_run.report, rows_read(dry_run.report))
        if dry_run.report.mirror is not None:
            print_mirror(console, dry_run.report.mirror, is_dry_run=True)
        print_estimates(console, dry_run.estimate)
        print_notes(stderr_console(), dry_run.report.notes)
    print_account_notes(stderr_console(), dry_run.report)
    print_dry_run_note(stderr_console(), dry_run.report)
    raise typer.Exit(code)


def print_sync_report(console: Console, report: SyncReport, title: str) -> None:
    """Print the counts of each backend, then why users were rejected, not accepted or adapted with loss."""
    headings = ("Users", "Accepted", "With loss", "Unchanged", "Rejected", "Pending")
    table = new_table(title, "Backend", *headings)
    for backend in report.backends:
        table.add_row(
            Text(backend.backend, style="cyan"),
            format_count(backend.given),
            format_count(backend.accepted, "green"),
            format_count(backend.stats.lossy, "yellow"),
            format_count(backend.unchanged),
            format_count(backend.rejected, "red"),
            format_count(backend.pending, "magenta"),
        )
    print_table(console, table)
    for backend in report.backends:
        console.print(_count_notes(backend), style="dim", soft_wrap=True, end="")
    console.print()
    for backend in report.backends:
        print_reasons(
            console,
            backend.backend,
            _without_shown_causes(backend.stats),
            rejected="rejected by a limit in this run",
            adjusted="adapted with loss",
        )
    print_bad_rows(console, report.bad_rows, report.bad_row_count)


def rows_read(report: SyncReport) -> str:
    """Return the number of rows, and of invalid rows."""
    invalid = f", {report.bad_row_count:,} of them invalid" if report.bad_row_count else ""
    return f"{pluralize(report.rows, 'row')} read{invalid}"


def print_estimates(console: Console, estimates: Mapping[str, Estimate]) -> None:
    """Print the least that a run takes at each backend."""
    table = new_table("Estimated minimum", "Backend", "Requests", "Jobs", "Time")
    for name, estimate in estimates.items():
        time = (
            "unknown: requests_per_minute is not set" if estimate.seconds is None else format_duration(estimate.seconds)
        )
        table.add_row(Text(name, style="cyan"), format_count(estimate.requests), format_count(estimate.jobs), time)
    print_table(console, table)
    console.print()


def print_account_notes(console: Console, report: SyncReport) -> None:
    """Print which backends were used at an account for the first time, and who is pending at their other accounts."""
    for backend in report.backends:
        for note in _account_notes(backend):
            console.print(f"{backend.backend}: {note}", style="yellow", soft_wrap=True)


def print_problems(console: Console, report: SyncReport) -> None:
    """Print which backends the run gave up, and why."""
    for backend in report.backends:
        if backend.problem is not None:
            message = f"Stopped delivering to {backend.backend}: {backend.problem}"
            console.print(message, style="red", soft_wrap=True)


def print_advice(console: Console, report: SyncReport, ledger: LedgerFile) -> None:
    """Print why the run stopped, and what to do about pending and rejected users."""
    _print_stop(console, report)
    if report.pending:
        wrong_settings = sync_exit_code(report) is ExitCode.SETTINGS
        action = "Fix the settings, then send" if wrong_settings else "Send"
        console.print(f"{action} pending users with: {ledger.deliver_command()}", soft_wrap=True)
    if report.mirror is not None:
        print_mirror_problem(console, report.mirror)
    if report.rejected:
        console.print(f"See why users were rejected with: {ledger.command('rejected')}", soft_wrap=True)


def print_dry_run_note(console: Console, report: SyncReport) -> None:
    """Print why the dry run stopped, if it did, and that nothing was sent."""
    _print_stop(console, report)
    console.print("Nothing was sent: this was a dry run.", style="dim")


def resume_advice(ledger: LedgerFile) -> str:
    """Return what to do after an interruption."""
    return f"Interrupted. Nothing is lost: run the same command again, or `{ledger.deliver_command()}`."


def _print_stop(console: Console, report: SyncReport) -> None:
    if report.stopped is not None:
        console.print(f"Stopped: {report.stopped}", style="red", soft_wrap=True)


def _account_notes(report: BackendReport) -> Iterator[str]:
    """Yield that a new account has nothing of what others have, and who is pending at another account."""
    if report.former_account:
        yield f"the key belonged to {report.former_account} before, and now belongs to {report.account}. Check the key."
    confirmed = [other for other in report.other_accounts if other.confirmed]
    if report.new_account and confirmed:
        known = " and ".join(
            f"{pluralize(other.confirmed, 'user')} confirmed at {other.account}" for other in confirmed
        )
        advice = " If only the key was rotated, use --same-account." if _may_be_one(report, confirmed) else ""
        new = f"this is the first run at {report.account}, so all users are new there"
        yield f"{new}. The ledger knows {known}.{advice}"
    for other in report.other_accounts:
        if other.pending:
            advice = ", or, if only the key was rotated, use --same-account" if _may_be_one(report, [other]) else ""
            users = pluralize(other.pending, "user is", "users are")
            yield f"{users} pending at {other.account}; send them with the settings of that account{advice}."


def _may_be_one(report: BackendReport, others: Iterable[AccountCounts]) -> bool:
    """Return True if the account of *report* may be one of *others* with another key."""
    return any(
        at_one_place(report.account, other.account) and not of_two_organisations(report.account, other.account)
        for other in others
    )


def _count_notes(report: BackendReport) -> str:
    """Return a line that explains why the numbers of users and rows differ, or an empty string."""
    upserts = report.upserts
    notes = [
        text
        for count, text in (
            (report.carried, f"{pluralize(report.carried, 'user')} carried over from earlier runs"),
            (report.elsewhere, f"{pluralize(report.elsewhere, 'user')} settled by another process"),
            (report.rejected_elsewhere, f"{pluralize(report.rejected_elsewhere, 'user')} rejected by another process"),
            (upserts.already_pending, f"{pluralize(upserts.already_pending, 'row')} merged into pending users"),
            (upserts.rejected, f"{pluralize(upserts.rejected, 'user')} rejected earlier and unchanged"),
            (len(report.abandoned_jobs), _describe_abandoned(report.abandoned_jobs)),
        )
        if count
    ]
    return f"{report.backend}: {', '.join(notes)}\n" if notes else ""


def _describe_abandoned(jobs: Sequence[str]) -> str:
    names = ", ".join(jobs[:_MAX_JOBS]) + (", …" if len(jobs) > _MAX_JOBS else "")
    return f"{pluralize(len(jobs), 'job')} abandoned that never ended ({names})"


def _without_shown_causes(stats: BackendStats) -> BackendStats:
    """Return *stats* without causes that are printed elsewhere: unchanged users and wrong settings."""
    causes = {
        cause: count
        for cause, count in stats.causes.items()
        if cause != _UNCHANGED and cause.outcome != Misconfigured.__name__
    }
    return attrs.evolve(stats, causes=Counter(causes))
