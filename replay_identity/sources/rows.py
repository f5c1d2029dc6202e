"""What a row of a file turns out to be: a user, or a problem."""

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from ..errors import InvalidTraitsError
from ..mapping import Plan
from ..model import UserTraits
from ..records import record

UserOf: TypeAlias = Callable[[Any], UserTraits]


@record
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


def maker(plan: Plan | None) -> UserOf:
    """Return what makes users of rows."""
    return UserTraits.from_mapping if plan is None else plan.user
