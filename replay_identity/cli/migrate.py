"""`replay-identity migrate`."""

from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console

from .. import LogRocket, migration
from .._text import pluralize
from ..config import Settings
from ..migration import ListingStats, MigrationReport, MigrationSource
from ..migration.html_report import html_page
from . import options
from .exit_codes import ExitCode, read_failure_exit_code, sync_exit_code
from .inputs import LedgerFile, logrocket_export, resolve_ledger, resolve_settings, resolve_source, select_targets
from .progress import progress_display, spinner, track
from .summary import (
    print_account_notes,
    print_advice,
    print_dry_run_note,
    print_estimates,
    print_problems,
    print_sync_report,
    rows_read,
)
from .tables import format_count, new_table, print_fidelity, print_lines, print_notes, print_warnings
from .terminal import interruptible, print_json, stderr_console, stdout_console

_RESUME_ADVICE: Final = "Interrupted. Nothing is lost: run the same command again."


class ReadVia(StrEnum):
    """How to read the users of a backend."""

    pages = "pages"
    export = "export"


@options.with_source_options
def migrate_command(  # noqa: PLR0913  # One for each option.
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...",
            help="With --from-logrocket-export: the files; with --sql too: a database, if any.",
        ),
    ] = None,
    *,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME|FILE",
            help="A backend that can list its users, such as fullstory, or a file of users; - for stdin.",
        ),
    ] = None,
    from_logrocket_export: Annotated[
        bool,
        typer.Option(
            "--from-logrocket-export",
            help="Read FILE as an events table of LogRocket's Streaming Data Export: the newest row of each "
            "identified user.",
        ),
    ] = False,
    to: options.ToOption = None,
    adapt: options.AdaptOption = False,
    settings: options.SettingsOption = None,
    ledger: options.LedgerOption = None,
    source_options: options.SourceOptions,
    via: Annotated[
        ReadVia,
        typer.Option("--via", help="Read the backend page by page, or from one file that it exports."),
    ] = ReadVia.pages,
    restart: Annotated[
        bool, typer.Option("--restart", help="Read the backend from its first user instead of resuming.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Write the report as an HTML page; it contains only names and counts."
        ),
    ] = None,
    same_account: options.SameAccountOption = False,
    dry_run: options.DryRunOption = False,
    json: options.JsonOption = False,
) -> None:
    """Move the users of a backend or a file to other backends, and report what their limits make of each trait."""
    _check_source(source, files, via, from_logrocket_export=from_logrocket_export)
    resolved = resolve_settings(settings, adapt=adapt)
    name = source or ("" if to else _exported_backend(resolved))
    targets = select_targets(name, resolved, to)
    ledger_file = resolve_ledger(ledger, settings, to=[backend.name for backend in targets.backends], adapt=adapt)
    if from_logrocket_export:
        users: MigrationSource = logrocket_export(files, source_options)
    else:
        users = resolve_source(name, resolved, source_options, restart=restart, via=via.value)
    if dry_run:
        report = _dry_run(users, targets, ledger_file, same_account=same_account)
        _finish(report, ledger_file, html=html, json=json, interrupted=None)
    report, code = _run(users, targets, ledger_file, same_account=same_account)
    _finish(report, ledger_file, html=html, json=json, interrupted=code)


def _check_source(source: str | None, files: list[str] | None, via: ReadVia, *, from_logrocket_export: bool) -> None:
    if (source is None) is not from_logrocket_export:
        raise typer.BadParameter("pass one of them", param_hint="--from, --from-logrocket-export")
    if source is not None and files:
        raise typer.BadParameter("name the file after --from", param_hint="FILE")
    if from_logrocket_export and via is not ReadVia.pages:
        raise typer.BadParameter("the files are there already; leave the option out", param_hint="--via")


def _exported_backend(settings: Settings) -> str:
    """Return the name of the backend that an export comes from if there is only one, so that it is not a target too."""
    names = [backend.name for backend in settings.backends if isinstance(backend, LogRocket)]
    return names[0] if len(names) == 1 else ""


def _run(
    users: MigrationSource, targets: Settings, ledger_file: LedgerFile, *, same_account: bool
) -> tuple[MigrationReport, ExitCode | None]:
    """Migrate, and return the report and the exit code of an interruption."""
    with (
        ledger_file.open() as opened,
        interruptible(stderr_console(), _RESUME_ADVICE) as interruption,
        progress_display(stderr_console()) as display,
    ):
        report = migration.migrate(
            users,
            targets.backends,
            ledger=opened,
            options=targets.delivery,
            on_progress=display.update,
            wrap_rows=display.count,
            same_account=same_account,
        )
    return report, interruption.code


def _dry_run(
    users: MigrationSource, targets: Settings, ledger_file: LedgerFile, *, same_account: bool
) -> MigrationReport:
    with (
        ledger_file.open_if_exists() as opened,
        interruptible(stderr_console(), "Interrupted. Nothing was sent."),
        spinner("read") as advance,
    ):
        return migration.migrate(
            users,
            targets.backends,
            ledger=opened,
            dry_run=True,
            options=targets.delivery,
            wrap_rows=lambda rows: rows.through(partial(track, advance=advance)),
            same_account=same_account,
        )


def _finish(
    report: MigrationReport, ledger_file: LedgerFile, *, html: Path | None, json: bool, interrupted: ExitCode | None
) -> NoReturn:
    """Print the report and what to do next, and exit."""
    code = interrupted or migration_exit_code(report)
    if html is not None:
        _write_html(report, html)
    if json:
        print_json({**report.as_dict(), "ledger": str(ledger_file.path), "exit_code": code})
    else:
        print_migration(stdout_console(), report)
        print_notes(stderr_console(), report.run.notes)
        print_warnings(stderr_console(), report.run.notes.warnings)
    print_account_notes(stderr_console(), report.run)
    print_problems(stderr_console(), report.run)
    if report.estimate is not None:
        print_dry_run_note(stderr_console(), report.run)
    elif interrupted is None:
        print_advice(stderr_console(), report.run, ledger_file)
    else:
        stderr_console().print(_RESUME_ADVICE, soft_wrap=True)
    raise typer.Exit(code)


def migration_exit_code(report: MigrationReport) -> ExitCode:
    """Return the exit code for a migration, including the reading of its source."""
    code = read_failure_exit_code(report.failure) or sync_exit_code(report.run)
    if code is ExitCode.OK and report.listing is not None and report.listing.unusable:
        return ExitCode.REJECTED
    return code


def print_migration(console: Console, report: MigrationReport) -> None:
    """Print which users were read, the result at each backend, and what happened to each property."""
    if report.listing is not None:
        _print_listing(console, report.source, report.listing)
    print_sync_report(console, report.run, rows_read(report.run))
    print_fidelity(console, report.fidelity)
    if report.estimate is not None:
        print_estimates(console, report.estimate)


def _print_listing(console: Console, source: str, listing: ListingStats) -> None:
    kinds = ", ".join(
        f"{count:,} {kind}"
        for count, kind in (
            (listing.usable, "usable"),
            (listing.anonymous, "anonymous"),
            (listing.being_deleted, "being deleted"),
            (listing.unusable, "invalid"),
            (listing.earlier, "read by earlier runs"),
        )
        if count
    )
    console.print(f"{source}: {pluralize(listing.users, 'user')} read{kinds and f' ({kinds})'}", soft_wrap=True)
    if listing.restarts:
        times = pluralize(listing.restarts, "time")
        console.print(f"Reading restarted {times}, because the vendor no longer knew a page.", soft_wrap=True)
    if listing.anonymous:
        advice = "Other vendors cannot recognize anonymous users, unless a mapping gives them an id."
        console.print(advice, soft_wrap=True)
    console.print()
    _print_type_conflicts(console, source, listing.type_conflicts)


def _print_type_conflicts(console: Console, source: str, type_conflicts: Mapping[str, int]) -> None:
    table = new_table(f"{source}: properties with several types", "Property", "Users")
    print_lines(console, table, [(path, format_count(count)) for path, count in type_conflicts.items()])


def _write_html(report: MigrationReport, path: Path) -> None:
    try:
        path.write_text(html_page(report), encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"cannot be written: {error.strerror}", param_hint="--html") from None
    stderr_console().print(f"Wrote the report to {path}.", soft_wrap=True)
