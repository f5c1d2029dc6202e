"""What became of users, as tables for a person."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from ..bulk.comparison import BackendComparison, ComparisonReport
from ..bulk.stats import AdjustmentKey, BackendStats, Stats, most_frequent, worst_first
from ..errors import printable
from ..ledger import BackendCounts
from ..migration.fidelity import BackendFidelity, Fidelity, PropertyFidelity
from ..outcomes import LOSSY_KINDS
from ..sources import BadRow
from .row_report import RowReport

# Of each kind and backend, the most frequent so many are shown.
MOST_LINES: Final = 10

_TOTALS: Final = ("Accepted", "adjusted", "with loss", "RejectedUser", "Pending", "Skipped")
_OF_A_RUN: Final = ("IncomingUser", "Unchanged", "Rejected", "Requests", "Jobs")
_OF_A_LEDGER: Final = ("Due", "Held")
_OF_A_PROPERTY: Final = (
    *("As is", "Coerced", "Flattened", "Lifted", "Removed", "Warned"),
    *("Renamed", "Truncated", "Dropped", "Held back"),
)
_COUNTS: Final = frozenset({*_TOTALS, *_OF_A_RUN, *_OF_A_LEDGER, *_OF_A_PROPERTY, "Users", "At most", "Largest"})

Cells: TypeAlias = Sequence[str | Text]


def print_row_report(console: Console, row_report: RowReport) -> None:
    """Print what came of the rows of a file."""
    print_tally(console, row_report.stats)
    print_bad_rows(console, row_report.bad_rows, row_report.bad_row_count)


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


def print_tally(console: Console, stats: Stats) -> None:
    """Print the totals of each backend, then what was refused, not taken and adjusted there most often."""
    print_table(console, _totals(stats))
    console.print()
    for name, backend in stats.backends.items():
        print_reasons(console, name, backend)


def print_reasons(
    console: Console,
    name: str,
    backend: BackendStats,
    *,
    rejected: str = "refused",
    adjusted: str = "adjusted",
    most: int = MOST_LINES,
) -> None:
    """Print what was *rejected*, not taken and *adjusted* at one backend, the *most* frequent of each."""
    for table, lines in (
        (new_table(f"{name} {rejected}", "Field", "Rule", "At most", "Largest", "Users"), _violations(backend)),
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


def _totals(stats: Stats) -> Table:
    table = new_table(users(stats.users), "Backend", *_TOTALS)
    for name, backend in stats.backends.items():
        table.add_row(
            Text(name, style="cyan"),
            number(backend.accepted, "green"),
            number(backend.adjusted),
            number(backend.lossy, "yellow"),
            number(backend.rejected, "red"),
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


def _violations(backend: BackendStats) -> list[Cells]:
    return [
        (
            key.path,
            key.rule,
            "" if key.limit is None else f"{key.limit:,} {key.unit}",
            "" if violation_count.largest is None else f"{violation_count.largest:,}",
            number(violation_count.count, "red"),
        )
        for key, violation_count in worst_first(backend.violations)
    ]


def _causes(backend: BackendStats) -> list[Cells]:
    return [
        (key.outcome, printable(key.cause), number(count, "magenta")) for key, count in most_frequent(backend.causes)
    ]


def _adjustments(backend: BackendStats) -> list[Cells]:
    return [
        (key.path, Text(key.kind, style="yellow" if key.kind in LOSSY_KINDS else ""), key.rule, number(count))
        for key, count in sorted(most_frequent(backend.adjustments), key=_lossless)
    ]


def _lossless(counted: tuple[AdjustmentKey, int]) -> bool:
    """Sort what was lost before what was not."""
    return counted[0].kind not in LOSSY_KINDS


def rows(count: int) -> str:
    """Return *count* with its noun."""
    return "1 row" if count == 1 else f"{count:,} rows"


def users(count: int) -> str:
    """Return *count* with its noun."""
    return "1 user" if count == 1 else f"{count:,} users"


def number(count: int, style: str = "") -> Text:
    """Return *count* in *style*, and a zero so that it is not looked at."""
    return Text(f"{count:,}", style=style if count else "dim")


def counts_as_dict(standings: Sequence[BackendCounts]) -> dict[str, Any]:
    """Return *standings* as JSON has them, by backend."""
    return {
        standing.backend: attrs.asdict(standing, filter=lambda field, _: field.name != "backend")
        for standing in standings
    }


def print_counts(console: Console, title: str, standings: Sequence[BackendCounts]) -> None:
    """Print *standings* as a table."""
    table = new_table(title, "Backend", "Due", "Held", "RejectedUser", "with loss", "Jobs")
    for standing in standings:
        table.add_row(
            Text(standing.backend, style="cyan"),
            number(standing.pending, "magenta"),
            number(standing.confirmed, "green"),
            number(standing.rejected, "red"),
            number(standing.lossy, "yellow"),
            number(standing.jobs),
        )
    print_table(console, table)


def print_comparison(console: Console, report: ComparisonReport, count: int) -> None:
    """Print the totals of each backend, then the paths that differ most, and why some users could not be read."""
    table = new_table(users(count), "Backend")
    for heading in ("Compared", "Same", "Missing", "Different", "No answer"):
        table.add_column(heading, justify="right")
    for name, backend in report.backends.items():
        table.add_row(
            Text(name, style="cyan"),
            number(backend.compared),
            number(backend.same, "green"),
            number(backend.missing, "red"),
            number(backend.different, "red"),
            number(backend.unanswered.outcomes.total(), "magenta"),
        )
    print_table(console, table)
    console.print()
    for name, backend in report.backends.items():
        _print_paths(console, name, backend)
        print_reasons(console, name, backend.unanswered)
        if backend.problem is not None:
            console.print(f"{name} was not asked about the rest: {backend.problem}", soft_wrap=True)
    for name in report.unsupported:
        console.print(f"{name} has no way to be compared.", soft_wrap=True)


def _print_paths(console: Console, name: str, backend: BackendComparison) -> None:
    counts = backend.differing + backend.absent + backend.extra
    if not counts:
        return
    table = new_table(f"{name} differs", "Field")
    for heading in ("Differing", "Absent", "Extra"):
        table.add_column(heading, justify="right")
    paths = sorted(counts, key=lambda path: (-counts[path], path))
    for path in paths[:MOST_LINES]:
        table.add_row(path, number(backend.differing[path]), number(backend.absent[path]), number(backend.extra[path]))
    if len(paths) > MOST_LINES:
        table.add_row(f"… and {len(paths) - MOST_LINES:,} more", style="dim")
    print_table(console, table)
    console.print()


# The columns and their numbers; one that is zero everywhere is left out.
_COLUMNS: Final[Mapping[str, str]] = {
    "As is": "as_is",
    "Coerced": "coerced",
    "Flattened": "flattened",
    "Lifted": "lifted",
    "Removed": "removed",
    "Warned": "warned",
    "Renamed": "renamed",
    "Truncated": "truncated",
    "Dropped": "dropped",
    "RejectedUser": "refused",
    "Held back": "held_back",
}
_STYLES: Final[Mapping[str, str]] = {
    "renamed": "yellow",
    "truncated": "yellow",
    "dropped": "yellow",
    "refused": "red",
    "held_back": "magenta",
}


def print_fidelity(console: Console, fidelity: Fidelity, *, most: int = MOST_LINES) -> None:
    """Print what becomes of properties at each backend, the *most* troubled first."""
    for name, backend in fidelity.backends.items():
        _print_properties(console, name, backend, most)
        _print_collisions(console, name, backend)
        _print_unique(console, name, backend)


def worst_properties_first(backend: BackendFidelity) -> list[tuple[str, PropertyFidelity]]:
    """Return the properties, those first that are refused or lose most often, then the most frequent."""
    return sorted(backend.properties.items(), key=_trouble)


def _trouble(item: tuple[str, PropertyFidelity]) -> tuple[int, int, int, str]:
    path, counted = item
    return -counted.rejected, -counted.lossy, -counted.users, path


def _print_properties(console: Console, name: str, backend: BackendFidelity, most: int) -> None:
    properties = worst_properties_first(backend)
    if not properties:
        return
    columns = {
        heading: field
        for heading, field in _COLUMNS.items()
        if any(getattr(counted, field) for _, counted in properties)
    }
    table = new_table(f"What becomes of properties at {name}", "Property", "Users", *columns)
    for path, counted in properties[:most]:
        table.add_row(
            path,
            number(counted.users),
            *(number(getattr(counted, field), _STYLES.get(field, "")) for field in columns.values()),
        )
    if len(properties) > most:
        table.add_row(f"… and {len(properties) - most:,} more", style="dim")
    print_table(console, table)
    console.print()


def _print_collisions(console: Console, name: str, backend: BackendFidelity) -> None:
    if not backend.collisions:
        return
    for path, count in backend.collisions.most_common(MOST_LINES):
        console.print(f"{name}: {path} would have the name of another property, for {users(count)}", soft_wrap=True)
    console.print()


def _print_unique(console: Console, name: str, backend: BackendFidelity) -> None:
    limit = backend.most_unique
    if limit is None:
        return
    said = f"{name}: {backend.unique:,} different properties; an organisation may have {limit.maximum:,}"
    console.print(said, style="red" if backend.unique > limit.maximum else "", soft_wrap=True)
    console.print()
