"""`replay-identity identify`."""

from collections.abc import Sequence
from json import loads
from typing import Any, NoReturn

import attrs
import typer
from rich.table import Table

from .._values import REMOVE
from ..bulk.stats import Stats
from ..errors import InvalidTraitsError
from ..outcomes import IdentifyReport, Outcome, explain, is_settled, outcome_as_dict
from ..router import Router
from ..sources import BadRow, Row, Rows, nest_fields
from ..traits import UserTraits
from . import options
from .exit_codes import ExitCode, stats_exit_code
from .inputs import read_rows, resolve_settings
from .progress import spinner
from .row_report import RowReport
from .tables import new_table, print_notes, print_row_report
from .terminal import print_json, stderr_console, stdout_console


@options.with_source_options
def identify_command(  # noqa: PLR0913  # One for each option.
    ctx: typer.Context,
    files: options.FilesArgument = None,
    *,
    user_id: options.UserIdOption = None,
    name: options.NameOption = None,
    email: options.EmailOption = None,
    trait: options.TraitOption = None,
    remove: options.RemoveOption = None,
    to: options.ToOption = None,
    adapt: options.AdaptOption = False,
    settings: options.SettingsOption = None,
    source_options: options.SourceOptions,
    anonymous: options.AnonymousOption = False,
    json: options.JsonLinesOption = False,
) -> None:
    """Send one user, or each user in the files one by one, to every backend."""
    user_options = UserOptions(user_id, name, email, tuple(trait or ()), tuple(remove or ()))
    has_rows = bool(files) or source_options.sql is not None
    if has_rows == bool(user_options) or ctx.args:
        problem = "pass either files or options that describe one user; quote values that contain spaces"
        raise typer.BadParameter(problem, param_hint="FILE")
    user = user_options.user()
    resolved = resolve_settings(settings, to=to, adapt=adapt)
    with Router(resolved.backends, retry=resolved.retry, timeout=resolved.timeout) as router:
        if not has_rows:
            raise typer.Exit(_identify_one(router, user, json=json))
        rows = read_rows(files, source_options, anonymous=anonymous)
        raise typer.Exit(_identify_rows(router, rows, json=json))


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
            InvalidTraitsError: A value is invalid.
        """
        pairs = [*map(_parse_trait, self.traits), *((name, REMOVE) for name in self.removals)]
        try:
            traits = nest_fields(pairs)
        except InvalidTraitsError as error:
            raise typer.BadParameter(str(error), param_hint="--trait, --remove") from error
        return UserTraits(self.user_id, name=self.name, email=self.email, traits=traits)


def _parse_trait(pair: str) -> tuple[str, Any]:
    name, equals, text = pair.partition("=")
    if not equals:
        raise typer.BadParameter("expected NAME=VALUE", param_hint="--trait")
    return name, parse_value(text)


def parse_value(text: str) -> Any:  # noqa: ANN401  # A JSON scalar.
    """Return the JSON scalar in *text*, for example ``43``, ``true`` or ``"43"``, or else *text* itself."""
    try:
        value = loads(text, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, dict | list) else value


def _reject_constant(_constant: str) -> NoReturn:
    """Raise for NaN and Infinity, which are not JSON and so stay strings."""
    raise ValueError


def _identify_one(router: Router, user: UserTraits, *, json: bool) -> ExitCode:
    report = router.identify(user)
    if json:
        print_json(report.as_dict())
    else:
        stdout_console().print(_outcome_table(report))
    stats = Stats()
    stats.add(report.outcomes)
    return stats_exit_code(stats)


def _outcome_table(report: IdentifyReport) -> Table:
    table = new_table("", "Backend", "Outcome", "Explanation")
    for outcome in report.outcomes:
        style = "green" if is_settled(outcome) else "red"
        table.add_row(outcome.backend, type(outcome).__name__, explain(outcome), style=style)
        for adjustment in getattr(outcome, "adjustments", ()):
            if adjustment.lossy or adjustment.kind == "warned":
                table.add_row("", "", f"{adjustment.path} {adjustment.kind}: {adjustment.rule}", style="yellow")
    return table


def _identify_rows(router: Router, rows: Rows[Row | BadRow], *, json: bool) -> ExitCode:
    report = RowReport()
    with spinner("identified") as advance:

        def on_row(row: Row | BadRow, outcomes: Sequence[Outcome]) -> None:
            advance()
            if json:
                print_json(_row_as_dict(row, outcomes))

        report.run(rows, lambda user: router.identify(user).outcomes, on_row)
    if json:
        print_json({"summary": report.as_dict()})
    else:
        print_row_report(stdout_console(), report)
        print_notes(stderr_console(), report.notes)
    if report.stopped is not None:
        stderr_console().print(f"Stopped: {report.stopped}", style="red")
    return report.exit_code


def _row_as_dict(row: Row | BadRow, outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Return the outcomes of one row for JSON, without the user."""
    if isinstance(row, BadRow):
        return attrs.asdict(row)
    return {"line": row.line, "outcomes": [outcome_as_dict(outcome) for outcome in outcomes]}
