"""`replay-identity status`."""

import json
import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import IO, Annotated, Any, Final
from uuid import UUID

import attrs
import typer

from .._values import iso8601
from ..bulk.stats import BackendStats
from ..ledger import Ledger
from ..outcomes import Broken, Rejected, explain
from ..traits import UserTraits
from . import options
from .inputs import resolve_ledger, selected_counts
from .tables import MOST_LINES, counts_as_dict, print_counts, print_reasons, users
from .terminal import print_json, stderr_console, stdout_console


def status(
    *,
    ledger: options.LedgerOption = None,
    settings: options.SettingsOption = None,
    json: options.JsonOption = False,
) -> None:
    """Tell of each backend how many users are due, held and refused in the ledger. Asks no vendor."""
    file = resolve_ledger(ledger, settings)
    with file.open_existing() as opened:
        standings = opened.counts()
    if json:
        print_json({"ledger": str(file.path), "backends": counts_as_dict(standings)})
    else:
        print_counts(stdout_console(), str(file.path), standings)


def retry(
    *,
    to: options.ToOption = None,
    ledger: options.LedgerOption = None,
    settings: options.SettingsOption = None,
    json: options.JsonOption = False,
) -> None:
    """Make the users whom a backend refused due again as they are, as after a change at the vendor."""
    file = resolve_ledger(ledger, settings)
    with file.open_existing() as opened:
        retried = {
            standing.backend: opened.requeue_rejected(standing.backend)
            for standing in selected_counts(opened, to or ())
        }
    if json:
        print_json({"ledger": str(file.path), "retried": retried})
    else:
        for name, count in retried.items():
            stdout_console().print(f"{name}: {users(count)} due again")
    if any(retried.values()):
        stderr_console().print(f"To send them: {file.command('deliver')}", soft_wrap=True)


_STDOUT: Final = Path("-")


@attrs.define
class RejectedRowsWriter:
    """Where users are written, each once however many backends refused them.

    Attributes:
        stream: Where to, or None to only count.
        count: Users written.
        nameless: Users without an id of the application's own, of whom no row can be made.
    """

    stream: IO[bytes] | None
    count: int = 0
    nameless: int = 0
    _written: set[str] = attrs.field(factory=set[str], repr=False)

    def write(self, user: UserTraits) -> None:
        """Write *user*, unless that is done already."""
        if self.stream is None:
            return
        if user.user_id is None:
            self.nameless += 1
        elif user.user_id not in self._written:
            self._written.add(user.user_id)
            self.stream.write(row_line(user))
            self.count += 1


@contextmanager
def writing(path: Path | None) -> Generator[RejectedRowsWriter]:
    """Yield what writes users to a new file at *path*, for its owner alone; ``-`` is stdout, None nowhere."""
    if path is None:
        yield RejectedRowsWriter(None)
    elif path == _STDOUT:
        yield RejectedRowsWriter(sys.stdout.buffer)
        sys.stdout.buffer.flush()
    else:
        with new_file(path) as stream:
            yield RejectedRowsWriter(stream)


def row_line(user: UserTraits) -> bytes:
    """Return *user* as a line that `UserTraits.from_mapping` reads back, as far as JSON has types for the values."""
    own = {"user_id": user.user_id, "name": user.name, "email": user.email}
    said = {field: value for field, value in own.items() if value is not None}
    row = {**said, **user.traits, **said}
    return f"{json.dumps(row, ensure_ascii=False, default=_plain)}\n".encode()


def _plain(value: object) -> Any:  # noqa: ANN401  # What JSON has a type for.
    """Return a trait's value that JSON has no type for as one that it has."""
    match value:
        case date():
            return iso8601(value)
        case Decimal():
            number = float(value)
            return number if Decimal(repr(number)) == value else str(value)
        case UUID():
            return str(value)
        case _:  # REMOVE: the ledger still has it, and a null says nothing against it.
            return None


def new_file(path: Path) -> IO[bytes]:
    """Open a file that does not exist yet, so that nothing half mended is written over."""
    try:
        return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
    except FileExistsError:
        raise typer.BadParameter("the file exists; name a new one", param_hint="--output") from None
    except OSError as error:
        raise typer.BadParameter(f"cannot be written: {error.strerror}", param_hint="--output") from None


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
    chosen = resolve_ledger(ledger, settings)
    with chosen.open_existing() as opened, writing(output) as file:
        rejected = {
            standing.backend: _counted(opened, standing.backend, file) for standing in selected_counts(opened, to or ())
        }
    if json:
        print_json(
            {"ledger": str(chosen.path), "backends": {name: _as_dict(stats) for name, stats in rejected.items()}}
        )
    elif output != _STDOUT:
        _print_rejected(rejected, limit)
    if output is not None:
        _say_what_was_written(file, output)


def _counted(ledger: Ledger, backend: str, file: RejectedRowsWriter) -> BackendStats:
    """Return why *backend* refused users, who are written to *file*."""
    stats = BackendStats()
    for rejected in ledger.rejected(backend):
        stats.add(_with_words(rejected.rejection))
        file.write(rejected.user)
    return stats


def _with_words(rejection: Rejected | Broken) -> Rejected | Broken:
    """Return *rejection* with the vendor's words, in which what was sent is masked, beside its code."""
    return attrs.evolve(rejection, code=explain(rejection)) if isinstance(rejection, Rejected) else rejection


def _as_dict(stats: BackendStats) -> Mapping[str, object]:
    counted = stats.as_dict()
    return {"refused": stats.rejected, "violations": counted["violations"], "causes": counted["causes"]}


def _print_rejected(rejected: Mapping[str, BackendStats], limit: int) -> None:
    console = stdout_console()
    for name, stats in rejected.items():
        console.print(f"{name} refused {users(stats.rejected)}")
    console.print()
    for name, stats in rejected.items():
        print_reasons(console, name, stats, most=limit)


def _say_what_was_written(file: RejectedRowsWriter, output: Path) -> None:
    console = stderr_console()
    where = "" if output == _STDOUT else f" to {output}"
    console.print(f"{users(file.count)} written{where}. Mend the file, and sync it.", soft_wrap=True)
    if file.nameless:
        left_out = f"Left out, since they have no id of the application's own: {users(file.nameless)}."
        console.print(left_out, style="yellow", soft_wrap=True)
