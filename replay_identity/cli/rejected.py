"""`replay-identity rejected`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import attrs
import typer

from ..ledger import Ledger
from ..outcome import Broken, Rejected, explain
from ..tally import BackendTally
from . import options
from .ledgers import chosen_ledger, chosen_standings
from .output import data, print_json, talk
from .refused_rows import RowsFile, writing
from .tables import MOST_LINES, print_reasons, users

_STDOUT: Final = Path("-")


def rejected(
    *,
    to: options.ToOption = None,
    ledger: options.LedgerOption = None,
    settings: options.SettingsOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="Write the users to a new file, to be mended and synced again; - for stdout. It holds their values.",
        ),
    ] = None,
    limit: options.LinesOption = MOST_LINES,
    json: options.JsonOption = False,
) -> None:
    """Tell what each backend refused and why, the most frequent first; no id and no value, but in the file."""
    if json and output == _STDOUT:
        raise typer.BadParameter("stdout is taken by --json", param_hint="--output")
    chosen = chosen_ledger(ledger, settings)
    with chosen.open_existing() as opened, writing(output) as file:
        refused = {
            standing.backend: _counted(opened, standing.backend, file)
            for standing in chosen_standings(opened, to or ())
        }
    if json:
        print_json({"ledger": str(chosen.path), "backends": {name: _as_dict(tally) for name, tally in refused.items()}})
    elif output != _STDOUT:
        _print_refused(refused, limit)
    if output is not None:
        _say_what_was_written(file, output)


def _counted(ledger: Ledger, backend: str, file: RowsFile) -> BackendTally:
    """Return why *backend* refused users, who are written to *file*."""
    tally = BackendTally()
    for refused in ledger.refused(backend):
        tally.add(_with_words(refused.refusal))
        file.write(refused.user)
    return tally


def _with_words(refusal: Rejected | Broken) -> Rejected | Broken:
    """Return *refusal* with the vendor's words, in which what was sent is masked, beside its code."""
    return attrs.evolve(refusal, code=explain(refusal)) if isinstance(refusal, Rejected) else refusal


def _as_dict(tally: BackendTally) -> Mapping[str, object]:
    counted = tally.as_dict()
    return {"refused": tally.refused, "violations": counted["violations"], "causes": counted["causes"]}


def _print_refused(refused: Mapping[str, BackendTally], limit: int) -> None:
    console = data()
    for name, tally in refused.items():
        console.print(f"{name} refused {users(tally.refused)}")
    console.print()
    for name, tally in refused.items():
        print_reasons(console, name, tally, most=limit)


def _say_what_was_written(file: RowsFile, output: Path) -> None:
    console = talk()
    where = "" if output == _STDOUT else f" to {output}"
    console.print(f"{users(file.count)} written{where}. Mend the file, and sync it.", soft_wrap=True)
    if file.nameless:
        left_out = f"Left out, since they have no id of the application's own: {users(file.nameless)}."
        console.print(left_out, style="yellow", soft_wrap=True)
