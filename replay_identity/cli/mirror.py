"""`replay-identity sync --mirror`: users who vanished from a source that is complete."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Final, TypeAlias, get_args

import attrs
import orjson
import typer
from rich.console import Console
from rich.text import Text

from .._text import escape_controls, pluralize
from ..bulk import Mirror, MirrorReport, MirrorState
from ..deletion import DeletionReceipt, DeletionStatus
from ..errors import ConfigurationError
from .inputs import create_output
from .tables import format_count, new_table, print_table


class MirrorMode(StrEnum):
    """What to do about users who vanished."""

    report = "report"
    forget = "forget"


MirrorOption: TypeAlias = Annotated[
    MirrorMode | None,
    typer.Option(
        "--mirror",
        help="FILE contains all users: report those who vanished since the last run, or forget them at every vendor.",
    ),
]
MaxDeletionsOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--max-deletions",
        metavar="COUNT|PERCENT",
        help="With --mirror forget: if more users vanished, or more than this part of all users, delete none of them.",
    ),
]
VanishedOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE",
        help="With --mirror: write the ids of the users who vanished, and their receipts, to a new file.",
    ),
]

# Why nobody counts as vanished.
_REASONS: Final[Mapping[MirrorState, str]] = {
    MirrorState.NO_USERS: "the source has no users",
    MirrorState.BAD_ROWS: "a row is invalid, and may be about a user who is still there",
    MirrorState.LEFT_OUT: "the mapping left out rows about users who are still there",
    MirrorState.NOT_READ: "the source was not read to its end",
}
# In the order in which they are listed.
_STATUSES: Final[Sequence[DeletionStatus]] = get_args(DeletionStatus)


@attrs.frozen
class MirrorOptions:
    """The options of a mirror.

    Attributes:
        mode: What to do about users who vanished, or None if the source is not mirrored.
        max_deletions: The most users to delete, as a number or a percentage.
        output: File to write their ids to, or None.
    """

    mode: MirrorMode | None
    max_deletions: str
    output: Path | None

    def check(self, to: Sequence[str] | None) -> None:
        """Raise BadParameter if the options contradict each other, or *to*."""
        if self.mode is None and self.output is not None:
            raise typer.BadParameter("only a run with --mirror finds users who vanished", param_hint="--output")
        if self.mode is MirrorMode.forget and to:
            raise typer.BadParameter("--mirror forget deletes users at every backend; drop --to", param_hint="--to")
        self._mirror(None)

    @contextmanager
    def open(self) -> Generator[Mirror | None]:
        """Yield the mirror, which writes the ids of users who vanished to the file."""
        with nullcontext() if self.output is None else create_output(self.output) as stream:
            yield self._mirror(stream)

    def _mirror(self, stream: IO[bytes] | None) -> Mirror | None:
        def write(user_id: str, receipts: Sequence[DeletionReceipt]) -> None:
            if stream is not None:
                stream.write(_encode_line(user_id, receipts))

        if self.mode is None:
            return None
        try:
            return Mirror(self.mode.value, max_deletions=self.max_deletions, on_vanished=write)
        except ConfigurationError as error:
            raise typer.BadParameter(error.problem, param_hint="--max-deletions") from None


def print_mirror(console: Console, report: MirrorReport, *, is_dry_run: bool = False) -> None:
    """Print who vanished, and what was done about them."""
    console.print(_sentence(report, is_dry_run=is_dry_run), soft_wrap=True)
    if report.receipts:
        found = set[DeletionStatus]().union(*report.receipts.values())
        shown: list[DeletionStatus] = [status for status in _STATUSES if status in found]
        table = new_table("", "Backend", *(status.capitalize() for status in shown))
        for name, counts in report.receipts.items():
            table.add_row(Text(name, style="cyan"), *(format_count(counts[status]) for status in shown))
        print_table(console, table)
    console.print()


def print_mirror_problem(console: Console, report: MirrorReport) -> None:
    """Print why users who vanished were not deleted, and what to do."""
    if report.state is MirrorState.TOO_MANY:
        advice = f"If this is right, run it again with --max-deletions {report.vanished}."
        vanished = f"more than {pluralize(report.max_deletions or 0, 'user')} vanished"
        console.print(f"Nobody was deleted, because {vanished}. {advice}", soft_wrap=True)
    if report.problem is not None:
        console.print(f"Stopped deleting users: {report.problem}", style="red", soft_wrap=True)
    if report.retryable:
        console.print("The next run with --mirror forget deletes the users who are left.", soft_wrap=True)


def _sentence(report: MirrorReport, *, is_dry_run: bool) -> str:
    if report.state is MirrorState.FIRST_RUN:
        return "mirror: the users are remembered; the next run finds those who vanished"
    if report.state in _REASONS:
        return f"mirror: nobody counts as vanished, because {_REASONS[report.state]}"
    vanished = f"mirror: {report.vanished:,} of {pluralize(report.known, 'user')} vanished"
    if report.max_deletions is None or not report.vanished:
        return vanished
    if is_dry_run:
        return f"{vanished}, {'who would be deleted' if report.state is MirrorState.COMPLETE else 'too many to delete'}"
    return f"{vanished}, {report.deleted:,} deleted"


def _encode_line(user_id: str, receipts: Sequence[DeletionReceipt]) -> bytes:
    kept = [{"backend": each.backend, "status": each.status, "detail": each.detail} for each in receipts]
    return f"{escape_controls(orjson.dumps({'user_id': user_id, 'receipts': kept}).decode())}\n".encode()
