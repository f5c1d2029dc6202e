"""Benchmark the library: `make bench`.

`--only fullstory,rerun` runs some benchmarks, `--size quick` uses small sizes, and `--json` prints the results as JSON.
`--before PATH` measures another checkout in the same run, in turn with this one.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import attrs
from rich.console import Console

from benchmarks import bulk, calls, durable, inputs, logrocket, peers, strategies
from benchmarks.before import measure_both
from benchmarks.bulk import MEDIUM, QUICK, Bench, Sizes
from benchmarks.processes import FailedError
from benchmarks.tables import Table, show

BENCHMARKS: Final[Mapping[str, Callable[[Bench], Table]]] = {
    "calls": lambda _: calls.calls(),
    "durable": durable.durable,
    "strategies": lambda _: strategies.strategies(),
    "inputs": inputs.inputs,
    **bulk.BENCHMARKS,
    **logrocket.BENCHMARKS,
    **peers.BENCHMARKS,
}

SIZES: Final[Mapping[str, Sizes]] = {"full": Sizes(), "medium": MEDIUM, "quick": QUICK}

# Columns that the widest table needs. In a narrower terminal its lines wrap.
MIN_WIDTH: Final = 240


def main() -> int:
    """Run the chosen benchmarks and return how many failed."""
    arguments, stderr = parse_arguments(), Console(stderr=True)
    stdout = Console(width=max(Console().width, MIN_WIDTH))
    machine, started, failures = describe_machine(), time.monotonic(), 0
    tables: list[Table] = []
    if not arguments.json:
        stdout.print(machine)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        progress = partial(print_progress, stderr, started)
        bench = Bench(folder, choose_sizes(arguments), progress, is_before=arguments.is_before)
        for name in arguments.only:
            bench.on_progress(name)
            try:
                if arguments.before:
                    tables.append(measure_both(name, bench, arguments.before, size=arguments.size))
                else:
                    tables.append(BENCHMARKS[name](bench))
            except FailedError as error:
                failures += 1
                stderr.print(f"{name} failed: {error}", style="red", markup=False, highlight=False)
                continue
            if not arguments.json:
                show(stdout, tables[-1])
    if arguments.json:
        print(json.dumps({"machine": machine, "tables": [table.as_json() for table in tables]}))
    return failures


def parse_arguments() -> argparse.Namespace:
    """Parse the command line, and exit if it names an unknown benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = ", ".join(BENCHMARKS)
    parser.add_argument("--only", default=",".join(BENCHMARKS), help=f"comma-separated benchmarks: {names}")
    parser.add_argument("--size", choices=SIZES, default="full", help="numbers of users and rounds")
    parser.add_argument("--quick", dest="size", action="store_const", const="quick", help="the same as --size quick")
    parser.add_argument("--before", type=Path, help="folder with another replay_identity to measure in the same run")
    parser.add_argument("--is-before", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, help="number of rounds of each bulk benchmark")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--folder", type=Path, help="folder to keep the user files in; a temporary one by default")
    arguments = parser.parse_args()
    arguments.only = split_names(parser, arguments.only, BENCHMARKS)
    return arguments


def split_names(parser: argparse.ArgumentParser, text: str, known: Iterable[str]) -> list[str]:
    """Return the comma-separated names in *text*, and exit if one of them is not *known*."""
    names, choices = text.split(","), list(known)
    if unknown := [name for name in names if name not in choices]:
        parser.error(f"--only: unknown benchmark {', '.join(unknown)}; choose from {', '.join(choices)}")
    return names


def describe_machine() -> str:
    """Return the Python, the platform, the number of cores and the current load."""
    load = f"{os.getloadavg()[0]:.1f}"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, {platform.platform()}, {os.cpu_count()} cores, load {load} at the start"


def choose_sizes(arguments: argparse.Namespace) -> Sizes:
    """Return the sizes that the command line asks for."""
    sizes = SIZES[arguments.size]
    return attrs.evolve(sizes, rounds=arguments.rounds) if arguments.rounds else sizes


def print_progress(console: Console, started: float, text: str) -> None:
    """Print *text* with the seconds since *started*, which is a time of `time.monotonic`."""
    console.print(f"{time.monotonic() - started:6.0f} s  {text}", style="dim", markup=False, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
