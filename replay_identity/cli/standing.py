"""How users stand in a ledger, as a table and as JSON."""

from collections.abc import Sequence
from typing import Any

import attrs
from rich.console import Console
from rich.text import Text

from ..ledger import Standing
from .tables import new_table, number, print_table


def standings_as_dict(standings: Sequence[Standing]) -> dict[str, Any]:
    """Return *standings* as JSON has them, by backend."""
    return {
        standing.backend: attrs.asdict(standing, filter=lambda field, _: field.name != "backend")
        for standing in standings
    }


def print_standings(console: Console, title: str, standings: Sequence[Standing]) -> None:
    """Print *standings* as a table."""
    table = new_table(title, "Backend", "Due", "Held", "Refused", "with loss", "Jobs")
    for standing in standings:
        table.add_row(
            Text(standing.backend, style="cyan"),
            number(standing.due, "magenta"),
            number(standing.held, "green"),
            number(standing.refused, "red"),
            number(standing.lossy, "yellow"),
            number(standing.jobs),
        )
    print_table(console, table)
