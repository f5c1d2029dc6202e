"""Run a benchmark with this library and with an older one, in turn: `benchmarks/run.py --before PATH`.

Each round of each library is a process of its own, since a process can import one of them only.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from benchmarks.bulk import Bench, Row
from benchmarks.processes import PACKAGE_FOLDER, FailedError, environment
from benchmarks.tables import Cell, Table, lowest, row_name, summarize

_PACKAGE: Final = "replay_identity"
_BEFORE: Final = ", before"


def measure_both(name: str, bench: Bench, before: Path, *, size: str) -> Table:
    """Return the table of the benchmark *name*, in which each row of the library is followed by the one from *before*.

    Raises:
        FailedError: *before* has no library, or the benchmark failed with this library. Whatever fails with the older
            one is left out.
    """
    rounds: list[Table] = []
    rounds_before: list[Table] = []
    with only_package(before) as folder:
        for number in range(bench.sizes.rounds):
            bench.on_progress(f"{name}: round {number + 1} of {bench.sizes.rounds}, both libraries")
            libraries = [(PACKAGE_FOLDER, rounds), (folder, rounds_before)]
            # Whatever slows the machine down for a while does not always hit the same one.
            for package_folder, tables in libraries if number % 2 == 0 else reversed(libraries):
                try:
                    tables.append(_measure_once(name, bench, package_folder, size=size))
                except FailedError as error:
                    if tables is rounds:
                        raise
                    bench.on_progress(f"{name}: left out for {before}: {error}")
    return merge(rounds, rounds_before)


@contextmanager
def only_package(checkout: Path) -> Generator[Path]:
    """Yield a folder from which only the library of *checkout* can be imported, and not its benchmarks."""
    package = checkout.resolve() / _PACKAGE
    if not (package / "__init__.py").exists():
        raise FailedError(f"--before: expected a folder that contains {_PACKAGE}, got {checkout}")
    with tempfile.TemporaryDirectory() as name:
        Path(name, _PACKAGE).symlink_to(package)
        yield Path(name)


def _measure_once(name: str, bench: Bench, package_folder: Path, *, size: str) -> Table:
    options = ["--only", name, "--size", size, "--rounds", "1", "--folder", str(bench.folder.resolve()), "--json"]
    if package_folder != PACKAGE_FOLDER:
        options.append("--is-before")
    command = [sys.executable, "-m", "benchmarks.run", *options]
    process = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment(package_folder), cwd=package_folder
    )
    if process.returncode:
        raise FailedError(process.stderr.strip() or f"{name} exited with {process.returncode}")
    [table] = json.loads(process.stdout)["tables"]
    rows: list[dict[str, Any]] = table.pop("rows")
    return Table(**table, rows=[_parsed(row) for row in rows])


def _parsed(row: Mapping[str, Any]) -> Row:
    """Return a row from JSON, with the median of each spread."""
    return {name: cell["median"] if isinstance(cell, dict) else cell for name, cell in row.items()}


def merge(rounds: Sequence[Table], rounds_before: Sequence[Table]) -> Table:
    """Return one table of all rounds, with the ratio of the lowest figures of each row to the one before."""
    floors, rows = rounds[0].floors, _summaries(rounds)
    rows_before = {name: row for name, row in _summaries(rounds_before).items() if name not in floors}
    merged: list[Mapping[str, Cell]] = []
    for name, row in rows.items():
        row_before = rows_before.get(name, {})
        merged.append({**row, **_ratios(row, row_before, rounds[0].ratios)})
        if row_before:
            merged.append({**row_before, next(iter(row_before)): f"{name}{_BEFORE}"})
    return attrs.evolve(rounds[0], rows=merged)


def _ratios(row: Row, row_before: Row, columns: Mapping[str, str | None]) -> Row:
    pairs = {column: (lowest(row.get(column)), lowest(row_before.get(column))) for column in columns}
    return {f"{column} x before": now / before for column, (now, before) in pairs.items() if now and before}


def _summaries(rounds: Sequence[Table]) -> Mapping[str, Row]:
    """Return the rows by name, each over the rounds that have it."""
    found: dict[str, list[Mapping[str, Cell]]] = {}
    for table in rounds:
        for row in table.rows:
            found.setdefault(row_name(row), []).append(row)
    return {name: summarize(rows) for name, rows in found.items()}
