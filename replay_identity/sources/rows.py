"""Rows of a source: users, and rows that are not valid users."""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import attrs

from .._records import fast_frozen
from .._text import pluralize
from ..errors import printable
from ..traits import UserTraits

T = TypeVar("T")


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
        file: Name of the file, if the source has several.
    """

    line: int
    last_line: int
    problem: str
    file: str | None = None

    def __str__(self) -> str:
        lines = f"line {self.line}" if self.line == self.last_line else f"lines {self.line} to {self.last_line}"
        return f"{lines}: {self.problem}" if self.file is None else f"{self.file}, {lines}: {self.problem}"


@attrs.define
class EventCounts:
    """Counts of the rows in an export of events, of which only the newest row of each user is read.

    Attributes:
        rows: Number of rows.
        older: Number of rows of which a later one has the same user.
        anonymous: Number of rows about anonymous visitors, which are left out.
        unknown: Number of rows about visitors whose identity is unknown, which are left out.
        time: The column with the time of the rows, or None before the first one is read.
    """

    rows: int = 0
    older: int = 0
    anonymous: int = 0
    unknown: int = 0
    time: str | None = None

    def __str__(self) -> str:
        """Return the counts as one sentence."""
        left_out = f"left out {self.older:,} older, {self.anonymous:,} anonymous and {self.unknown:,} unknown"
        return f"{pluralize(self.rows, 'event')} read; {left_out}"


@attrs.define
class SourceNotes:
    """What a person should know about how a source was read; complete once all of its rows are read.

    Attributes:
        own_fields: The user's own fields that were found under another spelling: name of the column, and the field.
        look_alikes: Columns that became traits although they are spelled like one of the user's own fields.
        labels: Columns with the labels of a data frame's rows, which were left out.
        misspelt: Names that differ from one that the mapping names in case, spaces, ``_`` and ``-`` only, each with it.
        unused: Fields that the mapping names and no row has, each with a similar name that rows have, or None.
        without: Paths of the mapping's filter, and of the object that it lifts, where no row has a value.
        unreadable: Number of values that were left out because their cast failed, by field.
        left_out: Number of rows that the mapping's filter left out.
        selected: Number of rows that a filter did not leave out.
        without_rows: The files that have no row, or "the source" if it is not a file.
        warnings: Sentences about what is valid and still likely to be a mistake; see `SourceInspection`.
        events: What was counted if the rows are events, or None.
    """

    own_fields: dict[str, str] = attrs.field(factory=dict[str, str])
    look_alikes: set[str] = attrs.field(factory=set[str])
    labels: set[str] = attrs.field(factory=set[str])
    misspelt: dict[str, str] = attrs.field(factory=dict[str, str])
    unused: dict[str, str | None] = attrs.field(factory=dict[str, "str | None"])
    without: set[str] = attrs.field(factory=set[str])
    unreadable: Counter[str] = attrs.field(factory=Counter[str])
    left_out: int = 0
    selected: int = 0
    without_rows: list[str] = attrs.field(factory=list[str])
    warnings: list[str] = attrs.field(factory=list[str])
    events: EventCounts | None = None
    # Whether the rows of a file are all read.
    _has_unused: bool = attrs.field(default=False, init=False, eq=False)

    @property
    def has_problem(self) -> bool:
        """Return True if no row has a field that the mapping names or the values that it requires, or misspells one."""
        return bool(self.unused or self.misspelt) or (self.left_out > 0 and not self.selected)

    def add_unused(self, unused: Mapping[str, str | None], without: Collection[str]) -> None:
        """Add what no row of one file has, and keep what no row of any file has.

        Args:
            unused: Fields that the mapping names, each with a similar name that rows have, or None.
            without: Paths of its filter, and of the object that it lifts.
        """
        if self._has_unused:
            unused = {path: near for path, near in self.unused.items() if path in unused}
            without = self.without.intersection(without)
        self.unused, self.without, self._has_unused = dict(unused), set(without), True

    def watch(self, rows: Iterator[T], source: str = "the source") -> Iterator[T]:
        """Yield the *rows* of one *source*, and note if there are none."""
        left_out = self._left_out()
        first = next(rows, None)
        if first is not None:
            yield first
            yield from rows
        elif self._left_out() == left_out:
            self.without_rows.append(source)

    def _left_out(self) -> int:
        return self.left_out + (0 if self.events is None else self.events.rows)

    def lines(self) -> list[str]:
        """Return the notes as sentences, without any value."""
        return [
            *([] if self.events is None else [str(self.events)]),
            *(f"{source} has no rows" for source in self.without_rows),
            *(f"column {printable(name)} is read as {field}" for name, field in self.own_fields.items()),
            *(f"column {printable(name)} is a trait, not the user's own field" for name in sorted(self.look_alikes)),
            *(
                f"column {name} has the labels of a data frame's rows and is left out; name it in a mapping to read it"
                for name in sorted(self.labels)
            ),
            *(
                f"{printable(name)} is not in the mapping, although {printable(path)} is; name it, too"
                for name, path in sorted(self.misspelt.items())
                if path not in self.unused
            ),
            *(
                f"{printable(name)}: {pluralize(count, 'unreadable value')} left out"
                for name, count in sorted(self.unreadable.items())
            ),
            *([f"{pluralize(self.left_out, 'row')} left out by where"] if self.left_out else []),
            *self._without_lines(),
            *(
                f"the mapping names {printable(path)}, which no row has{_hint(near)}"
                for path, near in self.unused.items()
            ),
        ]

    def _without_lines(self) -> list[str]:
        no_row = f"no row has {', '.join(map(printable, sorted(self.without)))}"
        if self.left_out and not self.selected:
            return [f"where leaves out every row; {no_row if self.without else 'in CSV, all values are texts'}"]
        return [f"{no_row}, whose fields the mapping lifts"] if self.without else []

    def as_dict(self) -> dict[str, Any]:
        """Return the notes for JSON."""
        return {
            "own_fields": {printable(name): field for name, field in self.own_fields.items()},
            "look_alikes": [printable(name) for name in sorted(self.look_alikes)],
            "misspelt": {printable(name): printable(path) for name, path in sorted(self.misspelt.items())},
            "unused": [printable(path) for path in self.unused],
            "unreadable": {printable(name): count for name, count in self.unreadable.items()},
            "left_out": self.left_out,
            "without_rows": self.without_rows,
            "warnings": self.warnings,
            **({} if self.events is None else {"events": attrs.asdict(self.events)}),
        }


def _hint(near: str | None) -> str:
    return "" if near is None else f"; did you mean {printable(near)}?"


def _no_ids() -> Iterator[Hashable]:
    return iter(())


@attrs.frozen(eq=False)
class Rows(Iterator[T], Generic[T]):
    """The rows of a source, which can be read once, and the ids of its users, which can be read before them.

    Attributes:
        rows: The rows.
        read_ids: Returns the id of the user in each row, from the first row on. Bad rows may have ids too. Returns no
            ids if the source can be read only once.
        notes: How the source was read.
    """

    rows: Iterator[T] = attrs.field(repr=False)
    read_ids: Callable[[], Iterator[Hashable]] = attrs.field(default=_no_ids, repr=False)
    notes: SourceNotes = attrs.field(factory=SourceNotes)

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
        return Rows(iter(wrap(self.rows)), read_ids, self.notes)
