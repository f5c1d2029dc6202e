"""`replay-identity retry`."""

from . import options
from .ledgers import chosen_ledger, chosen_standings
from .output import data, print_json, talk
from .tables import users


def retry(
    *,
    to: options.ToOption = None,
    ledger: options.LedgerOption = None,
    settings: options.SettingsOption = None,
    json: options.JsonOption = False,
) -> None:
    """Make the users whom a backend refused due again as they are, as after a change at the vendor."""
    file = chosen_ledger(ledger, settings)
    with file.open_existing() as opened:
        retried = {standing.backend: opened.retry(standing.backend) for standing in chosen_standings(opened, to or ())}
    if json:
        print_json({"ledger": str(file.path), "retried": retried})
    else:
        for name, count in retried.items():
            data().print(f"{name}: {users(count)} due again")
    if any(retried.values()):
        talk().print(f"To send them: {file.command('deliver')}", soft_wrap=True)
