"""`replay-identity check`."""

from collections.abc import Sequence

import typer

from ..bulk.dry_runs import check_user
from ..outcomes import Outcome
from ..sources import BadRow, Row, read_users
from . import options
from .inputs import chosen_settings
from .progress import progress
from .row_report import Survey
from .tables import print_survey
from .terminal import data, print_json, talk


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
    backends = chosen_settings(settings, to=to or (), adapt=adapt, offline=True).backends
    survey = Survey()
    with progress("checked") as advance:

        def on_row(_row: Row | BadRow, _outcomes: Sequence[Outcome]) -> None:
            advance()

        rows = read_users(file, format=None if format is None else format.value, anonymous=anonymous)
        survey.run(rows, lambda user: check_user(user, backends), on_row)
    if json:
        print_json(survey.as_dict())
    else:
        print_survey(data(), survey)
    if survey.stopped is not None:
        talk().print(f"Stopped: {survey.stopped}", style="red")
    raise typer.Exit(survey.exit_code)
