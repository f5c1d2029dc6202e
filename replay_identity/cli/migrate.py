"""`replay-identity migrate`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console

from .. import migration
from ..config import Settings
from ..migration import Listed, MigrationReport, Source
from ..migration.html_report import html_page
from ..sources import BadRow, Row
from . import options
from .inputs import (
    FileOptions,
    LedgerFile,
    chosen_ledger,
    chosen_settings,
    chosen_source,
    existing_ledger,
    other_backends,
)
from .progress import progress, watching
from .summary import print_advice, print_books, print_effort, print_problems, print_stop, rows_read
from .tables import new_table, number, print_fidelity, print_table, users
from .terminal import ExitCode, books_exit_code, data, interruptible, print_json, reading_exit_code, talk

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
        print_migration(data(), report)
    print_problems(talk(), report.run)
    if report.effort is not None:
        print_stop(talk(), report.run)
        talk().print("Nothing was sent: this was a dry run.", style="dim")
    elif interrupted is None:
        print_advice(talk(), report.run, ledger)
    else:
        talk().print("Interrupted. Nothing is lost: run the same command again.", soft_wrap=True)
    raise typer.Exit(code)


def exit_code(report: MigrationReport) -> ExitCode:
    """Return the code that says what became of a migration, the reading included."""
    code = reading_exit_code(report.failure) or books_exit_code(report.run)
    if code is ExitCode.OK and report.listed is not None and report.listed.unusable:
        return ExitCode.REFUSED
    return code


def print_migration(console: Console, report: MigrationReport) -> None:
    """Print who was read, what became of them, and what became of their properties."""
    if report.listed is not None:
        _print_listed(console, report.source, report.listed)
    print_books(console, report.run, rows_read(report.run))
    print_fidelity(console, report.fidelity)
    if report.effort is not None:
        print_effort(console, report.effort)


def _print_listed(console: Console, source: str, listed: Listed) -> None:
    earlier = f", {listed.earlier:,} of them to earlier runs" if listed.earlier else ""
    console.print(f"{source} showed {users(listed.users)}{earlier}: {_kinds(listed)}.", soft_wrap=True)
    if listed.restarts:
        times = "1 time" if listed.restarts == 1 else f"{listed.restarts} times"
        console.print(f"The reading began anew: {times} a page was no longer known.", soft_wrap=True)
    if listed.anonymous:
        console.print("Who is anonymous cannot be found again elsewhere, unless a mapping gives an id.", soft_wrap=True)
    console.print()
    _print_conflicts(console, source, listed.type_conflicts)


def _kinds(listed: Listed) -> str:
    kinds = (
        (listed.given, "taken in"),
        (listed.anonymous, "anonymous"),
        (listed.being_deleted, "being deleted"),
        (listed.unusable, "unusable"),
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
    talk().print(f"The report is in {path}.", soft_wrap=True)


_HOW_TO_GO_ON: Final = "Interrupted. Nothing is lost: run the same command again."


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
    everything = chosen_settings(settings, to=(), adapt=adapt)
    chosen = other_backends(source, everything, to)
    file = chosen_ledger(ledger, settings, to=[backend.name for backend in chosen.backends], adapt=adapt)
    users = chosen_source(source, everything, FileOptions(format, mapping, sql, restart=restart))
    if dry_run:
        close_migration(_rehearse(users, chosen, file.path), file, html=html, json=json, interrupted=None)
    report, code = _run(users, chosen, file)
    close_migration(report, file, html=html, json=json, interrupted=code)


def _run(users: Source, chosen: Settings, file: LedgerFile) -> tuple[MigrationReport, ExitCode | None]:
    """Migrate, and return what became of it and the exit code of an interruption."""
    with (
        file.open() as opened,
        interruptible(talk(), _HOW_TO_GO_ON) as interruption,
        watching(talk()) as watch,
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


def _rehearse(users: Source, chosen: Settings, path: Path) -> MigrationReport:
    with (
        existing_ledger(path) as opened,
        interruptible(talk(), "Interrupted. Nothing was sent."),
        progress("read") as advance,
    ):

        def counted(rows: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
            for row in rows:
                advance()
                yield row

        return migration.rehearse_migration(
            users, chosen.backends, ledger=opened, options=chosen.delivery, watch=counted
        )
