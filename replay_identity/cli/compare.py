"""`replay-identity compare`."""

import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Final

import attrs
import orjson
import typer

from ..backend import Comparison, SupportsCompare
from ..compare import ComparisonReport
from ..compare import compare as compare_everywhere
from ..compare import sample as sample_of
from ..config import Settings
from ..model import UserTraits
from ..outcome import Misconfigured
from ..sources import BadRow, Row
from . import options
from .backends import chosen_settings
from .comparison_tables import print_comparison
from .exit_codes import ExitCode
from .file_rows import file_rows
from .output import data, print_json, talk
from .progress import progress
from .refused_rows import new_file
from .tables import rows as rows_of

_SAMPLE: Final = 1000


def compare(  # noqa: PLR0913  # One for each option.
    file: options.SourceArgument,
    *,
    sample: Annotated[int, typer.Option("--sample", min=1, help="Most users to compare, drawn at random.")] = _SAMPLE,
    seed: Annotated[int | None, typer.Option("--seed", help="Draw the same users as before with this number.")] = None,
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
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first, as where nobody is there to be asked.")] = False,
    json: options.JsonOption = False,
) -> None:
    """Ask the vendors about a sample of FILE, and tell which properties they hold otherwise; no id and no value."""
    chosen = chosen_settings(settings, to=to or (), adapt=adapt)
    source = _Users(file_rows(file, format, mapping, sql))
    users = source.sample(sample, seed)
    _ask_first(chosen, len(users), yes=yes)
    with _writing(output) as differences, progress("asked") as advance:
        report = compare_everywhere(
            users,
            chosen.backends,
            options=chosen.delivery,
            on_difference=differences.write,
            on_answer=advance,
        )
    if json:
        print_json({"users": len(users), "bad_row_count": source.bad_rows, **report.as_dict()})
    else:
        print_comparison(data(), report, len(users))
    if source.bad_rows:
        talk().print(f"Not compared, since they are no users: {rows_of(source.bad_rows)}.", style="yellow")
    raise typer.Exit(_code(report, source.bad_rows))


@attrs.define
class _Users:
    """The users whom the vendors should hold, and how many rows were none."""

    rows: Iterator[Row | BadRow]
    bad_rows: int = 0

    def sample(self, count: int, seed: int | None) -> list[UserTraits]:
        return sample_of(self._all(), count, seed=seed)

    def _all(self) -> Iterator[UserTraits]:
        for row in self.rows:
            if isinstance(row, Row):
                yield row.user
            else:
                self.bad_rows += 1


@attrs.frozen
class _Differences:
    """Where differences are written, if anywhere."""

    stream: IO[bytes] | None

    def write(self, user: UserTraits, comparison: Comparison) -> None:
        if self.stream is not None:
            self.stream.write(orjson.dumps({"user_id": user.user_id, **attrs.asdict(comparison)}) + b"\n")


@contextmanager
def _writing(path: Path | None) -> Generator[_Differences]:
    if path is None:
        yield _Differences(None)
        return
    with new_file(path) as stream:
        yield _Differences(stream)


def _ask_first(chosen: Settings, count: int, *, yes: bool) -> None:
    """Tell which backends are written to, and go on only with a yes."""
    written = [
        backend.name
        for backend in chosen.backends
        if isinstance(backend, SupportsCompare) and backend.compares_by_writing
    ]
    if not written:
        return
    console = talk()
    for name in written:
        console.print(
            f"{name} is read by an empty PUT for each of {count:,} sampled users: it changes no trait, but may create "
            "a user that is missing and move last seen.",
            soft_wrap=True,
        )
    if yes:
        return
    if not _somebody_is_there():
        problem = "nobody is there to be asked; --yes says that you are sure, --to names other backends"
        raise typer.BadParameter(problem, param_hint="--yes")
    if not _is_confirmed():
        console.print("Nothing was sent.")
        raise typer.Exit(ExitCode.REFUSED)


def _somebody_is_there() -> bool:
    return sys.stdin.isatty()


def _is_confirmed() -> bool:
    try:
        answer = talk().input("Go on? [y/N] ", markup=False)
    except EOFError:
        return False
    return answer.strip().lower() in {"y", "yes"}


def _code(report: ComparisonReport, bad_rows: int) -> ExitCode:
    unanswered = [backend.unanswered for backend in report.backends.values()]
    if any(tally.outcomes[Misconfigured.__name__] for tally in unanswered):
        return ExitCode.SETTINGS
    if any(tally.pending for tally in unanswered) or any(backend.problem for backend in report.backends.values()):
        return ExitCode.PENDING
    is_fine = report.is_same and not bad_rows and not any(tally.refused for tally in unanswered)
    return ExitCode.OK if is_fine else ExitCode.REFUSED
