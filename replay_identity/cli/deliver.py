"""`replay-identity deliver`."""

import time
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from .. import bulk
from ..config import Settings
from ..ledger import Ledger, Standing
from . import options
from .backends import chosen_settings
from .closing import close, how_to_go_on
from .exit_codes import ExitCode
from .interruption import interruptible
from .ledgers import LedgerFile, chosen_ledger
from .output import data, print_json, talk
from .standing import print_standings, standings_as_dict
from .watching import EVERY, watching


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
