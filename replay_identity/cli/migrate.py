"""`replay-identity migrate`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from .. import migration
from ..config import Settings
from ..migration import MigrationReport, Source
from ..sources import BadRow, Row
from . import options
from .backends import chosen_settings
from .exit_codes import ExitCode
from .interruption import interruptible
from .ledgers import LedgerFile, chosen_ledger, existing_ledger
from .migration_closing import close_migration
from .output import talk
from .progress import progress
from .user_sources import FileOptions, chosen_source, other_backends
from .watching import watching

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
