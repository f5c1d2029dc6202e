"""What a row of a file turns out to be: a user, or a problem."""

from collections.abc import Mapping
from typing import Any

import attrs

from ..errors import InvalidTraitsError
from ..model import UserTraits


@attrs.frozen
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


def to_row(mapping: Mapping[str, Any], line: int, last_line: int) -> Row | BadRow:
    """Return the user that *mapping* describes."""
    try:
        return Row(line, UserTraits.from_mapping(mapping))
    except InvalidTraitsError as error:
        return BadRow(line, last_line, str(error))
