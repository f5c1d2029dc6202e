"""What became of users, as tables for a person."""

from collections.abc import Sequence
from typing import Final, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from ..errors import printable
from ..outcome import LOSSY
from ..sources import BadRow
from ..tally import AdjustmentKey, BackendTally, Tally, most_frequent, worst_first
from .survey import Survey

# Of each kind and backend, the most frequent so many are shown.
MOST_LINES: Final = 10

_TOTALS: Final = ("Accepted", "adjusted", "with loss", "Refused", "Pending", "Skipped")
_OF_A_RUN: Final = ("Given", "Unchanged", "Rejected", "Requests", "Jobs")
_OF_A_LEDGER: Final = ("Due", "Held")
_OF_A_PROPERTY: Final = (
    *("As is", "Coerced", "Flattened", "Lifted", "Removed", "Warned"),
    *("Renamed", "Truncated", "Dropped", "Held back"),
)
_COUNTS: Final = frozenset({*_TOTALS, *_OF_A_RUN, *_OF_A_LEDGER, *_OF_A_PROPERTY, "Users", "At most", "Largest"})

Cells: TypeAlias = Sequence[str | Text]


def print_survey(console: Console, survey: Survey) -> None:
    """Print what came of the rows of a file."""
    print_tally(console, survey.tally)
    print_bad_rows(console, survey.bad_rows, survey.bad_row_count)


def print_bad_rows(console: Console, rows: Sequence[BadRow], count: int) -> None:
    """Print the first *rows* that are no users, of so many."""
    if not count:
        return
    table = new_table(_bad_rows_title(count), "Line", "Problem")
    for row in rows:
        lines = f"{row.line}" if row.line == row.last_line else f"{row.line} to {row.last_line}"
        table.add_row(lines, row.problem, style="yellow")
    if count > len(rows):
        table.add_row("…", f"and {count - len(rows):,} more", style="dim")
    print_table(console, table)
    console.print()


def _bad_rows_title(count: int) -> str:
    return "1 row is no user" if count == 1 else f"{count:,} rows are no users"


def print_tally(console: Console, tally: Tally) -> None:
    """Print the totals of each backend, then what was refused, not taken and adjusted there most often."""
    print_table(console, _totals(tally))
    console.print()
    for name, backend in tally.backends.items():
        print_reasons(console, name, backend)


def print_reasons(
    console: Console,
    name: str,
    backend: BackendTally,
    *,
    refused: str = "refused",
    adjusted: str = "adjusted",
    most: int = MOST_LINES,
) -> None:
    """Print what was *refused*, not taken and *adjusted* at one backend, the *most* frequent of each."""
    for table, lines in (
        (new_table(f"{name} {refused}", "Field", "Rule", "At most", "Largest", "Users"), _violations(backend)),
        (new_table(f"{name} did not take", "Outcome", "Cause", "Users"), _causes(backend)),
        (new_table(f"{name} {adjusted}", "Field", "Change", "Rule", "Users"), _adjustments(backend)),
    ):
        _print_lines(console, table, lines, most)


def new_table(title: str, *headings: str) -> Table:
    """Return an empty table in the style of this command; counts are flush right."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for heading in headings:
        justify: JustifyMethod = "right" if heading in _COUNTS else "left"
        table.add_column(heading, overflow="fold", justify=justify, no_wrap=heading == "Rule")
    return table


def print_table(console: Console, table: Table) -> None:
    """Print *table* under its title, which may be the path of a file and is not broken into lines."""
    title, table.title = table.title, None
    if title:
        console.print(Text(str(title), style="bold"), soft_wrap=True)
    console.print(table)


def _totals(tally: Tally) -> Table:
    table = new_table(users(tally.users), "Backend", *_TOTALS)
    for name, backend in tally.backends.items():
        table.add_row(
            Text(name, style="cyan"),
            number(backend.accepted, "green"),
            number(backend.adjusted),
            number(backend.lossy, "yellow"),
            number(backend.refused, "red"),
            number(backend.pending, "magenta"),
            number(backend.skipped),
        )
    return table


def _print_lines(console: Console, table: Table, lines: Sequence[Cells], most: int) -> None:
    """Print the first *lines* in *table*, if there are any."""
    for cells in lines[:most]:
        table.add_row(*cells)
    if len(lines) > most:
        table.add_row(f"… and {len(lines) - most:,} more", style="dim")
    if lines:
        print_table(console, table)
        console.print()


def _violations(backend: BackendTally) -> list[Cells]:
    return [
        (
            key.path,
            key.rule,
            "" if key.limit is None else f"{key.limit:,} {key.unit}",
            "" if breaches.largest is None else f"{breaches.largest:,}",
            number(breaches.count, "red"),
        )
        for key, breaches in worst_first(backend.violations)
    ]


def _causes(backend: BackendTally) -> list[Cells]:
    return [
        (key.outcome, printable(key.cause), number(count, "magenta")) for key, count in most_frequent(backend.causes)
    ]


def _adjustments(backend: BackendTally) -> list[Cells]:
    return [
        (key.path, Text(key.kind, style="yellow" if key.kind in LOSSY else ""), key.rule, number(count))
        for key, count in sorted(most_frequent(backend.adjustments), key=_lossless)
    ]


def _lossless(counted: tuple[AdjustmentKey, int]) -> bool:
    """Sort what was lost before what was not."""
    return counted[0].kind not in LOSSY


def rows(count: int) -> str:
    """Return *count* with its noun."""
    return "1 row" if count == 1 else f"{count:,} rows"


def users(count: int) -> str:
    """Return *count* with its noun."""
    return "1 user" if count == 1 else f"{count:,} users"


def number(count: int, style: str = "") -> Text:
    """Return *count* in *style*, and a zero so that it is not looked at."""
    return Text(f"{count:,}", style=style if count else "dim")
