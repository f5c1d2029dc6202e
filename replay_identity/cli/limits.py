"""`replay-identity limits`."""

from collections.abc import Iterable
from typing import Annotated, Any

import attrs
import typer

from ..adapters.limits import Limit
from ..adapters.protocols import IdentityBackend, SupportsBatch, SupportsMultiIdentify
from . import options
from .inputs import resolve_settings
from .tables import new_table, print_table
from .terminal import print_json, stdout_console


def limits_command(
    backend: Annotated[str | None, typer.Argument(metavar="NAME", help="One backend; by default all.")] = None,
    *,
    settings: options.SettingsOption = None,
    json: options.JsonOption = False,
) -> None:
    """Print the limits that each vendor publishes for fields, requests and batches, with their sources."""
    backends = resolve_settings(settings, to=[backend] if backend else (), offline=True).backends
    if json:
        print_json({backend.name: _as_dict(backend) for backend in backends})
        return
    for each in backends:
        _print_limits(each)


def _as_dict(backend: IdentityBackend) -> dict[str, Any]:
    document = {"limits": _limits_as_dict(backend.limits), "trait_name_pattern": backend.limits.trait_name_pattern}
    if isinstance(backend, SupportsMultiIdentify):
        document |= _limits_as_dict(_request_limits(backend))
    if isinstance(backend, SupportsBatch):
        document["batch_limits"] = _limits_as_dict(backend.batch_limits)
    return document


def _request_limits(backend: SupportsMultiIdentify) -> Iterable[tuple[str, Limit]]:
    return [("max_users", backend.max_users)]


def _limits_as_dict(limits: Iterable[tuple[str, Limit]]) -> dict[str, Any]:
    return {name: attrs.asdict(limit, filter=lambda field, _: field.init) for name, limit in limits}


def _print_limits(backend: IdentityBackend) -> None:
    footnotes: dict[str, int] = {}
    _print_table(backend.name, "Field", backend.limits, footnotes)
    if isinstance(backend, SupportsMultiIdentify):
        _print_table(f"{backend.name} requests", "Request", _request_limits(backend), footnotes)
    if isinstance(backend, SupportsBatch):
        _print_table(f"{backend.name} batches", "Batch", backend.batch_limits, footnotes)
    console = stdout_console()
    for footnote, number in footnotes.items():
        console.print(f"{number}  {footnote}", soft_wrap=True)
    pattern = backend.limits.trait_name_pattern
    if pattern is not None:
        console.print(f"Each part of a dotted trait name must match {pattern}", soft_wrap=True)
    console.print()


def _print_table(title: str, heading: str, limits: Iterable[tuple[str, Limit]], footnotes: dict[str, int]) -> None:
    """Print *limits*, and add their sources and notes to the numbered *footnotes*."""
    table = new_table(title, heading, "Maximum", "Unit", "Rule", "See")
    for name, limit in limits:
        texts = [f"{limit.source} (read {limit.read_on})", *([limit.note] if limit.note else [])]
        numbers = [f"{footnotes.setdefault(text, len(footnotes) + 1)}" for text in texts]
        table.add_row(name, f"{limit.maximum:,}", limit.unit, limit.rule, ", ".join(numbers))
    console = stdout_console()
    print_table(console, table)
    console.print()
