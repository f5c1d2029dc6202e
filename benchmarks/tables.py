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
    """The result of one benchmark: rows of cells, each named by its column.

    Attributes:
        name: Name of the benchmark.
        title: Heading of the table.
        rows: The rows, each named by its first cell.
        note: Text below the table.
        ratios: Columns to watch, in which less is better, each with the row that its values are divided by: the least
            that any program needs for the same work. None says that the values are ratios already.
        floors: Names of the rows in which the library does not run.
    """

    name: str
    title: str
    rows: Sequence[Mapping[str, Cell]]
    note: str = ""
    ratios: Mapping[str, str | None] = attrs.field(factory=dict[str, "str | None"])
    floors: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the table as values that `json.dumps` accepts."""
        return attrs.asdict(self)


def summarize(rows: Sequence[Mapping[str, Cell]]) -> dict[str, Cell]:
    """Return one row with the spreads of numbers that differ; other cells are taken from the last row."""
    summary: dict[str, Cell] = {}
    for name, last in rows[-1].items():
        values = [row.get(name) for row in rows]
        numbers = [value for value in values if isinstance(value, int | float)]
        differ = len(numbers) == len(values) and len(set(numbers)) > 1
        summary[name] = spread(numbers) if differ else last
    return summary


def row_name(row: Mapping[str, Cell]) -> str:
    """Return the first cell of *row*, which names it."""
    return str(next(iter(row.values())))


def lowest(cell: Cell) -> float | None:
    """Return the lowest value of a figure, or None if *cell* is none."""
    if isinstance(cell, Spread):
        return cell.lowest
    return cell if isinstance(cell, int | float) else None


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
