"""`replay-identity status`, `rejected` and `retry`: look at a ledger and requeue rejected users."""

import sys
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from json import dumps
from pathlib import Path
from typing import IO, Annotated, Any
from uuid import UUID

import attrs
import typer

from .._text import escape_controls, pluralize
from .._values import iso8601
from ..bulk.stats import BackendStats
from ..ledger import Account, AccountCounts, Ledger
from ..outcomes import Broken, Rejected, explain
from ..traits import UserTraits
from . import options
from .inputs import STDOUT, create_output, resolve_ledger
from .tables import MAX_LINES, by_title, ledger_counts_as_dict, print_ledger_counts, print_reasons
from .terminal import print_json, stderr_console, stdout_console


def status_command(
    *,
    ledger: options.LedgerOption = None,
    settings: options.SettingsOption = None,
    json: options.JsonOption = False,
) -> None:
    """Count pending, confirmed and rejected users in the ledger; contact no vendor."""
    ledger_file = resolve_ledger(ledger, settings)
    with ledger_file.open_existing() as opened:
        counts = opened.counts()
    if json:
        print_json({"ledger": str(ledger_file.path), "backends": ledger_counts_as_dict(counts)})
    else:
        print_ledger_counts(stdout_console(), str(ledger_file.path), counts)


def retry_command(
    *,
    to: options.ToOption = None,
    ledger: options.LedgerOption = None,
    settings: options.SettingsOption = None,
    json: options.JsonOption = False,
) -> None:
    """Make rejected users pending again, for example after a change at the vendor; `deliver` sends them."""
    ledger_file = resolve_ledger(ledger, settings)
    with ledger_file.open_existing() as opened:
        retried = {
            title: opened.requeue_rejected(Account(counts.backend, counts.account))
            for title, counts in select_counts(opened, to or ()).items()
        }
    if json:
        print_json({"ledger": str(ledger_file.path), "retried": retried})
    else:
        for name, count in retried.items():
            stdout_console().print(f"{name}: {pluralize(count, 'user')} pending again")
    if any(retried.values()):
        stderr_console().print(f"Send them with: {ledger_file.command('deliver')}", soft_wrap=True)


def rejected_command(
    *,
    to: options.ToOption = None,
    ledger: options.LedgerOption = None,
    settings: options.SettingsOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="Write the rejected users to a new file, to fix and sync again; - for stdout. It contains values.",
        ),
    ] = None,
    limit: options.MaxLinesOption = MAX_LINES,
    json: options.JsonOption = False,
) -> None:
    """Show why users were rejected, the most frequent reasons first; ids and values appear only in --output."""
    if json and output == STDOUT:
        raise typer.BadParameter("--json already writes to stdout; name a file", param_hint="--output")
    ledger_file = resolve_ledger(ledger, settings)
    with ledger_file.open_existing() as opened, _rejected_rows_writer(output) as writer:
        rejected = {
            title: _collect_rejected(opened, Account(counts.backend, counts.account), writer)
            for title, counts in select_counts(opened, to or ()).items()
        }
    if json:
        backends = {name: _rejected_as_dict(stats) for name, stats in rejected.items()}
        print_json({"ledger": str(ledger_file.path), "backends": backends})
    elif output != STDOUT:
        _print_rejected(rejected, limit)
    if output is not None:
        _print_written(writer, output)


def select_counts(ledger: Ledger, names: Collection[str]) -> Mapping[str, AccountCounts]:
    """Return the counts of the backends in *names*, or of all in the ledger if there are no names, by title."""
    counts = by_title(ledger.counts())
    known = {backend.backend: None for backend in counts.values()}
    if any(name not in known for name in names):
        raise typer.BadParameter(f"the ledger has no such backend; use one of {', '.join(known)}", param_hint="--to")
    return {title: backend for title, backend in counts.items() if not names or backend.backend in names}


@attrs.define
class RejectedRowsWriter:
    """Writes each rejected user once, however many backends rejected them.

    Attributes:
        stream: Stream to write to, or None to write nothing.
        count: Number of users written.
        without_id: Number of users without an id of the application, who cannot be written as rows.
    """

    stream: IO[bytes] | None
    count: int = 0
    without_id: int = 0
    _written: set[str] = attrs.field(factory=set[str], repr=False)

    def write(self, user: UserTraits) -> None:
        """Write *user* unless they are written already."""
        if self.stream is None:
            return
        if user.user_id is None:
            self.without_id += 1
        elif user.user_id not in self._written:
            self._written.add(user.user_id)
            self.stream.write(encode_row(user))
            self.count += 1


def encode_row(user: UserTraits) -> bytes:
    """Return *user* as a line of JSON that `UserTraits.from_mapping` reads back, as far as JSON has the types."""
    fields = {"user_id": user.user_id, "name": user.name, "email": user.email}
    own = {field: value for field, value in fields.items() if value is not None}
    # Own fields come first, and win over traits of the same name.
    row = {**own, **user.traits, **own}
    return f"{escape_controls(dumps(row, ensure_ascii=False, default=_as_json_value))}\n".encode()


def _as_json_value(value: object) -> Any:  # noqa: ANN401  # A JSON scalar.
    match value:
        case date():
            return iso8601(value)
        case Decimal():
            number = float(value)
            return number if Decimal(repr(number)) == value else str(value)
        case UUID():
            return str(value)
        case _:  # REMOVE: the ledger still has the removal, and a null does not contradict it.
            return None


@contextmanager
def _rejected_rows_writer(path: Path | None) -> Generator[RejectedRowsWriter]:
    """Yield a writer to a new file at *path*, to stdout for ``-``, or to nowhere for None."""
    if path is None:
        yield RejectedRowsWriter(None)
    elif path == STDOUT:
        yield RejectedRowsWriter(sys.stdout.buffer)
        sys.stdout.buffer.flush()
    else:
        with create_output(path) as stream:
            yield RejectedRowsWriter(stream)


def _collect_rejected(ledger: Ledger, backend: Account, writer: RejectedRowsWriter) -> BackendStats:
    """Return why users are rejected at *backend*, and write the users to *writer*."""
    stats = BackendStats()
    for rejected in ledger.rejected(backend):
        stats.add(_with_message(rejected.rejection))
        writer.write(rejected.user)
    return stats


def _with_message(rejection: Rejected | Broken) -> Rejected | Broken:
    """Return *rejection* with the vendor's redacted message in its code, so that both are counted and shown."""
    return attrs.evolve(rejection, code=explain(rejection)) if isinstance(rejection, Rejected) else rejection


def _rejected_as_dict(stats: BackendStats) -> Mapping[str, object]:
    document = stats.as_dict()
    return {"rejected": stats.rejected, "violations": document["violations"], "causes": document["causes"]}


def _print_rejected(rejected: Mapping[str, BackendStats], max_lines: int) -> None:
    console = stdout_console()
    for name, stats in rejected.items():
        console.print(f"{name}: {pluralize(stats.rejected, 'user')} rejected")
    console.print()
    for name, stats in rejected.items():
        print_reasons(console, name, stats, max_lines=max_lines)


def _print_written(writer: RejectedRowsWriter, output: Path) -> None:
    console = stderr_console()
    to_file = "" if output == STDOUT else f" to {output}"
    message = f"Wrote {pluralize(writer.count, 'user')}{to_file}. Fix the rows, then sync them again."
    console.print(message, soft_wrap=True)
    if writer.without_id:
        users = pluralize(writer.without_id, "user")
        console.print(f"Left out {users} without an id of your application.", style="yellow", soft_wrap=True)
