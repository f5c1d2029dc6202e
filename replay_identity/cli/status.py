"""`replay-identity status`."""

from . import options
from .ledgers import chosen_ledger
from .output import data, print_json
from .standing import print_standings, standings_as_dict


def status(
    *,
    ledger: options.LedgerOption = None,
    settings: options.SettingsOption = None,
    json: options.JsonOption = False,
) -> None:
    """Tell of each backend how many users are due, held and refused in the ledger. Asks no vendor."""
    file = chosen_ledger(ledger, settings)
    with file.open_existing() as opened:
        standings = opened.standings()
    if json:
        print_json({"ledger": str(file.path), "backends": standings_as_dict(standings)})
    else:
        print_standings(data(), str(file.path), standings)
