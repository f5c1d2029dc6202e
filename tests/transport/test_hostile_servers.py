"""Hostile servers end no sender's patience: no hang, no thread or socket left, and bounded memory."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from support.ask_hostile_servers import SENDERS
from support.hostile_servers import NAMES, Place, hostile_servers

pytestmark = pytest.mark.slow

TESTS: Final = Path(__file__).parents[1]
PAGE: Final = TESTS.parent / "docs/explanation/faults.md"
MAX_MIB: Final = 64
# The timeout is 1 s; an attempt that takes this long does not end by itself.
MAX_SECONDS: Final = 30


@pytest.fixture(scope="module")
def places() -> Iterator[Mapping[str, Place]]:
    """Run the hostile servers."""
    with hostile_servers() as running:
        yield running


@pytest.fixture(scope="module")
def documented() -> Mapping[str, list[str]]:
    """Return the cells of each row of the documented table."""
    rows = re.findall(r"^\| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    return {name: rest for name, *rest in cells if name in NAMES}


@pytest.mark.parametrize("sender", SENDERS)
def test_hostile_servers_end_as_documented(
    sender: str, places: Mapping[str, Place], documented: Mapping[str, list[str]]
) -> None:
    """Law: an attempt ends in time and in bounded memory, and leaves no thread, no socket and no other file."""
    column = list(SENDERS).index(sender)
    expected = {name: cells[column] for name, cells in documented.items()}
    results = ask(sender, places)

    assert len(NAMES) == 31
    assert {name: result["result"] for name, result in results.items()} == expected
    assert {name: result["left"] for name, result in results.items() if result["left"] > 0} == {}
    assert {name: result["mib"] for name, result in results.items() if result["mib"] > MAX_MIB} == {}
    assert max(result["seconds"] for result in results.values()) < MAX_SECONDS


def ask(sender: str, places: Mapping[str, Place]) -> dict[str, dict[str, Any]]:
    """Ask each server in a process of its own, and return the results by name of the server."""
    child = subprocess.run(
        [sys.executable, "-m", "support.ask_hostile_servers", sender],
        input=json.dumps({name: attrs.asdict(place) for name, place in places.items()}),
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    results = [json.loads(line) for line in child.stdout.splitlines()]
    return {result.pop("name"): result for result in results}
