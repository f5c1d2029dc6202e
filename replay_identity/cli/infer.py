"""`replay-identity infer`."""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import attrs
import typer
from rich.console import Console

from ..errors import printable
from ..mapping import Inference, mapping_text
from ..migration import MigrationSource
from ..sources import BadRow, Row, infer_mapping
from . import options
from .exit_codes import ExitCode
from .inputs import FileOptions, chosen_source, file_source, is_surely_a_file, reading_of, resolve_settings
from .ledger import new_file
from .progress import progress
from .row_report import MOST_BAD_ROWS
from .tables import new_table, print_bad_rows, print_table
from .terminal import print_json, stderr_console

_STDOUT: Final = Path("-")


@attrs.define
class _BadRows:
    count: int = 0
    first: list[BadRow] = attrs.field(factory=list[BadRow])

    def add(self, row: BadRow) -> None:
        self.count += 1
        if self.count <= MOST_BAD_ROWS:
            self.first.append(row)


def infer(
    source: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="A file of users, or a backend that shows its users and their types, such as fullstory; - for stdin.",
        ),
    ],
    *,
    output: Annotated[
        Path, typer.Option("--output", help="Write the mapping to a new file instead of stdout.", show_default=False)
    ] = _STDOUT,
    format: options.FormatOption = None,  # noqa: A002  # The option's name.
    sql: options.SqlOption = None,
    settings: options.SettingsOption = None,
    json: options.JsonOption = False,
) -> None:
    """Find the types in a file that is all texts, or those that a vendor has, and write the mapping that gives them."""
    if output != _STDOUT and output.exists():
        raise typer.BadParameter("the file exists; name a new one", param_hint="--output")
    bad_rows = _BadRows()
    chosen = _source(source, FileOptions(format, None, sql, anonymous=True), settings)
    with reading_of(chosen) as reading, progress("read") as advance:
        inference = infer_mapping(_watched(reading.rows(), bad_rows, advance))
    text = mapping_text(inference.mapping(), {path: str(found) for path, found in inference.properties.items()})
    if output != _STDOUT or not json:
        _write(text, output)
    if json:
        print_json(_as_dict(inference, bad_rows, text))
    else:
        _print_findings(stderr_console(), inference)
        print_bad_rows(stderr_console(), bad_rows.first, bad_rows.count)
    raise typer.Exit(ExitCode.REFUSED if bad_rows.count else ExitCode.OK)


def _write(text: str, output: Path) -> None:
    if output == _STDOUT:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        with new_file(output) as stream:
            stream.write(text.encode())


def _source(name: str, chosen: FileOptions, settings: Path | None) -> MigrationSource:
    if is_surely_a_file(name, chosen):
        return file_source(name, chosen)
    return chosen_source(name, resolve_settings(settings, to=(), adapt=False), chosen)


def _watched(rows: Iterable[Row | BadRow], bad_rows: _BadRows, advance: Callable[[], None]) -> Iterator[Row | BadRow]:
    for row in rows:
        advance()
        if isinstance(row, BadRow):
            bad_rows.add(row)
        yield row


def _print_findings(console: Console, inference: Inference) -> None:
    table = new_table("", "Field", "Users", "Cast", "Not taken")
    for path, found in inference.properties.items():
        table.add_row(printable(path), f"{found.users:,}", found.cast, found.caveats)
    print_table(console, table)
    if inference.uninspected:
        console.print(f"{inference.uninspected:,} values of further fields were not looked at.")


def _as_dict(inference: Inference, bad_rows: _BadRows, text: str) -> dict[str, Any]:
    return {
        "fields": [{"path": printable(path), **attrs.asdict(found)} for path, found in inference.properties.items()],
        "uninspected": inference.uninspected,
        "mapping": text,
        "bad_row_count": bad_rows.count,
        "bad_rows": [attrs.asdict(row) for row in bad_rows.first],
    }
