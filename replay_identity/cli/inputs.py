"""Resolve options into settings, a ledger, a source of users and an output file."""

import glob
import os
import shlex
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import IO, Final

import attrs
import typer
from platformdirs import user_state_path

from .. import LogRocket
from ..adapters.protocols import SupportsExport, SupportsRead
from ..bulk.options import DeliveryOptions
from ..config import Settings, load_ledger_path, load_settings
from ..errors import LedgerError, SourceError, shown_source
from ..ledger import Ledger
from ..mapping import RowMapping
from ..migration import FileSource, MigrationSource, RowReader, VendorSource, Via, read_logrocket_export
from ..sources import BadRow, Row, Rows, read_query, read_users
from .exit_codes import read_failure_exit_code
from .options import SourceOptions
from .progress import format_duration
from .terminal import stderr_console

DEFAULT_LEDGER_NAME: Final = "replay-identity.db"
# As the name of a file, "-" means standard input or output.
STDOUT: Final = Path("-")

# What people can type for characters that a shell makes hard to type.
_DELIMITER_NAMES: Final[Mapping[str | None, str]] = {"tab": "\t", "\\t": "\t"}

# Values of FILE with which a query runs without a database.
_NO_DATABASE: Final = frozenset({"-", ":memory:"})


def resolve_settings(
    path: Path | None, *, to: Collection[str] | None = None, adapt: bool = False, offline: bool = False
) -> Settings:
    """Return the settings with only the backends named in *to*, or with all if there are no names."""
    settings = load_settings(path, offline=offline)
    selected = select_backends(settings, to) if to else settings
    return selected.with_adaptation() if adapt else selected


def select_backends(settings: Settings, names: Collection[str]) -> Settings:
    """Return *settings* with only the backends in *names*."""
    known = [backend.name for backend in settings.backends]
    if any(name not in known for name in names):
        raise typer.BadParameter(f"unknown backend; use one of {', '.join(known)}")
    return attrs.evolve(
        settings,
        backends=tuple(backend for backend in settings.backends if backend.name in names),
        delivery={name: options for name, options in settings.delivery.items() if name in names},
    )


def select_targets(source: str, settings: Settings, to: Collection[str] | None) -> Settings:
    """Return *settings* with only the backends named in *to*, or with all except the *source*."""
    if to and source in to:
        raise typer.BadParameter(f"{source} is the source; name another backend", param_hint="--to")
    others = [backend.name for backend in settings.backends if backend.name != source]
    if not others:
        raise typer.BadParameter("the settings contain no backend besides the source; add one, or set its key")
    return select_backends(settings, to or others)


@attrs.frozen
class LedgerFile:
    """The file of the ledger, and the options that select it.

    Attributes:
        path: Path of the file.
        options: Options with which another command finds the same ledger and settings.
        delivery_options: Further options with which `deliver` continues this command.
    """

    path: Path
    options: Sequence[str] = ()
    delivery_options: Sequence[str] = ()

    def open(self) -> Ledger:
        """Open the ledger, and create it if it does not exist."""
        if self.path == default_ledger_path():
            try:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                problem = f"the folder cannot be created: {error.strerror}"
                raise LedgerError(str(self.path), problem, "use --ledger") from None
        return Ledger(self.path)

    def open_existing(self) -> Ledger:
        """Open the ledger, which must exist."""
        if not self.path.exists():
            hint = "create it with `replay-identity sync`, or name another one with --ledger"
            raise LedgerError(str(self.path), "the ledger does not exist", hint)
        return Ledger(self.path)

    def open_if_exists(self) -> AbstractContextManager[Ledger | None]:
        """Open the ledger, or return None if it does not exist; never create it."""
        return Ledger(self.path) if self.path.exists() else nullcontext()

    def has_users(self) -> bool:
        """Return True if the ledger has ever had a user."""
        with self.open_if_exists() as opened:
            return opened is not None and bool(opened.counts())

    def command(self, name: str, *options: str) -> str:
        """Return the command line of a command on this ledger, quoted for a shell."""
        return shlex.join(["replay-identity", name, *self.options, *options])

    def deliver_command(self, *options: str) -> str:
        """Return the command line that sends pending users, quoted for a shell."""
        return self.command("deliver", *self.delivery_options, *options)


def resolve_ledger(
    ledger: Path | None, settings: Path | None, *, to: Collection[str] | None = None, adapt: bool = False
) -> LedgerFile:
    """Return the ledger in the option or environment, or else in the settings file, or else the default."""
    options = () if settings is None else ("--settings", str(settings))
    delivery_options = (*(word for name in to or () for word in ("--to", name)), *(("--adapt",) if adapt else ()))
    if ledger is not None:
        return LedgerFile(ledger, (*options, "--ledger", str(ledger)), delivery_options)
    return LedgerFile(load_ledger_path(settings) or default_ledger_path(), options, delivery_options)


def default_ledger_path() -> Path:
    """Return the path of the ledger in the user's state folder."""
    return user_state_path("replay-identity", appauthor=False) / DEFAULT_LEDGER_NAME


def read_rows(files: Sequence[str] | None, options: SourceOptions, *, anonymous: bool = False) -> Rows[Row | BadRow]:
    """Return the rows of *files*, or of the query on a database.

    Args:
        files: Names of files or databases, if any.
        options: How to read them.
        anonymous: Accept rows without an id.
    """
    mapping = options.row_mapping()
    if options.sql is not None:
        return _read_query(files or (), options, mapping, anonymous=anonymous)
    if not files:
        raise typer.BadParameter("name a file, or pass --sql with a query", param_hint="FILE")
    return read_users(
        list(files),
        format=None if options.format is None else options.format.value,
        anonymous=anonymous,
        mapping=mapping,
        delimiter=_DELIMITER_NAMES.get(options.delimiter, options.delimiter),
        encoding=options.encoding,
        path=options.path,
    )


def _read_query(
    databases: Sequence[str], options: SourceOptions, mapping: RowMapping | None, *, anonymous: bool
) -> Rows[Row | BadRow]:
    database = _query_database(databases, options)
    return read_query(options.sql or "", database, anonymous=anonymous, mapping=mapping)


def _query_database(databases: Sequence[str], options: SourceOptions) -> str | None:
    if options.format or options.delimiter or options.encoding or options.path:
        problem = "a query names its files and says how to read them; drop the other option"
        raise typer.BadParameter(problem, param_hint="--sql, --format, --delimiter, --encoding, --path")
    if len(databases) > 1:
        raise typer.BadParameter("a query runs on one database; name its files in the query", param_hint="FILE, --sql")
    return next((name for name in databases if name not in _NO_DATABASE), None)


def can_be_read_twice(files: Sequence[str] | None, options: SourceOptions) -> bool:
    """Return True if *files* are files of this machine, not standard input, a pipe, a URL or a query."""
    return options.sql is None and all(Path(name).is_file() or glob.has_magic(name) for name in files or ())


def prefetch_first(rows: Rows[Row | BadRow]) -> Rows[Row | BadRow]:
    """Return *rows* after reading the first one, so that a missing file fails before a ledger is created."""
    return rows.through(lambda iterator: chain(list(islice(iterator, 1)), iterator))


def resolve_source(
    name: str,
    settings: Settings,
    options: SourceOptions,
    *,
    anonymous: bool = False,
    restart: bool = False,
    via: Via = "pages",
) -> MigrationSource:
    """Return the users of the backend *name*, or of the file *name* if no backend has that name.

    Args:
        name: Name of a backend or of a file.
        settings: The backends.
        options: How to read users.
        anonymous: Accept rows of a file without an id.
        restart: Read a backend from its first user, ignoring the checkpoint.
        via: How to read a backend.
    """
    backend = next((backend for backend in settings.backends if backend.name == name), None)
    if backend is None:
        if via != "pages":
            raise typer.BadParameter(f"{name} is a file; only a backend has exports", param_hint="--via")
        return file_source([name], options, anonymous=anonymous)
    if via == "export" and not isinstance(backend, SupportsExport):
        raise typer.BadParameter(f"{name} has no exports; leave the option out", param_hint="--via")
    if not isinstance(backend, SupportsRead):
        way = "; name it after --from-logrocket-export" if isinstance(backend, LogRocket) else ""
        raise typer.BadParameter(f"{name} cannot list its users; export them to a file and name the file{way}")
    if options.are_for_files:
        problem = f"{name} is a backend, and only files have a format or a query"
        raise typer.BadParameter(problem, param_hint="--format, --sql, --delimiter, --encoding, --path")
    return VendorSource(
        backend=backend,
        via=via,
        mapping=options.row_mapping(),
        options=settings.delivery.get(name, DeliveryOptions()),
        restart=restart,
        on_wait=lambda seconds, cause: _print_wait(name, seconds, cause),
    )


def file_source(names: Sequence[str], options: SourceOptions, *, anonymous: bool = False) -> FileSource:
    """Return the users of the files *names*, or of the query on them."""
    return FileSource(
        ", ".join(map(shown_source, names)), prefetch_first(read_rows(names, options, anonymous=anonymous))
    )


def logrocket_export(files: Sequence[str] | None, options: SourceOptions) -> FileSource:
    """Return the users in *files* of LogRocket's Streaming Data Export, or in what a query on them returns."""
    if options.sql is None and not files:
        raise typer.BadParameter("name a file, or pass --sql with a query", param_hint="FILE")
    rows = read_logrocket_export(
        list(files or ()) if options.sql is None else _query_database(files or (), options),
        sql=options.sql,
        format=None if options.format is None else options.format.value,
        mapping=options.row_mapping(),
        delimiter=_DELIMITER_NAMES.get(options.delimiter, options.delimiter),
        encoding=options.encoding,
        path=options.path,
    )
    return FileSource(", ".join(map(shown_source, files or ["LogRocket's export"])), prefetch_first(rows))


def must_be_file(name: str, options: SourceOptions) -> bool:
    """Return True if *name* cannot be a backend, so that reading it needs no settings."""
    return options.are_for_files or name == "-" or "://" in name or bool(Path(name).suffix)


@contextmanager
def open_reader(source: MigrationSource) -> Generator[RowReader]:
    """Yield a reader of all of *source*; if the vendor fails, print why and exit with the code for it."""
    with closing(source.open((), None)) as reader:
        try:
            yield reader
        except SourceError as error:
            code = read_failure_exit_code(reader.failure)
            if code is None:
                raise
            stderr_console().print(str(error), style="red", soft_wrap=True)
            raise typer.Exit(code) from None


def create_output(path: Path) -> IO[bytes]:
    """Create the file at *path* for its owner alone; never overwrite one, which may contain edits."""
    try:
        return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
    except FileExistsError:
        raise typer.BadParameter("the file exists; choose another name", param_hint="--output") from None
    except OSError as error:
        raise typer.BadParameter(f"cannot be written: {error.strerror}", param_hint="--output") from None


def _print_wait(name: str, seconds: float, cause: str) -> None:
    message = f"{name}: {cause}; retrying in {format_duration(seconds)}"
    stderr_console().print(message, soft_wrap=True)
