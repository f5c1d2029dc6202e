"""What the vendors' limits made of each property, as tables for a person."""

from collections.abc import Mapping
from typing import Final

from rich.console import Console

from ..migration.backend_fidelity import BackendFidelity, PropertyFidelity
from ..migration.fidelity import Fidelity
from .tables import MOST_LINES, new_table, number, print_table, users

# The columns and their numbers; one that is zero everywhere is left out.
_COLUMNS: Final[Mapping[str, str]] = {
    "As is": "as_is",
    "Coerced": "coerced",
    "Flattened": "flattened",
    "Lifted": "lifted",
    "Removed": "removed",
    "Warned": "warned",
    "Renamed": "renamed",
    "Truncated": "truncated",
    "Dropped": "dropped",
    "Refused": "refused",
    "Held back": "held_back",
}
_STYLES: Final[Mapping[str, str]] = {
    "renamed": "yellow",
    "truncated": "yellow",
    "dropped": "yellow",
    "refused": "red",
    "held_back": "magenta",
}


def print_fidelity(console: Console, fidelity: Fidelity, *, most: int = MOST_LINES) -> None:
    """Print what becomes of properties at each backend, the *most* troubled first."""
    for name, backend in fidelity.backends.items():
        _print_properties(console, name, backend, most)
        _print_collisions(console, name, backend)
        _print_unique(console, name, backend)


def worst_first(backend: BackendFidelity) -> list[tuple[str, PropertyFidelity]]:
    """Return the properties, those first that are refused or lose most often, then the most frequent."""
    return sorted(backend.properties.items(), key=_trouble)


def _trouble(item: tuple[str, PropertyFidelity]) -> tuple[int, int, int, str]:
    path, counted = item
    return -counted.refused, -counted.lossy, -counted.users, path


def _print_properties(console: Console, name: str, backend: BackendFidelity, most: int) -> None:
    properties = worst_first(backend)
    if not properties:
        return
    columns = {
        heading: field
        for heading, field in _COLUMNS.items()
        if any(getattr(counted, field) for _, counted in properties)
    }
    table = new_table(f"What becomes of properties at {name}", "Property", "Users", *columns)
    for path, counted in properties[:most]:
        table.add_row(
            path,
            number(counted.users),
            *(number(getattr(counted, field), _STYLES.get(field, "")) for field in columns.values()),
        )
    if len(properties) > most:
        table.add_row(f"… and {len(properties) - most:,} more", style="dim")
    print_table(console, table)
    console.print()


def _print_collisions(console: Console, name: str, backend: BackendFidelity) -> None:
    if not backend.collisions:
        return
    for path, count in backend.collisions.most_common(MOST_LINES):
        console.print(f"{name}: {path} would have the name of another property, for {users(count)}", soft_wrap=True)
    console.print()


def _print_unique(console: Console, name: str, backend: BackendFidelity) -> None:
    limit = backend.most_unique
    if limit is None:
        return
    said = f"{name}: {backend.unique:,} different properties; an organisation may have {limit.maximum:,}"
    console.print(said, style="red" if backend.unique > limit.maximum else "", soft_wrap=True)
    console.print()
