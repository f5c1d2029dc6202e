"""How a run in bulk ends: the closed books, what to do next, and the exit code."""

from collections import Counter
from collections.abc import Mapping
from typing import Final, NoReturn

import attrs
import typer
from rich.console import Console
from rich.text import Text

from ..bulk import BackendReport, DryRunReport, Estimate, SyncReport
from ..bulk.stats import BackendStats, Cause
from ..outcomes import Misconfigured, SkipReason
from .exit_codes import ExitCode, report_exit_code
from .inputs import LedgerFile
from .progress import duration
from .tables import new_table, number, print_bad_rows, print_reasons, print_table, rows, users
from .terminal import print_json, stderr_console, stdout_console

# Why most users are unchanged; the books have a column for that.
_UNCHANGED: Final = Cause("Skipped", SkipReason.UNCHANGED)


def close(report: SyncReport, ledger: LedgerFile, *, title: str, json: bool, interrupted: ExitCode | None) -> NoReturn:
    """Print the books of a run and what to do next, and end with the code that says what became of it."""
    code = interrupted or report_exit_code(report)
    if json:
        print_json({**report.as_dict(), "ledger": str(ledger.path), "exit_code": code})
    else:
        print_backend_reports(stdout_console(), report, title)
    print_problems(stderr_console(), report)
    if interrupted is None:
        print_advice(stderr_console(), report, ledger)
    else:
        stderr_console().print(resume_hint(ledger), soft_wrap=True)
    raise typer.Exit(code)


def resume_hint(ledger: LedgerFile) -> str:
    """Return what to do after an interruption."""
    return f"Interrupted. Nothing is lost: run the same command again, or `{ledger.deliver_command()}`."


def close_rehearsal(dry_run_report: DryRunReport, *, json: bool) -> NoReturn:
    """Print what a run would come to, and end with the code it would have."""
    report = dry_run_report.report
    code = report_exit_code(report)
    if json:
        print_json({**dry_run_report.as_dict(), "exit_code": code})
    else:
        console = stdout_console()
        print_backend_reports(console, report, rows_read(report))
        print_estimates(console, dry_run_report.estimate)
    print_stop(stderr_console(), report)
    stderr_console().print("Nothing was sent: this was a dry run.", style="dim")
    raise typer.Exit(code)


def print_backend_reports(console: Console, report: SyncReport, title: str) -> None:
    """Print the books of each backend, then what was refused, not taken and lost there most often."""
    table = new_table(title, "Backend", "IncomingUser", "Accepted", "with loss", "Unchanged", "Rejected", "Pending")
    for counts in report.backends:
        table.add_row(
            Text(counts.backend, style="cyan"),
            number(counts.given),
            number(counts.accepted, "green"),
            number(counts.stats.lossy, "yellow"),
            number(counts.unchanged),
            number(counts.rejected, "red"),
            number(counts.pending, "magenta"),
        )
    print_table(console, table)
    for counts in report.backends:
        console.print(_beside_the_rows(counts), style="dim", soft_wrap=True, end="")
    console.print()
    for counts in report.backends:
        print_reasons(
            console, counts.backend, _reasons(counts.stats), rejected="refused in this run", adjusted="did not get"
        )
    print_bad_rows(console, report.bad_rows, report.bad_row_count)


def rows_read(report: SyncReport) -> str:
    """Return how many rows were read, and how many of them are no users."""
    bad = f", {report.bad_row_count:,} of them no users" if report.bad_row_count else ""
    return f"{rows(report.rows)} read{bad}"


def _beside_the_rows(counts: BackendReport) -> str:
    """Tell why a backend was given more or fewer users than there were rows."""
    parts = [
        *([f"{counts.carried:,} carried over from earlier runs"] if counts.carried else []),
        *([f"{counts.elsewhere:,} settled by another process meanwhile"] if counts.elsewhere else []),
        *(
            [f"{rows(counts.upserts.already_pending)} about users who were due already"]
            if counts.upserts.already_pending
            else []
        ),
        *([f"{users(counts.upserts.rejected)} refused before and the same since"] if counts.upserts.rejected else []),
    ]
    return f"{counts.backend}: {', '.join(parts)}\n" if parts else ""


def _reasons(stats: BackendStats) -> BackendStats:
    """Return *stats* without the causes that are told elsewhere: why it ended early, and who is unchanged."""
    causes = {
        key: count for key, count in stats.causes.items() if key != _UNCHANGED and key.outcome != Misconfigured.__name__
    }
    return attrs.evolve(stats, causes=Counter(causes))


def print_estimates(console: Console, estimates: Mapping[str, Estimate]) -> None:
    """Print what a run would take at each backend."""
    table = new_table("What it would take at least", "Backend", "Requests", "Jobs", "Time at the quota")
    for name, estimate in estimates.items():
        time = "no quota is set" if estimate.seconds is None else duration(estimate.seconds)
        table.add_row(Text(name, style="cyan"), number(estimate.requests), number(estimate.jobs), time)
    print_table(console, table)
    console.print()


def print_problems(console: Console, report: SyncReport) -> None:
    """Print which backends were given up on, and why."""
    for counts in report.backends:
        if counts.problem is not None:
            console.print(f"{counts.backend} was given up on: {counts.problem}", style="red", soft_wrap=True)


def print_stop(console: Console, report: SyncReport) -> None:
    """Print why a run ended before its end, if it did."""
    if report.stopped is not None:
        console.print(f"Stopped: {report.stopped}", style="red", soft_wrap=True)


def print_advice(console: Console, report: SyncReport, ledger: LedgerFile) -> None:
    """Print why a run ended, and what to do about who is pending or rejected."""
    print_stop(console, report)
    if report.pending:
        first = "Mend the settings. " if report_exit_code(report) is ExitCode.SETTINGS else ""
        console.print(f"{first}To send who is pending: {ledger.deliver_command()}", soft_wrap=True)
    if report.rejected:
        console.print(f"To see why users were rejected, and to mend them: {ledger.command('rejected')}", soft_wrap=True)
