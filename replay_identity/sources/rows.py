"""What a row of a file turns out to be: a user, or a problem."""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import attrs

from .._records import fast_frozen
from ..errors import InvalidTraitsError, printable
from ..mapping import CompiledMapping
from ..traits import UserTraits

UserOf: TypeAlias = Callable[[Any], UserTraits]


@fast_frozen
class Row:
    """A user, and the number of the line they begin on, counted from 1."""

    line: int
    user: UserTraits


@attrs.frozen
class BadRow:
    """A row that is no user.

    Attributes:
        line: Number of the line it begins on, counted from 1.
        last_line: Number of the line it ends on.
        problem: What is wrong with it, which names the field and never quotes a value.
    """

    line: int
    last_line: int
    problem: str

    def __str__(self) -> str:
        lines = f"line {self.line}" if self.line == self.last_line else f"lines {self.line} to {self.last_line}"
        return f"{lines}: {self.problem}"


def to_row(content: Any, line: int, last_line: int, user_of: UserOf) -> Row | BadRow:  # noqa: ANN401
    """Return the user that *user_of* makes of *content*, which is used up."""
    try:
        return Row(line, user_of(content))
    except InvalidTraitsError as error:
        return BadRow(line, last_line, str(error))


def maker(plan: CompiledMapping | None) -> UserOf:
    """Return what makes users of rows."""
    return UserTraits.from_mapping if plan is None else plan.user


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
