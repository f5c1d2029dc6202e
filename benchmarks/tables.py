"""Results as tables: for people with rich, for machines as JSON."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final, TypeAlias

import attrs
from rich.console import Console
from rich.table import Table as RichTable

_PLAIN: Final = 100
LAST: Final = "remark"


@attrs.frozen
class Spread:
    """A figure of several rounds; as text the median, and half of the range in percent."""

    lowest: float
    median: float
    highest: float

    def __str__(self) -> str:
        half = (self.highest - self.lowest) / 2
        return f"{number(self.median)} ±{half / self.median:.0%}" if self.median else f"0 to {number(self.highest)}"


Cell: TypeAlias = Spread | float | int | str | None


@attrs.frozen(kw_only=True)
class Table:
    """One measurement: a row for each contestant, with cells by column."""

    name: str
    title: str
    rows: Sequence[Mapping[str, Cell]]
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it in JSON's terms."""
        return attrs.asdict(self)


def spread(values: Sequence[float]) -> Spread:
    """Return the lowest, the median and the highest of *values*."""
    return Spread(min(values), median(values), max(values))


def number(value: float) -> str:
    """Return *value* with three digits or, from a hundred on, as a whole number."""
    return f"{value:,.0f}" if abs(value) >= _PLAIN or value == int(value) else f"{value:.3g}"


def show(console: Console, table: Table) -> None:
    """Print the table, and below it what to know of it."""
    found = dict.fromkeys(name for row in table.rows for name in row)
    columns = [*(name for name in found if name != LAST), *(name for name in found if name == LAST)]
    shown = RichTable(title=table.title, title_justify="left", caption=table.note or None, caption_justify="left")
    for index, name in enumerate(columns):
        shown.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in table.rows:
        shown.add_row(*[_text(row.get(name)) for name in columns])
    console.print(shown, "")


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    return number(cell) if isinstance(cell, int | float) else str(cell)
