"""`replay-identity compare`."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Final, TypeAlias

import attrs
import orjson
import typer

from .._text import pluralize
from ..adapters.protocols import Comparison, SupportsCompare, SupportsRead
from ..bulk import comparison
from ..bulk.comparison import ComparisonReport
from ..config import Settings
from ..migration import MigrationSource
from ..outcomes import Misconfigured
from ..sources import Row, SourceNotes
from ..traits import UserTraits
from . import options
from .exit_codes import ExitCode
from .inputs import create_output, open_reader, resolve_settings, resolve_source, select_targets
from .progress import spinner, track
from .tables import print_comparison, print_notes
from .terminal import confirm_or_exit, print_json, stderr_console, stdout_console

_SAMPLE_SIZE: Final = 1000

_SourceArgument: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME|FILE",
        help="What the vendors should store: the users of a backend, by default of the only one that can list them, or "
        "of a file; - for stdin.",
    ),
]
_SampleOption: TypeAlias = Annotated[
    int, typer.Option("--sample", metavar="COUNT", min=1, help="Maximum number of users to compare, drawn at random.")
]
_SeedOption: TypeAlias = Annotated[
    int | None, typer.Option("--seed", metavar="NUMBER", help="Draw the same users for the same seed.")
]
_IgnoreExtraOption: TypeAlias = Annotated[
    bool, typer.Option("--ignore-extra", help="Ignore traits that only the vendor has.")
]
_OutputOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="Write who differs, and where, to a new file; it contains ids."),
]


@options.with_source_options
def compare_command(  # noqa: PLR0913  # One for each option.
    source: _SourceArgument = None,
    *,
    sample: _SampleOption = _SAMPLE_SIZE,
    seed: _SeedOption = None,
    ignore_extra: _IgnoreExtraOption = False,
    to: options.ToOption = None,
    adapt: options.AdaptOption = False,
    settings: options.SettingsOption = None,
    source_options: options.SourceOptions,
    output: _OutputOption = None,
    yes: options.YesOption = False,
    json: options.JsonOption = False,
) -> None:
    """Compare a sample of users with what the vendors store, and show which fields differ, without ids and values."""
    resolved = resolve_settings(settings, adapt=adapt)
    name = source or _only_readable_backend(resolved)
    targets = select_targets(name, resolved, to)
    drawn = _draw_sample(resolve_source(name, resolved, source_options), sample, seed)
    _confirm_writes(targets, len(drawn.users), yes=yes)
    with _differences_writer(output) as writer, spinner("compared") as advance:
        report = comparison.compare(
            drawn.users,
            targets.backends,
            options=targets.delivery,
            ignore_extra=ignore_extra,
            on_difference=writer.write,
            on_result=advance,
        )
    if json:
        counts = {"users": len(drawn.users), "bad_row_count": drawn.bad_row_count, "anonymous": drawn.anonymous}
        print_json({"source": name, **counts, "notes": drawn.notes.as_dict(), **report.as_dict()})
    else:
        print_comparison(stdout_console(), report, len(drawn.users))
    drawn.print_omitted()
    raise typer.Exit(_exit_code(report, has_problem=drawn.has_problem))


def _only_readable_backend(settings: Settings) -> str:
    names = [backend.name for backend in settings.backends if isinstance(backend, SupportsRead)]
    if len(names) != 1:
        problem = "name a file, or the backend whose users the others should store"
        raise typer.BadParameter(problem, param_hint="NAME|FILE")
    return names[0]


@attrs.frozen
class _UserSample:
    """The users to compare, and how many could not be drawn."""

    users: list[UserTraits]
    bad_row_count: int
    anonymous: int
    notes: SourceNotes

    @property
    def has_problem(self) -> bool:
        """Return True if a row is invalid, or the mapping does not fit the rows."""
        return self.bad_row_count > 0 or self.notes.has_problem

    def print_omitted(self) -> None:
        """Print how many rows and users were not compared, and how the source was read."""
        for count, text in (
            (self.bad_row_count, pluralize(self.bad_row_count, "invalid row")),
            (self.anonymous, f"{pluralize(self.anonymous, 'user')} without an id"),
        ):
            if count:
                stderr_console().print(f"Not compared: {text}.", style="yellow")
        print_notes(stderr_console(), self.notes)


def _draw_sample(source: MigrationSource, size: int, seed: int | None) -> _UserSample:
    """Read all of *source*, and return *size* of its users at most."""
    with open_reader(source) as reader, spinner("read") as advance:
        rows, row_count, bad_row_count = reader.rows(), 0, 0

        def users() -> Iterator[UserTraits]:
            nonlocal row_count, bad_row_count
            for row in track(rows, advance):
                row_count += 1
                if isinstance(row, Row):
                    yield row.user
                else:
                    bad_row_count += 1

        drawn = comparison.sample(users(), size, seed=seed)
        reader.commit(row_count)
        anonymous = 0 if reader.listing is None else reader.listing.anonymous
        return _UserSample(drawn, bad_row_count, anonymous, rows.notes)


@attrs.frozen
class _DifferencesWriter:
    """Writes differences to a stream, or to nowhere."""

    stream: IO[bytes] | None

    def write(self, user: UserTraits, difference: Comparison) -> None:
        if self.stream is not None:
            self.stream.write(orjson.dumps({"user_id": user.user_id, **attrs.asdict(difference)}) + b"\n")


@contextmanager
def _differences_writer(path: Path | None) -> Generator[_DifferencesWriter]:
    if path is None:
        yield _DifferencesWriter(None)
        return
    with create_output(path) as stream:
        yield _DifferencesWriter(stream)


def _confirm_writes(targets: Settings, user_count: int, *, yes: bool) -> None:
    """Ask for confirmation if a backend can only be read by writing to it."""
    names = [
        backend.name for backend in targets.backends if isinstance(backend, SupportsCompare) and backend.compare_writes
    ]
    if not names:
        return
    for name in names:
        stderr_console().print(
            f"{name} is read with an empty PUT for each of {pluralize(user_count, 'user')}: it changes no trait, but "
            "may create a missing user and update when a user was last seen.",
            soft_wrap=True,
        )
    if not yes:
        confirm_or_exit()


def _exit_code(report: ComparisonReport, *, has_problem: bool) -> ExitCode:
    unanswered = [backend.unanswered for backend in report.backends.values()]
    if any(stats.outcomes[Misconfigured.__name__] for stats in unanswered):
        return ExitCode.SETTINGS
    if any(stats.pending for stats in unanswered) or any(backend.problem for backend in report.backends.values()):
        return ExitCode.PENDING
    is_ok = report.is_same and not has_problem and not any(stats.rejected for stats in unanswered)
    return ExitCode.OK if is_ok else ExitCode.REJECTED
