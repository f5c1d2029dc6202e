"""Rows of a source: users, and rows that are not valid users."""

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from .._records import fast_frozen
from ..errors import InvalidTraitsError
from ..mapping import CompiledMapping
from ..traits import UserTraits

ToUser: TypeAlias = Callable[[Any], UserTraits]


@fast_frozen
class Row:
    """A user, and the number of the first line of the row, starting at 1."""

    line: int
    user: UserTraits


@attrs.frozen
class BadRow:
    """A row that is not a valid user.

    Attributes:
        line: Number of its first line, starting at 1.
        last_line: Number of its last line.
        problem: What is wrong; names the field and never quotes a value.
    """

    line: int
    last_line: int
    problem: str

    def __str__(self) -> str:
        lines = f"line {self.line}" if self.line == self.last_line else f"lines {self.line} to {self.last_line}"
        return f"{lines}: {self.problem}"


def to_row(content: Any, line: int, last_line: int, to_user: ToUser) -> Row | BadRow:  # noqa: ANN401
    """Return *content* as a user, or as a bad row if *to_user* raises. The content is consumed."""
    try:
        return Row(line, to_user(content))
    except InvalidTraitsError as error:
        return BadRow(line, last_line, str(error))


def user_factory(mapping: CompiledMapping | None) -> ToUser:
    """Return the function that turns the fields of a row into a user."""
    return UserTraits.from_mapping if mapping is None else mapping.to_user
