"""`replay-identity check`."""

from collections.abc import Sequence

import typer

from ..bulk.dry_runs import check_user
from ..outcomes import Outcome
from ..sources import BadRow, Row, SourceInspection
from . import options
from .inputs import SourceOptions, read_rows, resolve_settings
from .progress import spinner
from .row_report import RowReport
from .tables import print_notes, print_row_report, print_warnings
from .terminal import print_json, stderr_console, stdout_console


def check_command(  # noqa: PLR0913  # One for each option.
    files: options.FilesArgument = None,
    *,
    to: options.ToOption = None,
    adapt: options.AdaptOption = False,
    settings: options.SettingsOption = None,
    format: options.FormatOption = None,  # noqa: A002  # The option's name.
    mapping: options.MappingOption = None,
    preset: options.PresetOption = None,
    sql: options.SqlOption = None,
    delimiter: options.DelimiterOption = None,
    encoding: options.EncodingOption = None,
    path: options.PathOption = None,
    anonymous: options.AnonymousOption = False,
    json: options.JsonOption = False,
) -> None:
    """Show offline what each vendor would accept, adjust or reject in the files; needs no key."""
    source_options = SourceOptions(
        format=format,
        mapping=mapping,
        preset=preset,
        sql=sql,
        delimiter=delimiter,
        encoding=encoding,
        path=path,
        anonymous=anonymous,
    )
    backends = resolve_settings(settings, to=to, adapt=adapt, offline=True).backends
    report = RowReport()
    with spinner("checked") as advance:

        def on_row(_row: Row | BadRow, _outcomes: Sequence[Outcome]) -> None:
            advance()

        inspection = SourceInspection()
        rows = read_rows(files, source_options).through(inspection.track)
        report.run(rows, lambda user: check_user(user, backends), on_row)
    report.notes.warnings.extend(inspection.warnings())
    if json:
        print_json(report.as_dict())
    else:
        print_row_report(stdout_console(), report)
        print_notes(stderr_console(), report.notes)
        print_warnings(stderr_console(), report.notes.warnings)
    if report.stopped is not None:
        stderr_console().print(f"Stopped: {report.stopped}", style="red")
    raise typer.Exit(report.exit_code)
