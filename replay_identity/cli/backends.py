"""The backends that the options ask for."""

from collections.abc import Collection
from pathlib import Path

import attrs
import typer

from ..config import Settings, load_settings


def chosen_settings(path: Path | None, *, to: Collection[str], adapt: bool, offline: bool = False) -> Settings:
    """Return the settings with only the backends named in *to*, or all of them if it is empty."""
    settings = load_settings(path, offline=offline)
    known = [backend.name for backend in settings.backends]
    unknown = [name for name in to if name not in known]
    if unknown:
        raise typer.BadParameter(f"no backend has that name; there are {', '.join(known)}")
    if to:
        settings = attrs.evolve(
            settings,
            backends=tuple(backend for backend in settings.backends if backend.name in to),
            delivery={name: options for name, options in settings.delivery.items() if name in to},
        )
    return settings.adapting() if adapt else settings
