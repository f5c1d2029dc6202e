"""Where users are read from: a backend that shows them, or a file."""

from collections.abc import Collection, Generator
from contextlib import closing, contextmanager
from pathlib import Path

import attrs
import typer

from ..backend import SupportsRead
from ..config import Settings
from ..delivery_options import DeliveryOptions
from ..errors import SourceError
from ..mapping import load_mapping
from ..migration import FileSource, Reading, Source, VendorSource
from .backends import with_only
from .durations import duration
from .exit_codes import reading_exit_code
from .file_rows import begun, file_rows
from .options import FileFormat
from .output import talk


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


def chosen_source(name: str, settings: Settings, chosen: FileOptions) -> Source:
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
    return FileSource(name, begun(rows))


def is_surely_a_file(name: str, chosen: FileOptions) -> bool:
    """Tell whether *name* can only be a file, so that no settings are needed to read it."""
    return chosen.format is not None or chosen.sql is not None or name == "-" or bool(Path(name).suffix)


@contextmanager
def reading_of(source: Source) -> Generator[Reading]:
    """Yield what reads *source* as a whole; if a vendor cannot be read, end the command with the code that says why."""
    with closing(source.open((), None)) as reading:
        try:
            yield reading
        except SourceError as error:
            code = reading_exit_code(reading.failure)
            if code is None:
                raise
            talk().print(str(error), style="red", soft_wrap=True)
            raise typer.Exit(code) from None


def other_backends(name: str, settings: Settings, to: Collection[str] | None) -> Settings:
    """Return *settings* with only the backends named in *to*, or all but the source of that *name*."""
    if to and name in to:
        raise typer.BadParameter("is the backend that users are read from", param_hint="--to")
    others = [backend.name for backend in settings.backends if backend.name != name]
    if not others:
        raise typer.BadParameter("the settings name no backend but the one that users are read from")
    return with_only(settings, to or others)


def _tell_of_wait(name: str, seconds: float, cause: str) -> None:
    talk().print(f"{name} cannot be read just now ({cause}); trying again in {duration(seconds)}", soft_wrap=True)
