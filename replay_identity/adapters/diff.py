"""Which fields of a user a vendor holds otherwise, by their paths alone."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .._values import is_nested
from ..errors import printable
from .protocols import Comparison


def leaves(values: Mapping[str, Any], parents: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and the value of everything in *values* that is neither nested nor blank."""
    for name, value in values.items():
        if is_nested(value):
            yield from leaves(value, f"{parents}{name}.")
        elif value is not None and value != "":
            yield parents + name, value


def differences(
    backend: str,
    wanted: Mapping[str, Any],
    found: Mapping[str, Any],
    *,
    is_same: Callable[[str, Any, Any], bool],
) -> Comparison:
    """Compare what the vendor should hold with what it holds.

    Args:
        backend: Name of the backend.
        wanted: ``name``, ``email`` and nested ``traits``, in the vendor's words.
        found: The same, as the vendor shows them.
        is_same: Tells of the values at a path, wanted and found, whether they are one.
    """
    wished, held = dict(leaves(wanted)), dict(leaves(found))
    both = [path for path in wished if path in held]
    return Comparison(
        backend,
        differing=_names(path for path in both if not is_same(path, wished[path], held[path])),
        absent=_names(path for path in wished if path not in held),
        extra=_names(path for path in held if path not in wished),
    )


def _names(paths: Iterator[str]) -> tuple[str, ...]:
    return tuple(sorted(printable(path) for path in paths))
