"""Benchmark results as tables for the terminal and as JSON."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final, TypeAlias

import attrs
from rich.console import Console
from rich.table import Table as RichTable

REMARK: Final = "remark"
"""The column that is always shown last."""

# From this value on, a number is shown without decimals.
_MIN_WHOLE: Final = 100


@attrs.frozen
class Spread:
    """A figure over several rounds; its text is the median, and half of the range in percent."""

    lowest: float
    median: float
    highest: float

    def __str__(self) -> str:
        half = (self.highest - self.lowest) / 2
        if not self.median:
            return f"0 to {format_number(self.highest)}"

        return f"{format_number(self.median)} ±{half / self.median:.0%}"


Cell: TypeAlias = Spread | float | int | str | None


@attrs.frozen(kw_only=True)
class Table:
    """The result of one benchmark: rows of cells, each named by its column."""

    name: str
    title: str
    rows: Sequence[Mapping[str, Cell]]
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the table as values that `json.dumps` accepts."""
        return attrs.asdict(self)


def spread(values: Sequence[float]) -> Spread:
    """Return the lowest, the median and the highest of *values*."""
    return Spread(min(values), median(values), max(values))


def format_number(value: float) -> str:
    """Return *value* with three significant digits, or rounded to a whole number from 100 on."""
    return f"{value:,.0f}" if abs(value) >= _MIN_WHOLE or value == int(value) else f"{value:.3g}"


def show(console: Console, table: Table) -> None:
    """Print *table* with its note below."""
    found = dict.fromkeys(name for row in table.rows for name in row)
    columns = sorted(found, key=lambda name: name == REMARK)
    grid = RichTable(title=table.title, title_justify="left", caption=table.note or None, caption_justify="left")
    for index, name in enumerate(columns):
        grid.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in table.rows:
        grid.add_row(*[_format_cell(row.get(name)) for name in columns])
    console.print(grid, "")


def _format_cell(cell: Cell) -> str:
    if cell is None:
        return ""

    return format_number(cell) if isinstance(cell, int | float) else str(cell)
