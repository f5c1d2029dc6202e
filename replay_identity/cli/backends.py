"""The backends that the options ask for."""

from collections.abc import Collection
from pathlib import Path

import attrs
import typer

from ..config import Settings, load_settings


def chosen_settings(path: Path | None, *, to: Collection[str], adapt: bool, offline: bool = False) -> Settings:
    """Return the settings with only the backends named in *to*, or all of them if it is empty."""
    settings = load_settings(path, offline=offline)
    chosen = with_only(settings, to) if to else settings
    return chosen.adapting() if adapt else chosen


def with_only(settings: Settings, names: Collection[str]) -> Settings:
    """Return *settings* with only the backends of those *names*."""
    known = [backend.name for backend in settings.backends]
    if any(name not in known for name in names):
        raise typer.BadParameter(f"no backend has that name; there are {', '.join(known)}")
    return attrs.evolve(
        settings,
        backends=tuple(backend for backend in settings.backends if backend.name in names),
        delivery={name: options for name, options in settings.delivery.items() if name in names},
    )
