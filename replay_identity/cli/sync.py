"""`replay-identity sync`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from .. import bulk
from ..config import Settings
from ..sources import BadRow, Row
from . import options
from .backends import chosen_settings
from .closing import close, close_rehearsal, how_to_go_on, rows_read
from .file_rows import begun, file_rows
from .interruption import interruptible
from .ledgers import chosen_ledger, existing_ledger
from .output import talk
from .progress import progress
from .watching import watching


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
