"""`replay-identity migrate`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console

from .. import migration
from ..config import Settings
from ..migration import ListingStats, MigrationReport, MigrationSource
from ..migration.html_report import html_page
from ..sources import BadRow, Row
from . import options
from .exit_codes import ExitCode, reading_exit_code, report_exit_code
from .inputs import (
    FileOptions,
    LedgerFile,
    chosen_source,
    existing_ledger,
    other_backends,
    resolve_ledger,
    resolve_settings,
)
from .progress import progress, progress_display
from .summary import print_advice, print_backend_reports, print_estimates, print_problems, print_stop, rows_read
from .tables import new_table, number, print_fidelity, print_table, users
from .terminal import interruptible, print_json, stderr_console, stdout_console

# Of properties with several types, so many are told.
_MOST_CONFLICTS: Final = 10


def close_migration(
    report: MigrationReport, ledger: LedgerFile, *, html: Path | None, json: bool, interrupted: ExitCode | None
) -> NoReturn:
    """Print what a migration came to and what to do next, and end with the code that says what became of it."""
    code = interrupted or exit_code(report)
    if html is not None:
        _write_page(report, html)
    if json:
        print_json({**report.as_dict(), "ledger": str(ledger.path), "exit_code": code})
    else:
        print_migration(stdout_console(), report)
    print_problems(stderr_console(), report.run)
    if report.estimate is not None:
        print_stop(stderr_console(), report.run)
        stderr_console().print("Nothing was sent: this was a dry run.", style="dim")
    elif interrupted is None:
        print_advice(stderr_console(), report.run, ledger)
    else:
        stderr_console().print("Interrupted. Nothing is lost: run the same command again.", soft_wrap=True)
    raise typer.Exit(code)


def exit_code(report: MigrationReport) -> ExitCode:
    """Return the code that says what became of a migration, the reading included."""
    code = reading_exit_code(report.failure) or report_exit_code(report.run)
    if code is ExitCode.OK and report.listing is not None and report.listing.unusable:
        return ExitCode.REFUSED
    return code


def print_migration(console: Console, report: MigrationReport) -> None:
    """Print who was read, what became of them, and what became of their properties."""
    if report.listing is not None:
        _print_listed(console, report.source, report.listing)
    print_backend_reports(console, report.run, rows_read(report.run))
    print_fidelity(console, report.fidelity)
    if report.estimate is not None:
        print_estimates(console, report.estimate)


def _print_listed(console: Console, source: str, listing: ListingStats) -> None:
    earlier = f", {listing.earlier:,} of them to earlier runs" if listing.earlier else ""
    console.print(f"{source} showed {users(listing.users)}{earlier}: {_kinds(listing)}.", soft_wrap=True)
    if listing.restarts:
        times = "1 time" if listing.restarts == 1 else f"{listing.restarts} times"
        console.print(f"The reading began anew: {times} a page was no longer known.", soft_wrap=True)
    if listing.anonymous:
        console.print("Who is anonymous cannot be found again elsewhere, unless a mapping gives an id.", soft_wrap=True)
    console.print()
    _print_conflicts(console, source, listing.type_conflicts)


def _kinds(listing: ListingStats) -> str:
    kinds = (
        (listing.given, "taken in"),
        (listing.anonymous, "anonymous"),
        (listing.being_deleted, "being deleted"),
        (listing.unusable, "unusable"),
    )
    return ", ".join(f"{count:,} {kind}" for count, kind in kinds if count) or "nobody"


def _print_conflicts(console: Console, source: str, conflicts: Mapping[str, int]) -> None:
    if not conflicts:
        return
    table = new_table(f"{source} has seen with several types", "Property", "Users")
    for path, count in list(conflicts.items())[:_MOST_CONFLICTS]:
        table.add_row(path, number(count))
    if len(conflicts) > _MOST_CONFLICTS:
        table.add_row(f"… and {len(conflicts) - _MOST_CONFLICTS:,} more", style="dim")
    print_table(console, table)
    console.print()


def _write_page(report: MigrationReport, path: Path) -> None:
    try:
        path.write_text(html_page(report), encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"cannot be written: {error.strerror}", param_hint="--html") from None
    stderr_console().print(f"The report is in {path}.", soft_wrap=True)


_RESUME_HINT: Final = "Interrupted. Nothing is lost: run the same command again."


def migrate(  # noqa: PLR0913  # One for each option.
    *,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="NAME|FILE",
            help="A backend that shows its users, such as fullstory, or a file of users; - for stdin.",
        ),
    ],
    to: options.ToOption = None,
    adapt: options.AdaptOption = False,
    settings: options.SettingsOption = None,
    ledger: options.LedgerOption = None,
    format: options.FormatOption = None,  # noqa: A002  # The option's name.
    mapping: options.MappingOption = None,
    sql: options.SqlOption = None,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Read the backend from its first user on, whatever earlier runs have read."),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the report as a page with charts: names and counts only."),
    ] = None,
    dry_run: options.DryRunOption = False,
    json: options.JsonOption = False,
) -> None:
    """Move every user of a backend, or of a file, to other backends, and tell what their limits made of each trait."""
    everything = resolve_settings(settings, to=(), adapt=adapt)
    chosen = other_backends(source, everything, to)
    file = resolve_ledger(ledger, settings, to=[backend.name for backend in chosen.backends], adapt=adapt)
    users = chosen_source(source, everything, FileOptions(format, mapping, sql, restart=restart))
    if dry_run:
        close_migration(_dry_run(users, chosen, file.path), file, html=html, json=json, interrupted=None)
    report, code = _run(users, chosen, file)
    close_migration(report, file, html=html, json=json, interrupted=code)


def _run(users: MigrationSource, chosen: Settings, file: LedgerFile) -> tuple[MigrationReport, ExitCode | None]:
    """Migrate, and return what became of it and the exit code of an interruption."""
    with (
        file.open() as opened,
        interruptible(stderr_console(), _RESUME_HINT) as interruption,
        progress_display(stderr_console()) as watch,
    ):
        report = migration.migrate(
            users,
            chosen.backends,
            ledger=opened,
            options=chosen.delivery,
            on_progress=watch.tell,
            watch=watch.counted,
        )
    return report, interruption.code


def _dry_run(users: MigrationSource, chosen: Settings, path: Path) -> MigrationReport:
    with (
        existing_ledger(path) as opened,
        interruptible(stderr_console(), "Interrupted. Nothing was sent."),
        progress("read") as advance,
    ):

        def counted(rows: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
            for row in rows:
                advance()
                yield row

        return migration.rehearse_migration(
            users, chosen.backends, ledger=opened, options=chosen.delivery, watch=counted
        )
