"""Reports as tables."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import attrs
from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from .._text import pluralize
from ..adapters.id_rules import ID_RULES
from ..bulk.comparison import BackendComparison, ComparisonReport
from ..bulk.stats import AdjustmentKey, BackendStats, Stats, most_frequent, worst_first
from ..errors import printable
from ..ledger import AccountCounts, AccountStatus
from ..migration.fidelity import BackendFidelity, Fidelity, PropertyFidelity
from ..outcomes import LOSSY_KINDS
from ..sources import BadRow, SourceNotes
from .row_report import RowReport

# Something that is true of one account.
T = TypeVar("T", AccountCounts, AccountStatus)
Cells: TypeAlias = Sequence[str | Text]

# Lines per table; the rest is only counted.
MAX_LINES: Final = 10

# Columns of a property's fidelity, and the fields they show; a column with only zeros is left out.
_PROPERTY_COLUMNS: Final[Mapping[str, str]] = {
    "As is": "as_is",
    "Coerced": "coerced",
    "Flattened": "flattened",
    "Lifted": "lifted",
    "Removed": "removed",
    "Warned": "warned",
    "Renamed": "renamed",
    "Truncated": "truncated",
    "Dropped": "dropped",
    "Rejected": "rejected",
    "Held back": "held_back",
}
_PROPERTY_STYLES: Final[Mapping[str, str]] = {
    "renamed": "yellow",
    "truncated": "yellow",
    "dropped": "yellow",
    "rejected": "red",
    "held_back": "magenta",
}
_NUMERIC: Final = frozenset(
    {
        *("Users", "Accepted", "Adjusted", "With loss", "Unchanged", "Skipped", "Pending", "Confirmed", "Rejected"),
        *("Requests", "Jobs", "Maximum", "Largest", "Actual"),
        *("Requested", "Unsupported", "Postponed", "Unknown", "Failed"),
        *("Compared", "Same", "Missing", "Different", "Not compared", "Differing", "Absent", "Extra"),
        *_PROPERTY_COLUMNS,
    }
)


def new_table(title: str, *headings: str) -> Table:
    """Return an empty table in the style of all commands; columns of numbers are right-aligned."""
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
        justify: JustifyMethod = "right" if heading in _NUMERIC else "left"
        table.add_column(heading, overflow="fold", justify=justify, no_wrap=heading == "Rule")
    return table


def print_table(console: Console, table: Table) -> None:
    """Print *table* below its title, which is not wrapped because it may be the path of a file."""
    title, table.title = table.title, None
    if title:
        console.print(Text(str(title), style="bold"), soft_wrap=True)
    console.print(table)


def print_lines(console: Console, table: Table, lines: Sequence[Cells], *, max_lines: int = MAX_LINES) -> None:
    """Print the first *lines* in *table* and the number of further ones; print nothing if there are none."""
    if not lines:
        return
    for cells in lines[:max_lines]:
        table.add_row(*cells)
    if len(lines) > max_lines:
        table.add_row(f"… and {len(lines) - max_lines:,} more", style="dim")
    print_table(console, table)
    console.print()


def format_count(count: int, style: str = "") -> Text:
    """Return *count* in *style*, or dimmed if it is zero."""
    return Text(f"{count:,}", style=style if count else "dim")


def print_row_report(console: Console, report: RowReport) -> None:
    """Print the outcomes of all rows of a file."""
    print_table(console, _stats_table(report.stats))
    console.print()
    for name, backend in report.stats.backends.items():
        print_reasons(console, name, backend)
    print_bad_rows(console, report.bad_rows.first, report.bad_rows.count)


def print_bad_rows(console: Console, bad_rows: Sequence[BadRow], count: int) -> None:
    """Print the first *bad_rows* of *count*."""
    if not count:
        return
    table = new_table(pluralize(count, "invalid row"), "Line", "Problem")
    for row in bad_rows:
        lines = f"{row.line}" if row.line == row.last_line else f"{row.line} to {row.last_line}"
        table.add_row(lines if row.file is None else f"{row.file}: {lines}", row.problem, style="yellow")
    if count > len(bad_rows):
        table.add_row("…", f"and {count - len(bad_rows):,} more", style="dim")
    print_table(console, table)
    console.print()


def print_notes(console: Console, notes: SourceNotes) -> None:
    """Print what a person should know about how a source was read."""
    for line in notes.lines():
        console.print(f"Note: {line}", style="yellow", soft_wrap=True, markup=False)


def print_warnings(console: Console, warnings: Sequence[str]) -> None:
    """Print what is valid in a source and still likely to be a mistake."""
    for line in warnings:
        console.print(f"Warning: {line}", style="yellow", soft_wrap=True, markup=False)


def print_reasons(
    console: Console,
    name: str,
    stats: BackendStats,
    *,
    rejected: str = "rejected by a limit",
    adjusted: str = "adjusted",
    max_lines: int = MAX_LINES,
) -> None:
    """Print why users were rejected, not accepted or adjusted at backend *name*, the most frequent reasons first."""
    for table, lines in (
        (new_table(f"{name}: {rejected}", "Field", "Rule", "Maximum", "Largest", "Users"), _violation_lines(stats)),
        (new_table(f"{name}: not accepted", "Outcome", "Cause", "Users"), _cause_lines(stats)),
        (new_table(f"{name}: {adjusted}", "Field", "Change", "Rule", "Users"), _adjustment_lines(stats)),
    ):
        print_lines(console, table, lines, max_lines=max_lines)
    print_id_rules(console, name, {key.rule for key in stats.violations})


def print_id_rules(console: Console, name: str, rules: Collection[str]) -> None:
    """Print the setting of backend *name* that allows the ids that break one of *rules*, if there is one."""
    broken = ", ".join(f'"{rule}"' for rule in sorted(ID_RULES.intersection(rules)))
    if broken:
        hint = f"if such ids are real, set allow_ids = [{broken}] in its table of the settings file"
        console.print(f"{name}: {hint}", style="yellow", soft_wrap=True, markup=False)
        console.print()


def print_ledger_counts(console: Console, title: str, counts: Sequence[AccountCounts]) -> None:
    """Print how many users are in each state at each account, and the account that each backend uses now."""
    table = new_table(title, "Backend", "Pending", "Confirmed", "Rejected", "With loss", "Jobs")
    accounts = by_title(counts)
    for name, account in accounts.items():
        table.add_row(
            Text(name, style="cyan"),
            format_count(account.pending, "magenta"),
            format_count(account.confirmed, "green"),
            format_count(account.rejected, "red"),
            format_count(account.lossy, "yellow"),
            format_count(account.jobs),
        )
    print_table(console, table)
    for name, account in accounts.items():
        if name == account.backend and account.account:
            console.print(f"{name}: {account.account}", style="dim", soft_wrap=True)


def ledger_counts_as_dict(counts: Sequence[AccountCounts]) -> dict[str, Any]:
    """Return *counts* for JSON, by title."""
    return {
        title: attrs.asdict(account, filter=lambda field, _: field.name != "backend")
        for title, account in by_title(counts).items()
    }


def by_title(counts: Sequence[T]) -> dict[str, T]:
    """Return the states of accounts, the account used last at the end, by the name of the backend.

    Accounts that a backend no longer uses have the account in their titles.
    """
    latest = {account.backend: account for account in counts}
    return {
        account.backend if account is latest[account.backend] else f"{account.backend} at {account.account}": account
        for account in counts
    }


def print_comparison(console: Console, report: ComparisonReport, user_count: int) -> None:
    """Print the result for each backend, the fields that differ most often, and why some users were not compared."""
    headings = ("Compared", "Same", "Missing", "Different", "Not compared")
    table = new_table(pluralize(user_count, "user"), "Backend", *headings)
    for name, backend in report.backends.items():
        table.add_row(
            Text(name, style="cyan"),
            format_count(backend.compared),
            format_count(backend.same, "green"),
            format_count(backend.missing, "red"),
            format_count(backend.different, "red"),
            format_count(backend.unanswered.outcomes.total(), "magenta"),
        )
    print_table(console, table)
    console.print()
    for name, backend in report.backends.items():
        table = new_table(f"{name}: differences", "Field", "Differing", "Absent", "Extra")
        print_lines(console, table, _path_lines(backend))
        print_reasons(console, name, backend.unanswered)
        if backend.problem is not None:
            console.print(f"{name}: stopped before the last user: {backend.problem}", soft_wrap=True)
    for name in report.unsupported:
        console.print(f"{name}: the vendor has no way to compare users", soft_wrap=True)


def print_fidelity(console: Console, fidelity: Fidelity, *, max_lines: int = MAX_LINES) -> None:
    """Print what each backend makes of each property, those with the most losses first."""
    for name, backend in fidelity.backends.items():
        _print_properties(console, name, backend, max_lines)
        _print_collisions(console, name, backend)
        _print_unique(console, name, backend)


def worst_properties_first(backend: BackendFidelity) -> list[tuple[str, PropertyFidelity]]:
    """Return the properties by rejected, then lossy, then all users, the most first."""
    return sorted(backend.properties.items(), key=_badness)


def _stats_table(stats: Stats) -> Table:
    headings = ("Accepted", "Adjusted", "With loss", "Rejected", "Pending", "Skipped")
    table = new_table(pluralize(stats.users, "user"), "Backend", *headings)
    for name, backend in stats.backends.items():
        table.add_row(
            Text(name, style="cyan"),
            format_count(backend.accepted, "green"),
            format_count(backend.adjusted),
            format_count(backend.lossy, "yellow"),
            format_count(backend.rejected, "red"),
            format_count(backend.pending, "magenta"),
            format_count(backend.skipped),
        )
    return table


def _violation_lines(stats: BackendStats) -> list[Cells]:
    return [
        (
            key.path,
            key.rule,
            "" if key.limit is None else f"{key.limit:,} {key.unit}",
            "" if violations.largest is None else f"{violations.largest:,}",
            format_count(violations.count, "red"),
        )
        for key, violations in worst_first(stats.violations)
    ]


def _cause_lines(stats: BackendStats) -> list[Cells]:
    return [
        (key.outcome, printable(key.cause), format_count(count, "magenta"))
        for key, count in most_frequent(stats.causes)
    ]


def _adjustment_lines(stats: BackendStats) -> list[Cells]:
    return [
        (key.path, Text(key.kind, style="yellow" if key.kind in LOSSY_KINDS else ""), key.rule, format_count(count))
        for key, count in sorted(most_frequent(stats.adjustments), key=_lossy_first)
    ]


def _lossy_first(item: tuple[AdjustmentKey, int]) -> bool:
    return item[0].kind not in LOSSY_KINDS


def _path_lines(backend: BackendComparison) -> list[Cells]:
    counts = backend.differing + backend.absent + backend.extra
    return [
        (
            path,
            format_count(backend.differing[path]),
            format_count(backend.absent[path]),
            format_count(backend.extra[path]),
        )
        for path in sorted(counts, key=lambda path: (-counts[path], path))
    ]


def _print_properties(console: Console, name: str, backend: BackendFidelity, max_lines: int) -> None:
    properties = worst_properties_first(backend)
    columns = {
        heading: field
        for heading, field in _PROPERTY_COLUMNS.items()
        if any(getattr(fidelity, field) for _, fidelity in properties)
    }
    lines: list[Cells] = [
        (
            path,
            format_count(fidelity.users),
            *(format_count(getattr(fidelity, field), _PROPERTY_STYLES.get(field, "")) for field in columns.values()),
        )
        for path, fidelity in properties
    ]
    print_lines(console, new_table(f"{name}: properties", "Property", "Users", *columns), lines, max_lines=max_lines)


def _badness(item: tuple[str, PropertyFidelity]) -> tuple[int, int, int, str]:
    path, fidelity = item
    return -fidelity.rejected, -fidelity.lossy, -fidelity.users, path


def _print_collisions(console: Console, name: str, backend: BackendFidelity) -> None:
    if not backend.collisions:
        return
    for path, count in backend.collisions.most_common(MAX_LINES):
        users = pluralize(count, "user")
        console.print(f"{name}: {path} would get the name of another property for {users}", soft_wrap=True)
    console.print()


def _print_unique(console: Console, name: str, backend: BackendFidelity) -> None:
    limit = backend.max_unique_names
    if limit is None:
        return
    unique = pluralize(backend.unique_names, "distinct property", "distinct properties")
    message = f"{name}: {unique}; the vendor allows {limit.maximum:,} per organisation"
    console.print(message, style="red" if backend.unique_names > limit.maximum else "", soft_wrap=True)
    console.print()
