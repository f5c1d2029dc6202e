"""`replay-identity sync` and `deliver`."""

import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Annotated, Final, NoReturn

import typer

from .. import bulk
from ..config import Settings
from ..errors import SourceError
from ..ledger import AccountCounts, Ledger
from ..sources import BadRow, Row, Rows, SourceInspection
from . import options
from .exit_codes import ExitCode
from .inputs import (
    LedgerFile,
    can_be_read_twice,
    prefetch_first,
    read_rows,
    resolve_ledger,
    resolve_settings,
)
from .mirror import MaxDeletionsOption, MirrorOption, MirrorOptions, VanishedOption
from .progress import PROGRESS_INTERVAL_S, progress_display, spinner, track
from .summary import finish_dry_run, finish_run, resume_advice, rows_read
from .tables import by_title, ledger_counts_as_dict, print_ledger_counts, print_warnings
from .terminal import interruptible, print_json, stderr_console, stdout_console

# Rows that are read beforehand to warn of mistakes, before the first run of a ledger.
_MAX_INSPECTED: Final = 1_000_000


@options.with_source_options
def sync_command(  # noqa: PLR0913  # One for each option.
    files: options.FilesArgument = None,
    *,
    to: options.ToOption = None,
    adapt: options.AdaptOption = False,
    settings: options.SettingsOption = None,
    ledger: options.LedgerOption = None,
    source_options: options.SourceOptions,
    resend: options.ResendOption = False,
    same_account: options.SameAccountOption = False,
    mirror: MirrorOption = None,
    max_deletions: MaxDeletionsOption = "5%",
    output: VanishedOption = None,
    dry_run: options.DryRunOption = False,
    json: options.JsonOption = False,
) -> None:
    """Bring every backend to the state in the files; send only what changed since the last run."""
    mirror_options = MirrorOptions(mirror, max_deletions, output)
    mirror_options.check(to)
    resolved = resolve_settings(settings, to=to, adapt=adapt)
    ledger_file = resolve_ledger(ledger, settings, to=to, adapt=adapt)
    rows = prefetch_first(read_rows(files, source_options))
    if dry_run or not ledger_file.has_users():
        rows.notes.warnings.extend(_inspect(files, source_options, json=json))
    shown = list(rows.notes.warnings)
    if dry_run:
        _dry_run(rows, resolved, ledger_file, mirror_options, same_account=same_account, json=json)
    with (
        ledger_file.open() as opened,
        mirror_options.open() as opened_mirror,
        interruptible(stderr_console(), resume_advice(ledger_file)) as interruption,
        progress_display(stderr_console()) as display,
    ):
        rows = display.count(rows)
        report = bulk.sync(
            rows,
            resolved.backends,
            ledger=opened,
            options=resolved.delivery,
            on_progress=display.update,
            resend=resend,
            same_account=same_account,
            mirror=opened_mirror,
        )
    if not json:
        print_warnings(stderr_console(), [each for each in report.notes.warnings if each not in shown])
    finish_run(report, ledger_file, title=rows_read(report), json=json, interrupted=interruption.code)


def _inspect(files: Sequence[str] | None, source_options: options.SourceOptions, *, json: bool) -> list[str]:
    """Read *files* once before their users are sent for the first time, and return and print what is suspicious."""
    if not can_be_read_twice(files, source_options):
        return []
    inspection = SourceInspection()
    with spinner("inspected") as advance, suppress(SourceError):  # The run itself reports what cannot be read.
        for row in islice(read_rows(files, source_options), _MAX_INSPECTED):
            inspection.add(row)
            advance()
    warnings = inspection.warnings()
    if not json:
        print_warnings(stderr_console(), warnings)
    return warnings


def deliver_command(
    *,
    to: options.ToOption = None,
    adapt: options.AdaptOption = False,
    settings: options.SettingsOption = None,
    ledger: options.LedgerOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep delivering until Ctrl-C or SIGTERM, through outages of any length.")
    ] = False,
    same_account: options.SameAccountOption = False,
    json: options.JsonOption = False,
) -> None:
    """Send the pending users in the ledger: after a crash, an outage or `retry`, or after an app has added users."""
    resolved = resolve_settings(settings, to=to, adapt=adapt)
    ledger_file = resolve_ledger(ledger, settings, to=to, adapt=adapt)
    if watch:
        _watch(resolved, ledger_file, same_account=same_account, json=json)
    with (
        ledger_file.open_existing() as opened,
        interruptible(stderr_console(), resume_advice(ledger_file)) as interruption,
        progress_display(stderr_console()) as display,
    ):
        report = bulk.deliver(
            resolved.backends,
            ledger=opened,
            options=resolved.delivery,
            on_progress=display.update,
            same_account=same_account,
        )
    finish_run(report, ledger_file, title=str(ledger_file.path), json=json, interrupted=interruption.code)


def _dry_run(  # What the run itself gets.
    rows: Rows[Row | BadRow],
    settings: Settings,
    ledger_file: LedgerFile,
    mirror_options: MirrorOptions,
    *,
    same_account: bool,
    json: bool,
) -> NoReturn:
    with (
        ledger_file.open_if_exists() as opened,
        mirror_options.open() as mirror,
        interruptible(stderr_console(), "Interrupted. Nothing was sent."),
        spinner("read") as advance,
    ):
        report = bulk.dry_run(
            rows.through(partial(track, advance=advance)),
            settings.backends,
            ledger=opened,
            options=settings.delivery,
            same_account=same_account,
            mirror=mirror,
        )
    finish_dry_run(report, json=json)


def _watch(settings: Settings, ledger_file: LedgerFile, *, same_account: bool, json: bool) -> NoReturn:
    """Deliver until a signal arrives, then print the counts of the ledger."""
    advice = f"Nothing is lost; continue with: {ledger_file.deliver_command('--watch')}"
    with ledger_file.open() as opened, interruptible(stderr_console(), f"Stopped. {advice}") as interruption:
        stderr_console().print(f"Delivering pending users in {ledger_file.path} until Ctrl-C.", soft_wrap=True)
        with (
            suppress(KeyboardInterrupt),
            bulk.DurableRouter(settings.backends, ledger=opened, options=settings.delivery, same_account=same_account),
        ):
            _print_changes(opened)
        counts = opened.counts()
    if json:
        print_json({"ledger": str(ledger_file.path), "backends": ledger_counts_as_dict(counts)})
    else:
        print_ledger_counts(stdout_console(), str(ledger_file.path), counts)
    pending = sum(backend.pending for backend in counts)
    stderr_console().print(f"Stopped; pending users: {pending:,}. {advice}", soft_wrap=True)
    raise typer.Exit(interruption.code or ExitCode.INTERRUPTED)


def _print_changes(ledger: Ledger) -> NoReturn:
    """Print the counts of each backend whenever they have changed."""
    printed: list[AccountCounts] = []
    while True:
        counts = ledger.counts()
        for title, account in by_title(counts).items():
            if account not in printed:
                states = f"{account.pending:,} pending, {account.confirmed:,} confirmed, {account.rejected:,} rejected"
                stderr_console().print(f"{title}: {states}", soft_wrap=True)
        printed = counts
        time.sleep(PROGRESS_INTERVAL_S)
