"""How far a run in bulk is: a live display for a person who watches, plain lines for a log."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, TypeVar

import attrs
from rich.console import Console, Group
from rich.live import Live
from rich.progress import Progress as RichProgress
from rich.progress import ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..bulk import Progress
from .tables import rows
from .terminal import stderr_console


class _RateColumn(ProgressColumn):
    """Users a second."""

    def render(self, task: Task) -> Text:
        """Return the rate of the last while."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} users/s", style="cyan")


@contextmanager
def progress(what: str) -> Generator[Callable[[], None]]:
    """Show a spinner, a count and a rate on stderr, if a person watches; yield what counts one more."""
    console = stderr_console()
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:,}"), _RateColumn(), TimeElapsedColumn())
    with RichProgress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda: bar.advance(task)


# Jobs end in bursts; a shorter while would jump between nothing and thousands.
_WHILE: Final = 30.0
# Less says nothing yet.
_SHORTEST: Final = 3.0


@attrs.define
class Throughput:
    """How much a count grew over the last while; moments are in seconds on one clock, which the caller reads."""

    _marks: deque[tuple[float, int]] = attrs.field(factory=deque[tuple[float, int]], init=False)

    def mark(self, moment: float, count: int) -> None:
        """Take note of the *count* at a *moment*."""
        marks = self._marks
        marks.append((moment, count))
        while len(marks) > 1 and marks[1][0] <= moment - _WHILE:
            marks.popleft()

    @property
    def per_second(self) -> float | None:
        """Return the growth in a second, or None while it is too early to tell."""
        (prefetch_first, first), (ended, last) = self._marks[0], self._marks[-1]
        return (last - first) / (ended - prefetch_first) if ended - prefetch_first >= _SHORTEST else None


def duration(seconds: float) -> str:
    """Return *seconds*, rounded up to whole ones, as ``1 day, 2:03:04``."""
    return str(timedelta(seconds=-(-seconds // 1)))


T = TypeVar("T")

# Seconds between two plain lines on one backend.
EVERY: Final = 10.0
_BAR_WIDTH: Final = 12


@attrs.frozen
class ProgressLine:
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
        return f"waits for {self.progress.status_text}" if self.progress.status_text else ""

    def __str__(self) -> str:
        parts = (self.count, self.speed, self.left, self.note)
        return f"{self.progress.backend}: {', '.join(filter(None, parts))}"


@attrs.define
class ProgressDisplay:
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
    _speeds: dict[str, Throughput] = attrs.field(factory=dict[str, Throughput])
    _lines: Sequence[ProgressLine] = ()
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

    def _line(self, progress: Progress, now: float) -> ProgressLine:
        speed = self._speeds.setdefault(progress.backend, Throughput())
        speed.mark(now, progress.settled)
        return ProgressLine(progress, progress.given if self._is_read else None, speed.per_second)

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
def progress_display(console: Console) -> Generator[ProgressDisplay]:
    """Yield what shows on *console* how far a run is; where it is no terminal by plain lines, also at the end."""
    # Rich takes anything for a terminal where FORCE_COLOR is set, as it is in many a CI.
    if not (console.is_interactive and console.file.isatty()):
        watch = ProgressDisplay(console, None)
        try:
            yield watch
        finally:
            watch.print_lines()
        return
    with Live(
        console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as live:
        yield ProgressDisplay(console, live)
