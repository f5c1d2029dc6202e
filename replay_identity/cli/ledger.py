"""`replay-identity status`, `rejected` and `retry`: look at a ledger and requeue rejected users."""

import shlex
import sys
from collections.abc import Collection, Generator, Iterable, Mapping
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
from ..mapping import RowMapping, mapping_text
from ..outcomes import Broken, Rejected, explain
from ..traits import UserTraits, own_field, plain_name
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
    with ledger_file.open_existing() as opened:
        accounts = {
            title: Account(counts.backend, counts.account) for title, counts in select_counts(opened, to or ()).items()
        }
        prefix = "" if output is None else find_prefix(_trait_names(opened, accounts.values()))
        if output is not None and prefix:
            _write_mapping(prefix, output)
        with _rejected_rows_writer(output, prefix) as writer:
            rejected = {title: _collect_rejected(opened, account, writer) for title, account in accounts.items()}
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
        prefix: What the names of the user's own fields begin with in the rows.
        count: Number of users written.
        without_id: Number of users without an id of the application, who cannot be written as rows.
    """

    stream: IO[bytes] | None
    prefix: str = ""
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
            self.stream.write(encode_row(user, self.prefix))
            self.count += 1


def find_prefix(names: Collection[str]) -> str:
    """Return what own fields must begin with in rows beside traits of those *names*: nothing if none spells one."""
    if not any(map(own_field, names)):
        return ""
    prefix = "own_"
    while any(plain_name(name).startswith(plain_name(prefix)) for name in names):
        prefix = f"{prefix}own_"
    return prefix


def prefix_mapping(prefix: str) -> RowMapping:
    """Return the mapping that reads back rows whose own fields begin with *prefix*."""
    return RowMapping(user_id=f"{prefix}user_id", name=f"{prefix}name", email=f"{prefix}email", strict=False)


def encode_row(user: UserTraits, prefix: str = "") -> bytes:
    """Return *user* as a line of JSON that is read back as the same user, as far as JSON has the types."""
    fields = {"user_id": user.user_id, "name": user.name, "email": user.email}
    row = {**{f"{prefix}{field}": value for field, value in fields.items() if value is not None}, **user.traits}
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


def _trait_names(ledger: Ledger, accounts: Iterable[Account]) -> set[str]:
    return {name for account in accounts for rejected in ledger.rejected(account) for name in rejected.user.traits}


def _mapping_path(output: Path) -> Path:
    return output.with_name(f"{output.name}.mapping.toml")


def _write_mapping(prefix: str, output: Path) -> None:
    if output == STDOUT:
        problem = "some traits have names of the user's own fields, so the rows need a mapping; name a file"
        raise typer.BadParameter(problem, param_hint="--output")
    with create_output(_mapping_path(output)) as stream:
        stream.write(mapping_text(prefix_mapping(prefix)).encode())


@contextmanager
def _rejected_rows_writer(path: Path | None, prefix: str) -> Generator[RejectedRowsWriter]:
    """Yield a writer to a new file at *path*, to stdout for ``-``, or to nowhere for None."""
    if path is None:
        yield RejectedRowsWriter(None)
    elif path == STDOUT:
        yield RejectedRowsWriter(sys.stdout.buffer, prefix)
        sys.stdout.buffer.flush()
    else:
        with create_output(path) as stream:
            yield RejectedRowsWriter(stream, prefix)


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
    if writer.prefix:
        path = _mapping_path(output)
        note = f"Some traits have names of own fields, so sync the rows with --mapping {shlex.quote(str(path))}."
        console.print(note, soft_wrap=True)
    if writer.without_id:
        users = pluralize(writer.without_id, "user")
        console.print(f"Left out {users} without an id of your application.", style="yellow", soft_wrap=True)
