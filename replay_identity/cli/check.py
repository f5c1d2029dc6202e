"""`replay-identity check`."""

from collections.abc import Sequence

import typer

from ..bulk.dry_runs import check_user
from ..outcomes import Outcome
from ..sources import BadRow, Row
from ..sources.inspection import with_warnings
from . import options
from .inputs import read_rows, resolve_settings
from .progress import spinner
from .row_report import RowReport
from .tables import print_notes, print_row_report, print_warnings
from .terminal import print_json, stderr_console, stdout_console


@options.with_source_options
def check_command(
    files: options.FilesArgument = None,
    *,
    to: options.ToOption = None,
    adapt: options.AdaptOption = False,
    settings: options.SettingsOption = None,
    source_options: options.SourceOptions,
    anonymous: options.AnonymousOption = False,
    json: options.JsonOption = False,
) -> None:
    """Show offline what each vendor would accept, adjust or reject in the files; needs no key."""
    backends = resolve_settings(settings, to=to, adapt=adapt, offline=True).backends
    report = RowReport()
    with spinner("checked") as advance:

        def on_row(_row: Row | BadRow, _outcomes: Sequence[Outcome]) -> None:
            advance()

        rows = with_warnings(read_rows(files, source_options, anonymous=anonymous))
        report.run(rows, lambda user: check_user(user, backends), on_row)
    if json:
        print_json(report.as_dict())
    else:
        print_row_report(stdout_console(), report)
        print_notes(stderr_console(), report.notes)
        print_warnings(stderr_console(), report.notes.warnings)
    if report.stopped is not None:
        stderr_console().print(f"Stopped: {report.stopped}", style="red")
    raise typer.Exit(report.exit_code)
