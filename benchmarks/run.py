"""Measure what the library promises about its speed: `make bench`.

`--only fullstory,again` measures some of it, `--quick` little of everything, and `--json` prints for machines.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import attrs
from rich.console import Console

from benchmarks import bulk, calls, peers, strategies
from benchmarks.bulk import QUICK, Bench, Sizes
from benchmarks.processes import FailedError
from benchmarks.tables import Table, show

ALL: Final[Mapping[str, Callable[[Bench], Table]]] = {
    "calls": lambda _: calls.calls(),
    "strategies": lambda _: strategies.strategies(),
    **bulk.MEASUREMENTS,
    **peers.MEASUREMENTS,
}

# The widest table; in a narrower window its lines break.
WIDTH: Final = 160


def arguments() -> argparse.Namespace:
    """Return what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(ALL), help=f"some of {', '.join(ALL)}, with commas between them")
    parser.add_argument("--quick", action="store_true", help="little of everything, to see whether it works")
    parser.add_argument("--rounds", type=int, help="how often the bulk measurements are made")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--folder", type=Path, help="where the files of users are kept; by default a temporary one")
    given = parser.parse_args()
    given.only = given.only.split(",")
    if unknown := [name for name in given.only if name not in ALL]:
        parser.error(f"no measurement is called {', '.join(unknown)}; there are {', '.join(ALL)}")
    return given


def machine() -> str:
    """Return what this was measured on, and how busy it was at the time."""
    load = f"{os.getloadavg()[0]:.1f}"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, {platform.platform()}, {os.cpu_count()} cores, load {load} before"


def sizes(given: argparse.Namespace) -> Sizes:
    """Return how much to measure."""
    chosen = QUICK if given.quick else Sizes()
    return attrs.evolve(chosen, rounds=given.rounds) if given.rounds else chosen


def main() -> int:
    """Measure what is asked for, and return how many measurements failed."""
    given, talk = arguments(), Console(stderr=True)
    shown = Console(width=max(Console().width, WIDTH))
    before, begun, failed = machine(), time.monotonic(), 0
    tables: list[Table] = []
    shown.print(before) if not given.json else None
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(folder, sizes(given), partial(say, talk, begun))
        for name in given.only:
            bench.say(name)
            try:
                tables.append(ALL[name](bench))
            except FailedError as error:
                failed += 1
                talk.print(f"{name} failed: {error}", style="red", markup=False, highlight=False)
                continue
            if not given.json:
                show(shown, tables[-1])
    if given.json:
        print(json.dumps({"machine": before, "tables": [table.as_json() for table in tables]}))
    return failed


def say(talk: Console, begun: float, text: str) -> None:
    """Tell how far it is, apart from the results."""
    talk.print(f"{time.monotonic() - begun:6.0f} s  {text}", style="dim", markup=False, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
