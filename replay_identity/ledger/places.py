"""Which users a statement is about."""

from collections.abc import Collection


def among(places: Collection[int]) -> tuple[str, list[int]]:
    """Return what a statement says after ``user``, and its parameters: a range where the places have no gap."""
    ordered = sorted(set(places))
    if ordered and ordered[-1] - ordered[0] == len(ordered) - 1:
        return "BETWEEN ? AND ?", [ordered[0], ordered[-1]]
    return f"IN ({','.join('?' * len(ordered))})", ordered
