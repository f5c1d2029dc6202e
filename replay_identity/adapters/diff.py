"""Compare what a vendor stores of a user with what it should store, by dotted paths and never by values."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .._paths import leaves
from ..errors import printable
from .protocols import Comparison


def compare_fields(
    backend: str,
    expected: Mapping[str, Any],
    stored: Mapping[str, Any],
    *,
    is_same: Callable[[str, Any, Any], bool],
) -> Comparison:
    """Compare *expected* with *stored* fields.

    Args:
        backend: Name of the backend.
        expected: ``name``, ``email`` and nested ``traits``, encoded for the vendor.
        stored: The same fields as the vendor shows them.
        is_same: Returns True if the expected and the stored value at a path are the same.
    """
    should_be, actual = dict(_present_leaves(expected)), dict(_present_leaves(stored))
    both = [path for path in should_be if path in actual]
    return Comparison(
        backend,
        differing=_sorted_names(path for path in both if not is_same(path, should_be[path], actual[path])),
        absent=_sorted_names(path for path in should_be if path not in actual),
        extra=_sorted_names(path for path in actual if path not in should_be),
    )


def _present_leaves(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and the value of every leaf that is not blank."""
    for names, value in leaves(values):
        if value is not None and value != "":
            yield ".".join(names), value


def _sorted_names(paths: Iterator[str]) -> tuple[str, ...]:
    return tuple(sorted(printable(path) for path in paths))
