"""`replay-identity identify`."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import attrs
import typer

from .._values import REMOVE
from ..bulk.stats import Stats
from ..errors import InvalidTraitsError
from ..outcomes import IdentifyReport, Outcome, explain, is_settled, outcome_as_dict
from ..router import Router
from ..sources import BadRow, Row, nest_fields, read_users
from ..traits import UserTraits
from . import options
from .exit_codes import ExitCode, exit_code
from .inputs import resolve_settings
from .progress import progress
from .row_report import RowReport
from .tables import new_table, print_row_report
from .terminal import print_json, stderr_console, stdout_console


@attrs.frozen
class UserOptions:
    """The options that describe one user."""

    user_id: str | None = attrs.field(default=None, repr=False)
    name: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)
    traits: tuple[str, ...] = attrs.field(default=(), repr=False)
    removals: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != UserOptions()

    def user(self) -> UserTraits:
        """Return the user.

        Raises:
            InvalidTraitsError: A value cannot be used.
        """
        pairs = [*map(_trait, self.traits), *((name, REMOVE) for name in self.removals)]
        try:
            traits = nest_fields(pairs)
        except InvalidTraitsError as error:
            raise typer.BadParameter(str(error), param_hint="--trait, --remove") from error
        return UserTraits(self.user_id, name=self.name, email=self.email, traits=traits)


def _trait(pair: str) -> tuple[str, Any]:
    """Return the name and the value of ``name=value``."""
    name, equals, text = pair.partition("=")
    if not equals:
        raise typer.BadParameter("write NAME=VALUE", param_hint="--trait")
    return name, value_of(text)


def value_of(text: str) -> Any:  # noqa: ANN401  # A JSON scalar.
    """Return the JSON scalar that *text* is, or *text* itself if it is none: ``43``, ``true``, ``"43"``, ``pro``."""
    try:
        value = json.loads(text, parse_constant=_reject)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, dict | list) else value


def _reject(_constant: str) -> NoReturn:
    """Leave NaN and Infinity the texts that they are: JSON has no such numbers."""
    raise ValueError


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
    chosen = resolve_settings(settings, to=to or (), adapt=adapt)
    with Router(chosen.backends, retry=chosen.retry, timeout=chosen.timeout) as router:
        if file is None:
            raise typer.Exit(_one(router, user, json=json))
        rows = read_users(file, format=None if format is None else format.value, anonymous=anonymous)
        raise typer.Exit(_all(router, rows, json=json))


def _one(router: Router, user: UserTraits, *, json: bool) -> ExitCode:
    report = router.identify(user)
    if json:
        print_json(report.as_dict())
    else:
        stdout_console().print(_table(report))
    stats = Stats()
    stats.add(report.outcomes)
    return exit_code(stats)


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
    row_report = RowReport()
    with progress("identified") as advance:

        def on_row(row: Row | BadRow, outcomes: Sequence[Outcome]) -> None:
            advance()
            if json:
                print_json(_line(row, outcomes))

        row_report.run(rows, lambda user: router.identify(user).outcomes, on_row)
    if json:
        print_json({"summary": row_report.as_dict()})
    else:
        print_row_report(stdout_console(), row_report)
    if row_report.stopped is not None:
        stderr_console().print(f"Stopped: {row_report.stopped}", style="red")
    return row_report.exit_code


def _line(row: Row | BadRow, outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Return what came of one row, without the user."""
    if isinstance(row, BadRow):
        return attrs.asdict(row)
    return {"line": row.line, "outcomes": [outcome_as_dict(outcome) for outcome in outcomes]}
