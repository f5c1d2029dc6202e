"""The arguments and options that several commands have."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer


class FileFormat(StrEnum):
    """The formats that files of users come in."""

    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"
    sql = "sql"


JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
JsonLinesOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print JSON Lines: one object for each row, as it is done, and then a summary.")
]
SettingsOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--settings", help="The settings file; by default replay-identity.toml in this directory, if any."),
]
FormatOption: TypeAlias = Annotated[
    FileFormat | None,
    typer.Option("--format", help="Format of FILE; by default as its suffix says, jsonl for stdin."),
]
ToOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--to", metavar="NAME", help="Only this backend; may be repeated.")
]
AdaptOption: TypeAlias = Annotated[
    bool, typer.Option("--adapt", help="Mend what breaks a limit, with a recorded loss, instead of refusing the user.")
]
AnonymousOption: TypeAlias = Annotated[
    bool, typer.Option("--anonymous", help="Take a row without an id for an anonymous user instead of a bad row.")
]
_FILE: Final = "A file of users: JSON Lines, CSV, Parquet, or a query in SQL; - for stdin."
FileArgument: TypeAlias = Annotated[Path, typer.Argument(metavar="FILE", help=_FILE)]
OptionalFileArgument: TypeAlias = Annotated[Path | None, typer.Argument(metavar="FILE", help=_FILE)]
SourceArgument: TypeAlias = Annotated[
    Path, typer.Argument(metavar="FILE", help=f"{_FILE} With --sql a database of DuckDB; - for none.")
]
UserIdOption: TypeAlias = Annotated[str | None, typer.Option("--user-id", help="The application's own id of the user.")]
NameOption: TypeAlias = Annotated[str | None, typer.Option("--name", help="The name to show.")]
EmailOption: TypeAlias = Annotated[str | None, typer.Option("--email", help="The e-mail address.")]
TraitOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--trait",
        metavar="NAME=VALUE",
        help="A trait; may be repeated. A VALUE that is a JSON number, true, false, null or a text in JSON's quotes is "
        "taken as that, any other one as text. A dotted NAME is nested.",
    ),
]
RemoveOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--remove", metavar="NAME", help="A trait to clear; may be repeated.")
]
LedgerOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--ledger",
        envvar="REPLAY_IDENTITY_LEDGER",
        help="The ledger's file; by default what the settings file says, or replay-identity.db in the user's state "
        "folder.",
    ),
]
MappingOption: TypeAlias = Annotated[
    Path | None, typer.Option("--mapping", help="A TOML file that says how the fields of a row become a user's.")
]
SqlOption: TypeAlias = Annotated[
    str | None, typer.Option("--sql", metavar="QUERY", help="A query in DuckDB's SQL that gives the users.")
]
ResendOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--resend", help="Send also what the backends confirmed before: after a change of account, route or limits."
    ),
]
DryRunOption: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Send nothing; tell what would be sent, and how long it would take.")
]
YesOption: TypeAlias = Annotated[
    bool, typer.Option("--yes", help="Do not ask first, as where nobody is there to be asked.")
]
LinesOption: TypeAlias = Annotated[int, typer.Option("--limit", min=1, help="Most lines of one table.")]
