"""Where users are read from: a backend that shows them, or a file."""

from collections.abc import Collection
from pathlib import Path

import attrs
import typer

from ..backend import SupportsRead
from ..config import Settings
from ..delivery_options import DeliveryOptions
from ..mapping import load_mapping
from ..migration import FileSource, Source, VendorSource
from .backends import with_only
from .durations import duration
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
        restart: Whether a backend is read from its first user on.
    """

    format: FileFormat | None = None
    mapping: Path | None = None
    sql: str | None = None
    restart: bool = False


def chosen_source(name: str, settings: Settings, chosen: FileOptions) -> Source:
    """Return the users of the backend of that *name* in the *settings*, or else of the file."""
    backend = next((one for one in settings.backends if one.name == name), None)
    if backend is None:
        return FileSource(name, begun(file_rows(Path(name), chosen.format, chosen.mapping, chosen.sql)))
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


def other_backends(name: str, settings: Settings, to: Collection[str] | None) -> Settings:
    """Return *settings* with only the backends named in *to*, or all but the source of that *name*."""
    if to and name in to:
        raise typer.BadParameter("is the backend that users are read from", param_hint="--to")
    return with_only(settings, to or [backend.name for backend in settings.backends if backend.name != name])


def _tell_of_wait(name: str, seconds: float, cause: str) -> None:
    talk().print(f"{name} cannot be read just now ({cause}); trying again in {duration(seconds)}", soft_wrap=True)
