"""`replay-identity infer`."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer
from rich.console import Console

from ..errors import printable
from ..mapping import Inference, PropertyInference, mapping_text
from ..mapping.toml import rule_settings
from ..migration import MigrationSource
from ..sources import BadRow, Row, SourceNotes, infer_mapping
from . import options
from .exit_codes import ExitCode
from .inputs import (
    STDOUT,
    create_output,
    file_source,
    must_be_file,
    open_reader,
    resolve_settings,
    resolve_source,
)
from .progress import spinner, track
from .row_report import BadRows
from .tables import new_table, print_bad_rows, print_notes, print_table
from .terminal import print_json, stderr_console


@options.with_source_options
def infer_command(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME|FILE...",
            help=f"A backend that can list its users and their types, such as fullstory, or files: {options.FILE_HELP}",
        ),
    ] = None,
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output", metavar="FILE", help="Write the mapping to a new file instead of stdout.", show_default=False
        ),
    ] = STDOUT,
    source_options: options.SourceOptions,
    settings: options.SettingsOption = None,
    json: options.JsonOption = False,
) -> None:
    """Infer the types of traits in a file of strings, or read the types from a vendor, and write them as a mapping."""
    if output != STDOUT and output.exists():
        raise typer.BadParameter("the file exists; choose another name", param_hint="--output")
    bad_rows = BadRows()
    users = _resolve_source(sources or (), source_options, settings)
    with open_reader(users) as reader, spinner("read") as advance:
        rows = reader.rows()
        inference = infer_mapping(
            _collect_bad_rows(track(rows, advance), bad_rows), mapping=source_options.row_mapping()
        )
    comments = {inference.given.source_path(path): str(found) for path, found in inference.properties.items()}
    inferred_mapping = mapping_text(inference.mapping(), comments)
    if output != STDOUT or not json:
        _write(inferred_mapping, output)
    if json:
        print_json(_as_dict(inference, bad_rows, inferred_mapping, rows.notes))
    else:
        _print_inference(stderr_console(), inference)
        print_bad_rows(stderr_console(), bad_rows.first, bad_rows.count)
        print_notes(stderr_console(), rows.notes)
    raise typer.Exit(ExitCode.REJECTED if bad_rows.count or rows.notes.has_problem else ExitCode.OK)


def _resolve_source(
    names: Sequence[str], source_options: options.SourceOptions, settings: Path | None
) -> MigrationSource:
    if len(names) != 1 or must_be_file(names[0], source_options):
        return file_source(names, source_options, anonymous=True)
    return resolve_source(names[0], resolve_settings(settings), source_options, anonymous=True)


def _collect_bad_rows(rows: Iterable[Row | BadRow], bad_rows: BadRows) -> Iterator[Row | BadRow]:
    for row in rows:
        if isinstance(row, BadRow):
            bad_rows.add(row)
        yield row


def _write(mapping: str, output: Path) -> None:
    if output == STDOUT:
        sys.stdout.write(mapping)
        sys.stdout.flush()
    else:
        with create_output(output) as stream:
            stream.write(mapping.encode())


def _print_inference(console: Console, inference: Inference) -> None:
    table = new_table("", "Field", "Users", "Cast", "Reason")
    for path, inferred in inference.properties.items():
        table.add_row(printable(path), f"{inferred.users:,}", inferred.cast, inferred.caveats)
    print_table(console, table)
    if inference.uninspected:
        console.print(f"There are too many fields: {inference.uninspected:,} values of further fields were ignored.")


def _as_dict(inference: Inference, bad_rows: BadRows, mapping: str, notes: SourceNotes) -> dict[str, Any]:
    return {
        "fields": [_field_as_dict(path, inferred) for path, inferred in inference.properties.items()],
        "uninspected": inference.uninspected,
        "mapping": mapping,
        "source": notes.as_dict(),
        **bad_rows.as_dict(),
    }


def _field_as_dict(path: str, inferred: PropertyInference) -> dict[str, Any]:
    return {
        "path": printable(path),
        "users": inferred.users,
        "cast": inferred.cast,
        "settings": rule_settings(inferred.rule),
        "conflicts": list(map(attrs.asdict, inferred.conflicts)),
        "policy": inferred.policy,
        "choices": list(map(rule_settings, inferred.choices)),
    }
