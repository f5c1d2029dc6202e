"""`replay-identity sync`."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import Final, NoReturn

import typer

from .. import bulk
from ..config import Settings
from ..ledger import Ledger
from ..mapping import load_mapping
from ..sources import BadRow, Row, read_query, read_users
from . import options
from .backends import chosen_settings
from .closing import close, close_rehearsal, how_to_go_on, rows_read
from .interruption import interruptible
from .ledgers import chosen_ledger
from .output import talk
from .progress import progress
from .watching import watching

# What FILE is where a query needs no database.
_NO_DATABASE: Final = frozenset({"-", ":memory:"})


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
    rows = _begun(_rows(file, format, mapping, sql))
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


def _begun(rows: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
    """Return *rows* once the first is read: a file that is not there must not leave a ledger behind."""
    return chain(list(islice(rows, 1)), rows)


def _rehearse(rows: Iterator[Row | BadRow], chosen: Settings, path: Path, *, json: bool) -> NoReturn:
    with (
        _existing(path) as opened,
        interruptible(talk(), "Interrupted. Nothing was sent."),
        progress("read") as advance,
    ):
        rehearsal = bulk.rehearse(_counted(rows, advance), chosen.backends, ledger=opened, options=chosen.delivery)
    close_rehearsal(rehearsal, json=json)


def _counted(rows: Iterator[Row | BadRow], advance: Callable[[], None]) -> Iterator[Row | BadRow]:
    for row in rows:
        advance()
        yield row


def _existing(path: Path) -> AbstractContextManager[Ledger | None]:
    """Return the ledger, or None where there is none: a dry run makes no file."""
    return Ledger(path) if path.exists() else nullcontext()


def _rows(
    file: Path, file_format: options.FileFormat | None, mapping: Path | None, sql: str | None
) -> Iterator[Row | BadRow]:
    row_mapping = None if mapping is None else load_mapping(mapping)
    if sql is None:
        return read_users(file, format=None if file_format is None else file_format.value, mapping=row_mapping)
    if file_format is not None:
        raise typer.BadParameter("a query needs no format", param_hint="--format, --sql")
    return read_query(sql, None if str(file) in _NO_DATABASE else file, mapping=row_mapping)
