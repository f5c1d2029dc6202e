"""How far a run in bulk is: a live display for a person who watches, plain lines for a log."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

import attrs
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..bulk import Progress
from .durations import duration
from .speed import Speed
from .tables import rows

T = TypeVar("T")

# Seconds between two plain lines on one backend.
EVERY: Final = 10.0
_BAR_WIDTH: Final = 12


@attrs.frozen
class Line:
    """What is shown of one backend.

    Attributes:
        progress: How far it is.
        total: Users it has to be brought up to date with, or None while rows are still read.
        per_second: Users settled in a second, or None while it is too early to tell.
    """

    progress: Progress
    total: int | None
    per_second: float | None

    @property
    def is_done(self) -> bool:
        """Return whether all are settled and no more will come."""
        return self.total is not None and self.total <= self.progress.settled

    @property
    def count(self) -> str:
        """Return how many users are settled, and of how many."""
        of_all = "" if self.total is None else f" of {self.total:,}"
        return f"{self.progress.settled:,}{of_all} users"

    @property
    def speed(self) -> str:
        """Return how fast it goes, if that can be told and does not stand still for good."""
        return "" if self.per_second is None or self.is_done else f"{self.per_second:,.0f} users/s"

    @property
    def left(self) -> str:
        """Return how long it will take, if that can be told."""
        if self.total is None or not self.per_second or self.is_done:
            return ""
        return f"{duration((self.total - self.progress.settled) / self.per_second)} left"

    @property
    def note(self) -> str:
        """Return why it does not go on, or what it waits for."""
        if self.progress.problem:
            return self.progress.problem
        return f"waits for {self.progress.waits_for}" if self.progress.waits_for else ""

    def __str__(self) -> str:
        parts = (self.count, self.speed, self.left, self.note)
        return f"{self.progress.backend}: {', '.join(filter(None, parts))}"


@attrs.define
class Watch:
    """Counts the rows of a run, and shows how far each backend is.

    Attributes:
        console: Where to show it.
        live: The live display, or None for plain lines.
        clock: Seconds since some fixed moment.
        rows: Rows read so far, or None where there are none to read.
    """

    console: Console
    live: Live | None
    clock: Callable[[], float] = time.monotonic
    rows: int | None = None
    _is_read: bool = True
    _speeds: dict[str, Speed] = attrs.field(factory=dict[str, Speed])
    _lines: Sequence[Line] = ()
    _told_at: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._told_at = self.clock()

    def counted(self, source: Iterable[T]) -> Iterator[T]:
        """Yield the rows of *source*, and count them."""
        self.rows, self._is_read = 0, False
        for row in source:
            self.rows += 1
            yield row
        self._is_read = True

    def tell(self, progress: Sequence[Progress]) -> None:
        """Take note of how far the backends are, and show it when it is time."""
        now = self.clock()
        self._lines = [self._line(one, now) for one in progress]
        if self.live is not None:
            self.live.update(Group(self._table(), *self._notes()), refresh=True)
        elif now - self._told_at >= EVERY:
            self._told_at = now
            self.print_lines()

    def print_lines(self) -> None:
        """Print how far it is as plain lines, if it has begun."""
        if self._lines and self.rows is not None:
            self.console.print(self._rows_read(), soft_wrap=True)
        for line in self._lines:
            self.console.print(str(line), soft_wrap=True)

    def _line(self, progress: Progress, now: float) -> Line:
        speed = self._speeds.setdefault(progress.backend, Speed())
        speed.mark(now, progress.settled)
        return Line(progress, progress.given if self._is_read else None, speed.per_second)

    def _rows_read(self) -> str:
        return f"{rows(self.rows or 0)} read{'' if self._is_read else ' so far'}"

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(5):
            table.add_column(no_wrap=True)
        if self.rows is not None:
            table.add_row("", "", Text(self._rows_read(), style="dim"))
        for line in self._lines:
            table.add_row(
                Text(line.progress.backend, style="cyan"),
                ProgressBar(line.total, line.progress.settled, width=_BAR_WIDTH, animation_time=self.clock()),
                line.count,
                line.speed,
                line.left,
            )
        return table

    def _notes(self) -> Iterator[Text]:
        """Yield what is to be said of each backend, on lines of their own: they are long, and come and go."""
        for line in self._lines:
            if line.note:
                style = "red" if line.progress.problem else "yellow"
                yield Text(f"{line.progress.backend} {line.note}", style=style)


@contextmanager
def watching(console: Console) -> Generator[Watch]:
    """Yield what shows on *console* how far a run is; where it is no terminal by plain lines, also at the end."""
    # Rich takes anything for a terminal where FORCE_COLOR is set, as it is in many a CI.
    if not (console.is_interactive and console.file.isatty()):
        watch = Watch(console, None)
        try:
            yield watch
        finally:
            watch.print_lines()
        return
    with Live(
        console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as live:
        yield Watch(console, live)
