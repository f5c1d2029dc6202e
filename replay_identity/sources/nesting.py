"""Dotted names, as CSV headers and the command line write them, made into nested traits."""

from collections.abc import Iterable
from typing import Any

import attrs

from ..errors import InvalidTraitsError, printable


def nested(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return the mapping in which ``company.id`` is the ``id`` inside ``company``.

    Raises:
        InvalidTraitsError: A name comes twice, has an empty part, or is another one's parent.
    """
    given = dict[str, Any]()
    for name, value in pairs:
        if name in given:
            raise InvalidTraitsError(printable(name), "is there twice")
        given[name] = value
    row: dict[str, Any] = {}
    for place in places(given):
        place.put(row, given[place.name])
    return row


@attrs.frozen
class Place:
    """Where the value of a dotted name goes.

    Attributes:
        name: The dotted name.
        parents: Names of the mappings it is nested in, the outermost first.
        key: Its name inside the innermost one.
    """

    name: str
    parents: tuple[str, ...]
    key: str

    def put(self, row: dict[str, Any], value: object) -> None:
        """Put *value* into *row*."""
        for parent in self.parents:
            row = row.setdefault(parent, {})
        row[self.key] = value


def places(names: Iterable[str]) -> tuple[Place, ...]:
    """Return where the values of *names*, which differ, go.

    Raises:
        InvalidTraitsError: One has an empty part, or is another one's parent.
    """
    known = set(names)
    return tuple(_place(name, known) for name in names)


def _place(name: str, known: set[str]) -> Place:
    *parents, key = name.split(".")
    if not (key and all(parents)):
        raise InvalidTraitsError(printable(name), "has a dot with nothing before or after it")
    for end in range(1, len(parents) + 1):
        parent = ".".join(parents[:end])
        if parent in known:
            problem = f"cannot be nested in {printable(parent)}, which has a value of its own"
            raise InvalidTraitsError(printable(name), problem)
    return Place(name, tuple(parents), key)
