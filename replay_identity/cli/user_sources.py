"""Where users are read from: a backend that shows them, or a file."""

from pathlib import Path

import attrs
import typer

from ..backend import SupportsRead
from ..config import Settings
from ..delivery_options import DeliveryOptions
from ..mapping import load_mapping
from ..migration import FileSource, Source, VendorSource
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
        hint = "has no way to show its users; export them, and name the file"
        raise typer.BadParameter(f"{name} {hint}", param_hint="--from")
    if chosen.format is not None or chosen.sql is not None:
        raise typer.BadParameter("is for files, not for backends", param_hint="--format, --sql")
    return VendorSource(
        backend=backend,
        mapping=None if chosen.mapping is None else load_mapping(chosen.mapping),
        options=settings.delivery.get(name, DeliveryOptions()),
        begins_anew=chosen.restart,
        on_wait=lambda seconds, cause: _tell_of_wait(name, seconds, cause),
    )


def without_source(settings: Settings, name: str) -> Settings:
    """Return the *settings* without the backend of that *name*, which users are read from and not sent to."""
    return attrs.evolve(
        settings,
        backends=tuple(backend for backend in settings.backends if backend.name != name),
        delivery={other: options for other, options in settings.delivery.items() if other != name},
    )


def _tell_of_wait(name: str, seconds: float, cause: str) -> None:
    talk().print(f"{name} cannot be read just now ({cause}); trying again in {duration(seconds)}", soft_wrap=True)
