"""`replay-identity sync`."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from .. import bulk
from ..config import Settings
from ..ledger import BackendCounts, Ledger
from ..sources import BadRow, Row
from . import options
from .exit_codes import ExitCode
from .inputs import LedgerFile, existing_ledger, file_rows, prefetch_first, resolve_ledger, resolve_settings
from .progress import EVERY, progress, progress_display
from .summary import close, close_rehearsal, resume_hint, rows_read
from .tables import counts_as_dict, print_counts
from .terminal import interruptible, print_json, stderr_console, stdout_console


def sync(  # noqa: PLR0913  # One for each option.
    file: options.SourceArgument,
    *,
    to: options.ToOption = None,
    adapt: options.AdaptOption = False,
    settings: options.SettingsOption = None,
    ledger: options.LedgerOption = None,
    format: options.FormatOption = None,  # noqa: A002  # The option's name.
    mapping: options.MappingOption = None,
    sql: options.SqlOption = None,
    resend: options.ResendOption = False,
    dry_run: options.DryRunOption = False,
    json: options.JsonOption = False,
) -> None:
    """Bring every backend to the state that FILE describes; what is unchanged since the last run is not sent."""
    chosen = resolve_settings(settings, to=to or (), adapt=adapt)
    chosen_file = resolve_ledger(ledger, settings, to=to or (), adapt=adapt)
    rows = prefetch_first(file_rows(file, format, mapping, sql))
    if dry_run:
        _dry_run(rows, chosen, chosen_file.path, json=json)
    with (
        chosen_file.open() as opened,
        interruptible(stderr_console(), resume_hint(chosen_file)) as interruption,
        progress_display(stderr_console()) as watch,
    ):
        report = bulk.sync(
            watch.counted(rows),
            chosen.backends,
            ledger=opened,
            options=chosen.delivery,
            on_progress=watch.tell,
            resend=resend,
        )
    close(report, chosen_file, title=rows_read(report), json=json, interrupted=interruption.code)


def _dry_run(rows: Iterator[Row | BadRow], chosen: Settings, path: Path, *, json: bool) -> NoReturn:
    with (
        existing_ledger(path) as opened,
        interruptible(stderr_console(), "Interrupted. Nothing was sent."),
        progress("read") as advance,
    ):
        dry_run_report = bulk.dry_run(_counted(rows, advance), chosen.backends, ledger=opened, options=chosen.delivery)
    close_rehearsal(dry_run_report, json=json)


def _counted(rows: Iterator[Row | BadRow], advance: Callable[[], None]) -> Iterator[Row | BadRow]:
    for row in rows:
        advance()
        yield row


def deliver(
    *,
    to: options.ToOption = None,
    adapt: options.AdaptOption = False,
    settings: options.SettingsOption = None,
    ledger: options.LedgerOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until Ctrl-C or SIGTERM, and never give up on a backend.")
    ] = False,
    json: options.JsonOption = False,
) -> None:
    """Send what is due in the ledger: after a crash, an outage or `retry`, or what an app has put there."""
    chosen = resolve_settings(settings, to=to or (), adapt=adapt)
    file = resolve_ledger(ledger, settings, to=to or (), adapt=adapt)
    if watch:
        _watch(chosen, file, json=json)
    with (
        file.open_existing() as opened,
        interruptible(stderr_console(), resume_hint(file)) as interruption,
        progress_display(stderr_console()) as watched,
    ):
        report = bulk.deliver(chosen.backends, ledger=opened, options=chosen.delivery, on_progress=watched.tell)
    close(report, file, title=str(file.path), json=json, interrupted=interruption.code)


def _watch(chosen: Settings, file: LedgerFile, *, json: bool) -> NoReturn:
    """Deliver until a signal ends it, and print how the users stand then."""
    resume_hint = f"Stopped. Nothing is lost; to go on: {file.deliver_command('--watch')}"
    with file.open() as opened, interruptible(stderr_console(), resume_hint) as interruption:
        stderr_console().print(f"Delivering what is due in {file.path}, until Ctrl-C.", soft_wrap=True)
        with (
            suppress(KeyboardInterrupt),
            bulk.DurableRouter(chosen.backends, ledger=opened, options=chosen.delivery),
        ):
            _tell_changes(opened)
        standings = opened.counts()
    if json:
        print_json({"ledger": str(file.path), "backends": counts_as_dict(standings)})
    else:
        print_counts(stdout_console(), str(file.path), standings)
    stderr_console().print(resume_hint, soft_wrap=True)
    raise typer.Exit(interruption.code or ExitCode.INTERRUPTED)


def _tell_changes(ledger: Ledger) -> NoReturn:
    """Print a line on each backend whenever its users stand differently than some seconds before."""
    told: list[BackendCounts] = []
    while True:
        standings = ledger.counts()
        for standing in standings:
            if standing not in told:
                counted = (
                    f"{standing.pending:,} pending, {standing.confirmed:,} confirmed, {standing.rejected:,} rejected"
                )
                line = f"{standing.backend}: {counted}"
                stderr_console().print(line, soft_wrap=True)
        told = standings
        time.sleep(EVERY)
