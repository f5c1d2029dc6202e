"""`replay-identity identify`."""

from collections.abc import Iterable, Sequence

import attrs
import typer

from ..model import UserTraits
from ..outcome import IdentifyReport, Outcome, explain, is_settled
from ..router import Router
from ..sources import BadRow, Row, read_users
from ..tally import Tally
from . import options
from .backends import chosen_settings
from .exit_codes import ExitCode, exit_code
from .one_user import UserOptions
from .output import data, outcome_as_dict, print_json, talk
from .progress import progress
from .survey import Survey
from .tables import new_table, print_survey


def identify(  # noqa: PLR0913  # One for each option.
    ctx: typer.Context,
    file: options.OptionalFileArgument = None,
    *,
    user_id: options.UserIdOption = None,
    name: options.NameOption = None,
    email: options.EmailOption = None,
    trait: options.TraitOption = None,
    remove: options.RemoveOption = None,
    to: options.ToOption = None,
    adapt: options.AdaptOption = False,
    settings: options.SettingsOption = None,
    format: options.FormatOption = None,  # noqa: A002  # The option's name.
    anonymous: options.AnonymousOption = False,
    json: options.JsonLinesOption = False,
) -> None:
    """Send one user, or every user of FILE one after another, to every backend."""
    given = UserOptions(user_id, name, email, tuple(trait or ()), tuple(remove or ()))
    if (file is None) != bool(given) or ctx.args:
        problem = "give either one FILE or options that describe one user; quote values that hold spaces"
        raise typer.BadParameter(problem, param_hint="FILE")
    user = given.user()
    chosen = chosen_settings(settings, to=to or (), adapt=adapt)
    with Router(chosen.backends, retry=chosen.retry, timeout=chosen.timeout) as router:
        if file is None:
            raise typer.Exit(_one(router, user, json=json))
        rows = read_users(file, format=None if format is None else format.value, anonymous=anonymous)
        raise typer.Exit(_all(router, rows, json=json))


def _one(router: Router, user: UserTraits, *, json: bool) -> ExitCode:
    report = router.identify(user)
    if json:
        print_json({"status": report.status, "outcomes": [outcome_as_dict(outcome) for outcome in report.outcomes]})
    else:
        data().print(_table(report))
    tally = Tally()
    tally.add(report.outcomes)
    return exit_code(tally)


def _table(report: IdentifyReport) -> object:
    table = new_table("", "Backend", "Outcome", "What it means")
    for outcome in report.outcomes:
        style = "green" if is_settled(outcome) else "red"
        table.add_row(outcome.backend, type(outcome).__name__, explain(outcome), style=style)
        for adjustment in getattr(outcome, "adjustments", ()):
            if adjustment.lossy or adjustment.kind == "warned":
                table.add_row("", "", f"{adjustment.path} {adjustment.kind}: {adjustment.rule}", style="yellow")
    return table


def _all(router: Router, rows: Iterable[Row | BadRow], *, json: bool) -> ExitCode:
    survey = Survey()
    with progress("identified") as advance:

        def on_row(row: Row | BadRow, outcomes: Sequence[Outcome]) -> None:
            advance()
            if json:
                print_json(_line(row, outcomes))

        survey.run(rows, lambda user: router.identify(user).outcomes, on_row)
    if json:
        print_json({"summary": survey.as_dict()})
    else:
        print_survey(data(), survey)
    if survey.stopped is not None:
        talk().print(f"Stopped: {survey.stopped}", style="red")
    return survey.exit_code


def _line(row: Row | BadRow, outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Return what came of one row, without the user."""
    if isinstance(row, BadRow):
        return attrs.asdict(row)
    return {"line": row.line, "outcomes": [outcome_as_dict(outcome) for outcome in outcomes]}
