"""`replay-identity check`."""

from collections.abc import Sequence

import typer

from ..bulk.dry_runs import check_user
from ..outcomes import Outcome
from ..sources import BadRow, Row, read_users
from . import options
from .inputs import resolve_settings
from .progress import progress
from .row_report import RowReport
from .tables import print_row_report
from .terminal import print_json, stderr_console, stdout_console


def check(
    file: options.FileArgument,
    *,
    to: options.ToOption = None,
    adapt: options.AdaptOption = False,
    settings: options.SettingsOption = None,
    format: options.FormatOption = None,  # noqa: A002  # The option's name.
    anonymous: options.AnonymousOption = False,
    json: options.JsonOption = False,
) -> None:
    """Tell, without asking any vendor, what each one would accept, adjust and refuse of FILE. Needs no key."""
    backends = resolve_settings(settings, to=to or (), adapt=adapt, offline=True).backends
    row_report = RowReport()
    with progress("checked") as advance:

        def on_row(_row: Row | BadRow, _outcomes: Sequence[Outcome]) -> None:
            advance()

        rows = read_users(file, format=None if format is None else format.value, anonymous=anonymous)
        row_report.run(rows, lambda user: check_user(user, backends), on_row)
    if json:
        print_json(row_report.as_dict())
    else:
        print_row_report(stdout_console(), row_report)
    if row_report.stopped is not None:
        stderr_console().print(f"Stopped: {row_report.stopped}", style="red")
    raise typer.Exit(row_report.exit_code)
