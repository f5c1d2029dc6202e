"""`replay-identity sync`."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from .. import bulk
from ..config import Settings
from ..ledger import Ledger, Standing
from ..sources import BadRow, Row
from . import options
from .inputs import LedgerFile, begun, chosen_ledger, chosen_settings, existing_ledger, file_rows
from .progress import EVERY, progress, watching
from .summary import close, close_rehearsal, how_to_go_on, rows_read
from .tables import print_standings, standings_as_dict
from .terminal import ExitCode, data, interruptible, print_json, talk


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
    chosen = chosen_settings(settings, to=to or (), adapt=adapt)
    chosen_file = chosen_ledger(ledger, settings, to=to or (), adapt=adapt)
    rows = begun(file_rows(file, format, mapping, sql))
    if dry_run:
        _rehearse(rows, chosen, chosen_file.path, json=json)
    with (
        chosen_file.open() as opened,
        interruptible(talk(), how_to_go_on(chosen_file)) as interruption,
        watching(talk()) as watch,
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


def _rehearse(rows: Iterator[Row | BadRow], chosen: Settings, path: Path, *, json: bool) -> NoReturn:
    with (
        existing_ledger(path) as opened,
        interruptible(talk(), "Interrupted. Nothing was sent."),
        progress("read") as advance,
    ):
        rehearsal = bulk.rehearse(_counted(rows, advance), chosen.backends, ledger=opened, options=chosen.delivery)
    close_rehearsal(rehearsal, json=json)


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
    chosen = chosen_settings(settings, to=to or (), adapt=adapt)
    file = chosen_ledger(ledger, settings, to=to or (), adapt=adapt)
    if watch:
        _watch(chosen, file, json=json)
    with (
        file.open_existing() as opened,
        interruptible(talk(), how_to_go_on(file)) as interruption,
        watching(talk()) as watched,
    ):
        report = bulk.deliver(chosen.backends, ledger=opened, options=chosen.delivery, on_progress=watched.tell)
    close(report, file, title=str(file.path), json=json, interrupted=interruption.code)


def _watch(chosen: Settings, file: LedgerFile, *, json: bool) -> NoReturn:
    """Deliver until a signal ends it, and print how the users stand then."""
    how_to_go_on = f"Stopped. Nothing is lost; to go on: {file.deliver_command('--watch')}"
    with file.open() as opened, interruptible(talk(), how_to_go_on) as interruption:
        talk().print(f"Delivering what is due in {file.path}, until Ctrl-C.", soft_wrap=True)
        with (
            suppress(KeyboardInterrupt),
            bulk.DurableRouter(chosen.backends, ledger=opened, options=chosen.delivery),
        ):
            _tell_changes(opened)
        standings = opened.standings()
    if json:
        print_json({"ledger": str(file.path), "backends": standings_as_dict(standings)})
    else:
        print_standings(data(), str(file.path), standings)
    talk().print(how_to_go_on, soft_wrap=True)
    raise typer.Exit(interruption.code or ExitCode.INTERRUPTED)


def _tell_changes(ledger: Ledger) -> NoReturn:
    """Print a line on each backend whenever its users stand differently than some seconds before."""
    told: list[Standing] = []
    while True:
        standings = ledger.standings()
        for standing in standings:
            if standing not in told:
                line = f"{standing.backend}: {standing.due:,} due, {standing.held:,} held, {standing.refused:,} refused"
                talk().print(line, soft_wrap=True)
        told = standings
        time.sleep(EVERY)
