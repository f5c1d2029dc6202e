"""Rows of a source: users, and rows that are not valid users."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Generic, TypeAlias, TypeVar

import attrs

from .._records import fast_frozen
from ..errors import InvalidTraitsError
from ..mapping import CompiledMapping, RowMapping
from ..traits import UserTraits

T = TypeVar("T")
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


def _no_ids() -> Iterator[Hashable]:
    return iter(())


@attrs.frozen(eq=False)
class Rows(Iterator[T], Generic[T]):
    """The rows of a source, which can be read once, and the ids of its users, which can be read before them.

    Attributes:
        rows: The rows.
        read_ids: Returns the id of the user in each row, from the first row on. Bad rows may have ids too. Returns no
            ids if the source can be read only once.
    """

    rows: Iterator[T] = attrs.field(repr=False)
    read_ids: Callable[[], Iterator[Hashable]] = attrs.field(default=_no_ids, repr=False)

    def __next__(self) -> T:
        """Return the next row."""
        return next(self.rows)

    def through(
        self,
        wrap: Callable[[Iterator[T]], Iterable[T]],
        *,
        wrap_ids: Callable[[Iterator[Hashable]], Iterator[Hashable]] | None = None,
    ) -> "Rows[T]":
        """Return the rows as *wrap* yields them, and the ids as *wrap_ids* does.

        Args:
            wrap: Given the rows, returns those to read instead, for example to count or to filter them.
            wrap_ids: The same for the ids.
        """
        read_ids = self.read_ids if wrap_ids is None else lambda: wrap_ids(self.read_ids())
        return Rows(iter(wrap(self.rows)), read_ids)


def to_row(content: Any, line: int, last_line: int, to_user: ToUser) -> Row | BadRow:  # noqa: ANN401
    """Return *content* as a user, or as a bad row if *to_user* raises. The content is consumed."""
    try:
        return Row(line, to_user(content))
    except InvalidTraitsError as error:
        return BadRow(line, last_line, str(error))


def user_factory(mapping: CompiledMapping | None) -> ToUser:
    """Return the function that turns the fields of a row into a user."""
    return UserTraits.from_mapping if mapping is None else mapping.to_user


def id_finder(mapping: RowMapping) -> Callable[[dict[str, Any]], str | None]:
    """Return the function that finds the user id in the fields of a row; None if there is no valid one."""
    find_user_id = CompiledMapping.compile(mapping.id_rules).find_user_id

    def find(row: dict[str, Any]) -> str | None:
        try:
            user_id = find_user_id(row)
        except InvalidTraitsError:
            return None
        return user_id if isinstance(user_id, str) else None

    return find
