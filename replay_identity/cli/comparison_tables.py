"""What vendors hold otherwise, as tables for a person."""

from rich.console import Console
from rich.text import Text

from ..compare import BackendComparison, ComparisonReport
from .tables import MOST_LINES, new_table, number, print_reasons, print_table, users


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
