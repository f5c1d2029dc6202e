"""`replay-identity compare`."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Final

import attrs
import orjson
import typer

from ..adapters.protocols import Comparison, SupportsCompare, SupportsRead
from ..bulk.comparison import ComparisonReport
from ..bulk.comparison import compare as compare_everywhere
from ..bulk.comparison import sample as sample_of
from ..config import Settings
from ..migration import MigrationSource
from ..outcomes import Misconfigured
from ..sources import Row
from ..traits import UserTraits
from . import options
from .exit_codes import ExitCode
from .inputs import FileOptions, chosen_source, other_backends, reading_of, resolve_settings
from .ledger import new_file
from .progress import progress
from .tables import print_comparison
from .tables import rows as rows_of
from .tables import users as users_of
from .terminal import confirm_or_exit, print_json, stderr_console, stdout_console

_SAMPLE: Final = 1000


def compare(  # noqa: PLR0913  # One for each option.
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|FILE",
            help="Who tells what the vendors should hold: a backend that shows its users, by default the one that "
            "does, or a file of users; - for stdin.",
        ),
    ] = None,
    *,
    sample: Annotated[int, typer.Option("--sample", min=1, help="Most users to compare, drawn at random.")] = _SAMPLE,
    seed: Annotated[int | None, typer.Option("--seed", help="Draw the same users as before with this number.")] = None,
    ignore_extra: Annotated[
        bool, typer.Option("--ignore-extra", help="What a vendor holds beyond the source is no difference.")
    ] = False,
    to: options.ToOption = None,
    adapt: options.AdaptOption = False,
    settings: options.SettingsOption = None,
    format: options.FormatOption = None,  # noqa: A002  # The option's name.
    mapping: options.MappingOption = None,
    sql: options.SqlOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Write who differs, and where, to a new file; it holds ids."),
    ] = None,
    yes: options.YesOption = False,
    json: options.JsonOption = False,
) -> None:
    """Ask the vendors about a sample of users, and tell which properties they hold otherwise; no id and no value."""
    everything = resolve_settings(settings, to=(), adapt=adapt)
    name = source or _backend_that_shows(everything)
    chosen = other_backends(name, everything, to)
    drawn = _draw(chosen_source(name, everything, FileOptions(format, mapping, sql)), sample, seed)
    _ask_first(chosen, len(drawn.users), yes=yes)
    with _writing(output) as differences, progress("asked") as advance:
        report = compare_everywhere(
            drawn.users,
            chosen.backends,
            options=chosen.delivery,
            ignore_extra=ignore_extra,
            on_difference=differences.write,
            on_result=advance,
        )
    if json:
        counts = {"users": len(drawn.users), "bad_row_count": drawn.bad_rows, "anonymous": drawn.anonymous}
        print_json({"source": name, **counts, **report.as_dict()})
    else:
        print_comparison(stdout_console(), report, len(drawn.users))
    drawn.tell_of_others()
    raise typer.Exit(_code(report, drawn.bad_rows))


def _backend_that_shows(settings: Settings) -> str:
    names = [backend.name for backend in settings.backends if isinstance(backend, SupportsRead)]
    if len(names) != 1:
        problem = "name the backend that tells what the others should hold, or a file"
        raise typer.BadParameter(problem, param_hint="NAME|FILE")
    return names[0]


@attrs.frozen
class _UserSample:
    """The users who were drawn, and how many could not have been."""

    users: list[UserTraits]
    bad_rows: int
    anonymous: int

    def tell_of_others(self) -> None:
        """Say whom nobody was asked about."""
        for problem, count in (
            ("they are no users", rows_of(self.bad_rows) if self.bad_rows else ""),
            ("they have no id", users_of(self.anonymous) if self.anonymous else ""),
        ):
            if count:
                stderr_console().print(f"Not compared, since {problem}: {count}.", style="yellow")


def _draw(source: MigrationSource, count: int, seed: int | None) -> _UserSample:
    """Read all of *source*, and return so many of its users."""
    with reading_of(source) as reading, progress("read") as advance:
        rows = bad_rows = 0

        def users() -> Iterator[UserTraits]:
            nonlocal rows, bad_rows
            for row in reading.rows():
                advance()
                rows += 1
                if isinstance(row, Row):
                    yield row.user
                else:
                    bad_rows += 1

        drawn = sample_of(users(), count, seed=seed)
        reading.taken(rows)
        return _UserSample(drawn, bad_rows, 0 if reading.listing is None else reading.listing.anonymous)


@attrs.frozen
class _DifferencesWriter:
    """Where differences are written, if anywhere."""

    stream: IO[bytes] | None

    def write(self, user: UserTraits, comparison: Comparison) -> None:
        if self.stream is not None:
            self.stream.write(orjson.dumps({"user_id": user.user_id, **attrs.asdict(comparison)}) + b"\n")


@contextmanager
def _writing(path: Path | None) -> Generator[_DifferencesWriter]:
    if path is None:
        yield _DifferencesWriter(None)
        return
    with new_file(path) as stream:
        yield _DifferencesWriter(stream)


def _ask_first(chosen: Settings, count: int, *, yes: bool) -> None:
    """Tell which backends are written to, and go on only with a yes if there are any."""
    written = [
        backend.name for backend in chosen.backends if isinstance(backend, SupportsCompare) and backend.compare_writes
    ]
    if not written:
        return
    console = stderr_console()
    for name in written:
        console.print(
            f"{name} is read by an empty PUT for each of {count:,} sampled users: it changes no trait, but may create "
            "a user that is missing and move last seen.",
            soft_wrap=True,
        )
    if not yes:
        confirm_or_exit()


def _code(report: ComparisonReport, bad_rows: int) -> ExitCode:
    unanswered = [backend.unanswered for backend in report.backends.values()]
    if any(stats.outcomes[Misconfigured.__name__] for stats in unanswered):
        return ExitCode.SETTINGS
    if any(stats.pending for stats in unanswered) or any(backend.problem for backend in report.backends.values()):
        return ExitCode.PENDING
    is_fine = report.is_same and not bad_rows and not any(stats.rejected for stats in unanswered)
    return ExitCode.OK if is_fine else ExitCode.REFUSED
