"""`replay-identity limits`."""

from typing import Annotated, Any

import attrs
import typer

from ..backend import IdentityBackend
from . import options
from .backends import chosen_settings
from .output import data, print_json
from .tables import new_table


def limits(
    vendor: Annotated[str | None, typer.Argument(help="Name of one configured backend; by default all.")] = None,
    *,
    settings: options.SettingsOption = None,
    json: options.JsonOption = False,
) -> None:
    """Print what each vendor publishes about the size and the names of a user's fields, and where."""
    backends = chosen_settings(settings, to=[vendor] if vendor else [], adapt=False, offline=True).backends
    if json:
        print_json({backend.name: _as_dict(backend) for backend in backends})
        return
    for backend in backends:
        _print_limits(backend)


def _as_dict(backend: IdentityBackend) -> dict[str, Any]:
    return {
        "limits": {name: attrs.asdict(limit, filter=lambda field, _: field.init) for name, limit in backend.limits},
        "trait_name_pattern": backend.limits.trait_name_pattern,
    }


def _print_limits(backend: IdentityBackend) -> None:
    remarks: dict[str, int] = {}
    table = new_table(backend.name, "Field", "At most", "Unit", "Rule", "See")
    for name, limit in backend.limits:
        said = [f"{limit.source} (read {limit.read_on})", *([limit.note] if limit.note else [])]
        numbers = [f"{remarks.setdefault(remark, len(remarks) + 1)}" for remark in said]
        table.add_row(name, f"{limit.maximum:,}", limit.unit, limit.rule, ", ".join(numbers))
    console = data()
    console.print(table)
    console.print()
    for remark, number in remarks.items():
        console.print(f"{number}  {remark}", soft_wrap=True)
    if backend.limits.trait_name_pattern is not None:
        console.print(f"Each part of a trait's dotted name matches {backend.limits.trait_name_pattern}", soft_wrap=True)
    console.print()
