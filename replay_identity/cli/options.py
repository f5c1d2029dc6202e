"""Arguments and options that several commands have."""

import inspect
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import attrs
import typer

from ..mapping import RowMapping, load_mapping


class FileFormat(StrEnum):
    """The format of a file of users."""

    jsonl = "jsonl"
    json = "json"
    csv = "csv"
    parquet = "parquet"
    xlsx = "xlsx"
    sql = "sql"


FILE_HELP: Final = (
    "CSV, JSON Lines, JSON, Parquet or Excel, also compressed, or an SQL query; - for stdin. A quoted pattern such as "
    "'users-*.csv' and a URL work too."
)

FilesArgument: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE...",
        help=f"Files of users: {FILE_HELP} With --sql: a DuckDB or SQLite database or a PostgreSQL URL, if any.",
    ),
]


@attrs.frozen(kw_only=True)
class SourceOptions:
    """How to read users: the options that every command on files has."""

    format: Annotated[
        FileFormat | None,
        typer.Option(
            "--format", help="Format of the file of users; by default its suffix decides, and stdin is jsonl."
        ),
    ] = None
    mapping: Annotated[
        Path | None,
        typer.Option(
            "--mapping", metavar="FILE", help="A TOML file that maps the fields of a row to the fields of a user."
        ),
    ] = None
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset", metavar="NAME", help="A ready mapping for the exports of a tool, such as segment or hubspot."
        ),
    ] = None
    sql: Annotated[
        str | None,
        typer.Option("--sql", metavar="QUERY", help="A query that returns the users, in DuckDB's SQL for files."),
    ] = None
    delimiter: Annotated[
        str | None,
        typer.Option(
            "--delimiter",
            metavar="CHARACTER",
            help="The character between the cells of CSV, or tab; by default it is found in the header.",
        ),
    ] = None
    encoding: Annotated[
        str | None,
        typer.Option(
            "--encoding",
            metavar="NAME",
            help="The encoding of text, such as windows-1252; by default UTF-8 or UTF-16.",
        ),
    ] = None
    path: Annotated[
        str | None,
        typer.Option(
            "--path",
            metavar="NAME",
            help="Where the users are in a JSON document, such as data.users, or the Excel sheet.",
        ),
    ] = None

    @property
    def are_for_files(self) -> bool:
        """Return True if an option is set that only a file or a query has."""
        return any((self.format, self.sql, self.delimiter, self.encoding, self.path))

    def row_mapping(self) -> RowMapping | None:
        """Return the mapping in the file or of the preset, if one is chosen."""
        if self.mapping is not None and self.preset is not None:
            raise typer.BadParameter("pass only one of them", param_hint="--mapping, --preset")
        if self.preset is not None:
            return RowMapping.preset(self.preset)
        return None if self.mapping is None else load_mapping(self.mapping)


def with_source_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return *command* with an option for each field of `SourceOptions` in place of its parameter of that type."""

    @wraps(command)
    def run(**arguments: Any) -> None:  # noqa: ANN401  # Of any option.
        fields = {field.name: arguments.pop(field.name) for field in attrs.fields(SourceOptions)}
        command(source_options=SourceOptions(**fields), **arguments)

    signature = inspect.signature(command)
    typed: Any = run
    typed.__signature__ = signature.replace(parameters=list(_with_fields(signature)))
    return run


def _with_fields(signature: inspect.Signature) -> Iterator[inspect.Parameter]:
    for parameter in signature.parameters.values():
        if parameter.annotation is not SourceOptions:
            yield parameter
            continue
        for field in attrs.fields(SourceOptions):
            yield parameter.replace(name=field.name, annotation=field.type, default=field.default)


AnonymousOption: TypeAlias = Annotated[
    bool, typer.Option("--anonymous", help="Accept rows without an id as anonymous users.")
]

UserIdOption: TypeAlias = Annotated[
    str | None, typer.Option("--user-id", metavar="ID", help="The user's id in your application.")
]
NameOption: TypeAlias = Annotated[str | None, typer.Option("--name", metavar="NAME", help="The user's display name.")]
EmailOption: TypeAlias = Annotated[
    str | None, typer.Option("--email", metavar="ADDRESS", help="The user's e-mail address.")
]
TraitOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--trait",
        metavar="NAME=VALUE",
        help="A trait; can be repeated. A VALUE that is a JSON number, true, false, null or a quoted JSON string is "
        "parsed as JSON; anything else is a string. A dotted NAME is nested.",
    ),
]
RemoveOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--remove", metavar="NAME", help="A trait to remove; can be repeated.")
]

SettingsOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        metavar="FILE",
        help="The settings file; by default replay-identity.toml in this directory, if any.",
    ),
]
ToOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--to", metavar="NAME", help="Use only this backend; can be repeated.")
]
AdaptOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--adapt", help="Adapt traits that exceed a limit instead of rejecting the user; losses are recorded."
    ),
]
LedgerOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--ledger",
        metavar="FILE",
        envvar="REPLAY_IDENTITY_LEDGER",
        help="The ledger's file; by default the one in the settings file, or else replay-identity.db in your state "
        "folder.",
    ),
]
ResendOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--resend",
        help="Also resend what the vendors already confirmed, for example after users were deleted there.",
    ),
]
SameAccountOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--same-account",
        help="Only the key was rotated: go on with what the vendors confirmed under the previous key.",
    ),
]
DryRunOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Send nothing; show what would be sent and how long it would take. The keys must be set."
    ),
]
YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", help="Skip the confirmation prompt.")]
MaxLinesOption: TypeAlias = Annotated[
    int, typer.Option("--limit", metavar="COUNT", min=1, help="Maximum number of lines per table.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
JsonLinesOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print JSON Lines: one object per row as soon as it is sent, then a summary.")
]
