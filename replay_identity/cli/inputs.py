"""The ledger that the options ask for."""

import shlex
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import Final

import attrs
import typer
from platformdirs import user_state_path

from ..adapters.protocols import SupportsRead
from ..bulk.options import DeliveryOptions
from ..config import Settings, load_ledger_path, load_settings
from ..errors import LedgerError, SourceError
from ..ledger import BackendCounts, Ledger
from ..mapping import load_mapping
from ..migration import FileSource, MigrationSource, RowReader, VendorSource
from ..sources import BadRow, Row, read_query, read_users
from .exit_codes import reading_exit_code
from .options import FileFormat
from .progress import duration
from .terminal import stderr_console

DEFAULT_NAME: Final = "replay-identity.db"


@attrs.frozen
class LedgerFile:
    """The file of the ledger, and the options that lead to it.

    Attributes:
        path: The file.
        options: What a command needs to be told to find it, and the backends, again.
        delivery: What `deliver` needs to be told besides, to do as this command did.
    """

    path: Path
    options: Sequence[str] = ()
    delivery: Sequence[str] = ()

    def open(self) -> Ledger:
        """Open the ledger, which is made if it does not exist; so is the default's folder, for its owner alone."""
        if self.path == default_path():
            try:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                problem = f"has a folder that cannot be made: {error.strerror}"
                raise LedgerError(str(self.path), problem, "use --ledger") from None
        return Ledger(self.path)

    def open_existing(self) -> Ledger:
        """Open the ledger, which must exist."""
        if not self.path.exists():
            hint = "`replay-identity sync` makes it; --ledger names another one"
            raise LedgerError(str(self.path), "does not exist", hint)
        return Ledger(self.path)

    def command(self, name: str, *options: str) -> str:
        """Return a command on this ledger, as it can be pasted into a shell."""
        return shlex.join(["replay-identity", name, *self.options, *options])

    def deliver_command(self, *options: str) -> str:
        """Return the command that sends what is due, as it can be pasted into a shell."""
        return self.command("deliver", *self.delivery, *options)


def resolve_ledger(
    ledger: Path | None, settings: Path | None, *, to: Collection[str] = (), adapt: bool = False
) -> LedgerFile:
    """Return the ledger's file: what the option or the environment says, else the settings file, else the default."""
    options = () if settings is None else ("--settings", str(settings))
    delivery = (*(word for name in to for word in ("--to", name)), *(("--adapt",) if adapt else ()))
    if ledger is not None:
        return LedgerFile(ledger, (*options, "--ledger", str(ledger)), delivery)
    return LedgerFile(load_ledger_path(settings) or default_path(), options, delivery)


def existing_ledger(path: Path) -> AbstractContextManager[Ledger | None]:
    """Return the ledger, or None where there is none: a dry run makes no file."""
    return Ledger(path) if path.exists() else nullcontext()


def default_path() -> Path:
    """Return the ledger's file in the user's state folder."""
    return user_state_path("replay-identity", appauthor=False) / DEFAULT_NAME


def selected_counts(ledger: Ledger, to: Collection[str]) -> Sequence[BackendCounts]:
    """Return how users stand at the backends named in *to*, or at all that the ledger knows if it is empty."""
    standings = ledger.counts()
    known = [standing.backend for standing in standings]
    if any(name not in known for name in to):
        raise typer.BadParameter(f"the ledger knows no backend of that name; there are {', '.join(known)}")
    return [standing for standing in standings if not to or standing.backend in to]


def resolve_settings(path: Path | None, *, to: Collection[str], adapt: bool, offline: bool = False) -> Settings:
    """Return the settings with only the backends named in *to*, or all of them if it is empty."""
    settings = load_settings(path, offline=offline)
    chosen = select_backends(settings, to) if to else settings
    return chosen.with_adaptation() if adapt else chosen


def select_backends(settings: Settings, names: Collection[str]) -> Settings:
    """Return *settings* with only the backends of those *names*."""
    known = [backend.name for backend in settings.backends]
    if any(name not in known for name in names):
        raise typer.BadParameter(f"no backend has that name; there are {', '.join(known)}")
    return attrs.evolve(
        settings,
        backends=tuple(backend for backend in settings.backends if backend.name in names),
        delivery={name: options for name, options in settings.delivery.items() if name in names},
    )


# What FILE is where a query needs no database.
_NO_DATABASE: Final = frozenset({"-", ":memory:"})


def file_rows(
    file: Path, file_format: FileFormat | None, mapping: Path | None, sql: str | None, *, anonymous: bool = False
) -> Iterator[Row | BadRow]:
    """Return the rows of *file*, or of the query *sql* on it, with *anonymous* users if these are wanted."""
    row_mapping = None if mapping is None else load_mapping(mapping)
    if sql is None:
        return read_users(
            file,
            format=None if file_format is None else file_format.value,
            anonymous=anonymous,
            mapping=row_mapping,
        )
    if file_format is not None:
        raise typer.BadParameter("a query needs no format", param_hint="--format, --sql")
    return read_query(sql, None if str(file) in _NO_DATABASE else file, anonymous=anonymous, mapping=row_mapping)


def prefetch_first(rows: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
    """Return *rows* once the first is read: a file that is not there must not leave a ledger behind."""
    return chain(list(islice(rows, 1)), rows)


@attrs.frozen
class FileOptions:
    """How a source is read.

    Attributes:
        format: Format of a file, where its suffix does not say.
        mapping: The mapping's file, or None.
        sql: A query, or None.
        anonymous: Whether the rows of a file without an id are users, too.
        restart: Whether a backend is read from its first user on.
    """

    format: FileFormat | None = None
    mapping: Path | None = None
    sql: str | None = None
    anonymous: bool = attrs.field(default=False, kw_only=True)
    restart: bool = attrs.field(default=False, kw_only=True)


def chosen_source(name: str, settings: Settings, chosen: FileOptions) -> MigrationSource:
    """Return the users of the backend of that *name* in the *settings*, or else of the file."""
    backend = next((one for one in settings.backends if one.name == name), None)
    if backend is None:
        return file_source(name, chosen)
    if not isinstance(backend, SupportsRead):
        raise typer.BadParameter(f"{name} has no way to show its users; export them, and name the file")
    if chosen.format is not None or chosen.sql is not None:
        raise typer.BadParameter("is for files, not for backends", param_hint="--format, --sql")
    return VendorSource(
        backend=backend,
        mapping=None if chosen.mapping is None else load_mapping(chosen.mapping),
        options=settings.delivery.get(name, DeliveryOptions()),
        begins_anew=chosen.restart,
        on_wait=lambda seconds, cause: _tell_of_wait(name, seconds, cause),
    )


def file_source(name: str, chosen: FileOptions) -> FileSource:
    """Return the users of the file, or of a query on it."""
    rows = file_rows(Path(name), chosen.format, chosen.mapping, chosen.sql, anonymous=chosen.anonymous)
    return FileSource(name, prefetch_first(rows))


def is_surely_a_file(name: str, chosen: FileOptions) -> bool:
    """Tell whether *name* can only be a file, so that no settings are needed to read it."""
    return chosen.format is not None or chosen.sql is not None or name == "-" or bool(Path(name).suffix)


@contextmanager
def reading_of(source: MigrationSource) -> Generator[RowReader]:
    """Yield what reads *source* as a whole; if a vendor cannot be read, end the command with the code that says why."""
    with closing(source.open((), None)) as reading:
        try:
            yield reading
        except SourceError as error:
            code = reading_exit_code(reading.failure)
            if code is None:
                raise
            stderr_console().print(str(error), style="red", soft_wrap=True)
            raise typer.Exit(code) from None


def other_backends(name: str, settings: Settings, to: Collection[str] | None) -> Settings:
    """Return *settings* with only the backends named in *to*, or all but the source of that *name*."""
    if to and name in to:
        raise typer.BadParameter("is the backend that users are read from", param_hint="--to")
    others = [backend.name for backend in settings.backends if backend.name != name]
    if not others:
        raise typer.BadParameter("the settings name no backend but the one that users are read from")
    return select_backends(settings, to or others)


def _tell_of_wait(name: str, seconds: float, cause: str) -> None:
    stderr_console().print(
        f"{name} cannot be read just now ({cause}); trying again in {duration(seconds)}", soft_wrap=True
    )
