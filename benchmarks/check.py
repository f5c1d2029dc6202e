"""Compare the benchmarks with the figures that are kept in `figures.json`: `make bench-check`, or `make bench-accept`.

A figure is a ratio: the CPU time or the memory of a row, divided by the least that any program needs for the same work,
both measured in this run. A row fails if its figure is more than 10 % above the one that is kept, twice. The ratios
depend on how Python was compiled, so each build of Python has its own figures. `--accept` keeps those of this run.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.bulk import Bench
from benchmarks.processes import FailedError
from benchmarks.run import BENCHMARKS, SIZES, describe_machine, print_progress, split_names
from benchmarks.tables import Table, lowest, row_name

FIGURES: Final = Path(__file__).with_name("figures.json")
# A ratio above this multiple of the one that is kept fails.
LIMIT: Final = 1.1
# From here on a faster row is named, so that its figure can be kept.
_FASTER: Final = 0.9
# Without the quota, which measures no speed, and without other clients.
CHECKED: Final = (
    "calls",
    "strategies",
    "inputs",
    "fullstory",
    "memory",
    "growth",
    "rerun",
    "durable",
    "logrocket_echo",
    "logrocket_busy",
    "logrocket_latency",
)
_ACCEPT: Final = "make bench-accept"

# By benchmark, row and column.
Figures: TypeAlias = Mapping[str, float]


@attrs.frozen(kw_only=True)
class Comparison:
    """One figure of this run, None if it was not measured, beside the one that is kept, None if there is none."""

    name: str
    now: float | None
    kept: float | None

    @property
    def change(self) -> float | None:
        """Return this run's figure as a multiple of the one that is kept."""
        return self.now / self.kept if self.now is not None and self.kept else None

    @property
    def fails(self) -> bool:
        """Return True if the row is slower than it may be, or missing."""
        return self.now is None or (self.change is not None and self.change > LIMIT)

    def __str__(self) -> str:
        if self.now is None:
            return f"{self.name}: expected {self.kept:.3g}, but it was not measured; if it is gone, run {_ACCEPT}"
        if self.kept is None or self.change is None:
            return f"{self.name}: {self.now:.3g} is new; run {_ACCEPT} to keep it"
        text = f"{self.name}: {self.now:.3g} times its floor, {self.kept:.3g} were kept ({self.change - 1:+.0%})"
        return f"{text}; if that is the price of something, run {_ACCEPT}" if self.fails else text


def figures_of(table: Table) -> Figures:
    """Return the ratios of *table* that are compared, each from the lowest value of all rounds."""
    rows = {row_name(row): row for row in table.rows}
    figures: dict[str, float] = {}
    for column, floor in table.ratios.items():
        divisor = 1.0 if floor is None else lowest(rows[floor].get(column))
        for name in rows.keys() - set(table.floors):
            value = lowest(rows[name].get(column))
            if value is not None and divisor:
                figures[f"{table.name} / {name} / {column}"] = value / divisor
    return dict(sorted(figures.items()))


def compare(now: Figures, kept: Figures, names: Iterable[str]) -> list[Comparison]:
    """Return a comparison for each figure of the benchmarks *names*, in order."""
    prefixes = tuple(f"{name} / " for name in names)
    found = [*now, *(name for name in kept if name not in now and name.startswith(prefixes))]
    return [Comparison(name=name, now=now.get(name), kept=kept.get(name)) for name in found]


def measure_twice(names: Sequence[str], kept: Figures, measure: Callable[[str], Figures]) -> Figures:
    """Measure the benchmarks *names*; one with a row that fails is measured again, and the lower figures count."""
    figures: dict[str, float] = {}
    for name in names:
        now = measure(name)
        if any(each.fails for each in compare(now, kept, [name])):
            again = measure(name)
            now = {key: min(value, again.get(key, value)) for key, value in now.items()}
        figures.update(now)
    return figures


def python_name() -> str:
    """Return the build of Python that figures depend on."""
    # How it was optimised cannot be asked: Debian's does not say so.
    return f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}"


def load(path: Path = FIGURES) -> dict[str, dict[str, float]]:
    """Return the figures that are kept, by build of Python."""
    figures: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return figures


def accept(now: Figures, names: Iterable[str], path: Path = FIGURES) -> None:
    """Keep the figures of this run for this build of Python, instead of all others of the benchmarks *names*."""
    prefixes, figures = tuple(f"{name} / " for name in names), load(path)
    kept = figures.get(python_name(), {})
    others = {name: value for name, value in kept.items() if not name.startswith(prefixes)}
    rounded = {name: float(f"{value:.3g}") for name, value in now.items()}
    figures[python_name()] = dict(sorted({**others, **rounded}.items()))
    path.write_text(json.dumps(figures, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def show(console: Console, comparisons: Iterable[Comparison]) -> None:
    """Print all figures, and then what to know about those that changed."""
    grid = RichTable(title="Times the floor", title_justify="left")
    for index, name in enumerate(("benchmark / row / column", "kept", "now", "change")):
        grid.add_column(name, justify="right" if index else "left")
    remarkable: list[Comparison] = []
    for each in comparisons:
        cells = ["" if value is None else f"{value:.3g}" for value in (each.kept, each.now)]
        grid.add_row(each.name, *cells, "" if each.change is None else f"{each.change - 1:+.0%}")
        if each.fails or each.change is None or each.change < _FASTER:
            remarkable.append(each)
    console.print(grid, "")
    for each in remarkable:
        console.print(str(each), style="red" if each.fails else None, markup=False, highlight=False)


def as_json(comparisons: Iterable[Comparison]) -> list[dict[str, Any]]:
    """Return the comparisons as values that `json.dumps` accepts."""
    return [{**attrs.asdict(each), "change": each.change, "fails": each.fails} for each in comparisons]


def parse_arguments() -> argparse.Namespace:
    """Parse the command line, and exit if it names an unknown benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = ", ".join(CHECKED)
    parser.add_argument("--only", default=",".join(CHECKED), help=f"comma-separated benchmarks: {names}")
    parser.add_argument(
        "--size", choices=SIZES, default="medium", help="numbers of users and rounds; figures need the same"
    )
    parser.add_argument("--accept", action="store_true", help="keep the figures of this run")
    parser.add_argument("--json", action="store_true", help="print the comparisons as JSON")
    arguments = parser.parse_args()
    arguments.only = split_names(parser, arguments.only, CHECKED)
    return arguments


def main() -> int:
    """Measure, compare, and return 1 if a row fails."""
    arguments, stderr = parse_arguments(), Console(stderr=True)
    kept = {} if arguments.accept else load().get(python_name(), {})
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), SIZES[arguments.size], partial(print_progress, stderr, time.monotonic()))
        try:
            now = measure_twice(arguments.only, kept, lambda name: figures_of(BENCHMARKS[name](bench)))
        except FailedError as error:
            stderr.print(str(error), style="red", markup=False, highlight=False)
            return 1
    if arguments.accept:
        accept(now, arguments.only)
        return 0

    comparisons = compare(now, kept, arguments.only)
    if arguments.json:
        print(json.dumps({"machine": describe_machine(), "figures": as_json(comparisons)}))
    else:
        show(Console(width=max(Console().width, 120)), comparisons)
    return int(any(each.fails for each in comparisons))


if __name__ == "__main__":
    sys.exit(main())
