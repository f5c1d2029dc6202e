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


def limits(
    vendor: Annotated[str | None, typer.Argument(help="Name of one configured backend; by default all.")] = None,
    *,
    settings: options.SettingsOption = None,
    json: options.JsonOption = False,
) -> None:
    """Print what each vendor publishes about the size and names of fields, about requests and batches, and where."""
    backends = resolve_settings(settings, to=[vendor] if vendor else [], adapt=False, offline=True).backends
    if json:
        print_json({backend.name: _as_dict(backend) for backend in backends})
        return
    for backend in backends:
        _print_limits(backend)


def _as_dict(backend: IdentityBackend) -> dict[str, Any]:
    document = {"limits": _all_told(backend.limits), "trait_name_pattern": backend.limits.trait_name_pattern}
    if isinstance(backend, SupportsMultiIdentify):
        document |= _all_told(_of_request(backend))
    if isinstance(backend, SupportsBatch):
        document["batch_limits"] = _all_told(backend.batch_limits)
    return document


def _of_request(backend: SupportsMultiIdentify) -> Iterable[tuple[str, Limit]]:
    return [("max_users", backend.max_users)]


def _all_told(limits: Iterable[tuple[str, Limit]]) -> dict[str, Any]:
    return {name: attrs.asdict(limit, filter=lambda field, _: field.init) for name, limit in limits}


def _print_limits(backend: IdentityBackend) -> None:
    remarks: dict[str, int] = {}
    _print_table(backend.name, "Field", backend.limits, remarks)
    if isinstance(backend, SupportsMultiIdentify):
        _print_table(f"{backend.name} requests", "Of a request", _of_request(backend), remarks)
    if isinstance(backend, SupportsBatch):
        _print_table(f"{backend.name} batches", "Of a batch", backend.batch_limits, remarks)
    console = stdout_console()
    for remark, number in remarks.items():
        console.print(f"{number}  {remark}", soft_wrap=True)
    if backend.limits.trait_name_pattern is not None:
        console.print(f"Each part of a trait's dotted name matches {backend.limits.trait_name_pattern}", soft_wrap=True)
    console.print()


def _print_table(title: str, heading: str, limits: Iterable[tuple[str, Limit]], remarks: dict[str, int]) -> None:
    """Print *limits*; what is remarked on them is numbered on in *remarks*."""
    table = new_table(title, heading, "At most", "Unit", "Rule", "See")
    for name, limit in limits:
        said = [f"{limit.source} (read {limit.read_on})", *([limit.note] if limit.note else [])]
        numbers = [f"{remarks.setdefault(remark, len(remarks) + 1)}" for remark in said]
        table.add_row(name, f"{limit.maximum:,}", limit.unit, limit.rule, ", ".join(numbers))
    console = stdout_console()
    print_table(console, table)
    console.print()
