"""Progress on stderr: a spinner while rows are read, and how far each backend of a bulk run is."""

import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
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

from .._text import pluralize
from ..bulk import Progress
from ..sources import Rows
from .terminal import stderr_console

T = TypeVar("T")

# Seconds between two lines about the same backend in a log.
PROGRESS_INTERVAL_S: Final = 10.0

# Batch jobs end in bursts: over a shorter window the rate would jump between nothing and thousands.
_RATE_WINDOW_S: Final = 30.0
# Over a shorter time a rate means nothing.
_MIN_RATE_TIME_S: Final = 3.0
_BAR_WIDTH: Final = 12


class _RateColumn(ProgressColumn):
    """Users per second."""

    def render(self, task: Task) -> Text:
        """Return the recent rate."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} users/s", style="cyan")


@contextmanager
def spinner(verb: str) -> Generator[Callable[[], None]]:
    """Show a spinner, a count and a rate on a terminal; yield a function that adds 1 to the count."""
    console = stderr_console()
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:,}"), _RateColumn(), TimeElapsedColumn())
    with RichProgress(*columns, console=console, transient=True, disable=not is_terminal(console)) as bar:
        task = bar.add_task(verb, total=None)
        yield lambda: bar.advance(task)


def is_terminal(console: Console) -> bool:
    """Return True if *console* writes to a terminal."""
    # Rich takes any stream for a terminal if FORCE_COLOR is set, as it often is in CI.
    return console.is_interactive and console.file.isatty()


def track(rows: Iterable[T], advance: Callable[[], None]) -> Iterator[T]:
    """Yield *rows*, and call *advance* for each."""
    for row in rows:
        advance()
        yield row


def format_duration(seconds: float) -> str:
    """Return *seconds*, rounded up to whole seconds, as ``1 day, 2:03:04``."""
    return str(timedelta(seconds=-(-seconds // 1)))


@attrs.define
class Throughput:
    """The recent growth of a count; times are in seconds, read from one clock by the caller."""

    _samples: deque[tuple[float, int]] = attrs.field(factory=deque[tuple[float, int]], init=False)

    def record(self, now: float, count: int) -> None:
        """Record the *count* at the time *now*."""
        samples = self._samples
        samples.append((now, count))
        while len(samples) > 1 and samples[1][0] <= now - _RATE_WINDOW_S:
            samples.popleft()

    @property
    def per_second(self) -> float | None:
        """Return the growth per second, or None if the time is too short."""
        (start, first), (end, last) = self._samples[0], self._samples[-1]
        return (last - first) / (end - start) if end - start >= _MIN_RATE_TIME_S else None


@attrs.frozen
class ProgressLine:
    """The progress of one backend as text.

    Attributes:
        progress: The progress of the run.
        total: Users to bring up to date, or None while rows are still being read.
        per_second: Users settled per second, or None if it is too early to tell.
    """

    progress: Progress
    total: int | None
    per_second: float | None

    @property
    def is_done(self) -> bool:
        """Return True if all users are settled and no rows are left to read."""
        return self.total is not None and self.total <= self.progress.settled

    @property
    def count(self) -> str:
        """Return the number of settled users, and of how many."""
        settled = self.progress.settled
        return pluralize(settled, "user") if self.total is None else f"{settled:,} of {pluralize(self.total, 'user')}"

    @property
    def speed(self) -> str:
        """Return the rate, or an empty string if it is unknown or the backend is done."""
        return "" if self.per_second is None or self.is_done else f"{self.per_second:,.0f} users/s"

    @property
    def time_left(self) -> str:
        """Return the remaining time, or an empty string if it is unknown."""
        if self.total is None or not self.per_second or self.is_done:
            return ""
        return f"{format_duration((self.total - self.progress.settled) / self.per_second)} left"

    @property
    def note(self) -> str:
        """Return why the backend was given up, or what it is waiting for."""
        if self.progress.problem:
            return self.progress.problem
        return f"waiting for {self.progress.status_text}" if self.progress.status_text else ""

    def __str__(self) -> str:
        parts = (self.count, self.speed, self.time_left, self.note)
        return f"{self.progress.backend}: {', '.join(filter(None, parts))}"


@attrs.define
class ProgressDisplay:
    """Counts the rows of a run and shows the progress of each backend.

    Attributes:
        console: Console to print on.
        live: The live display, or None to print plain lines.
        clock: Function that returns the time in seconds.
        row_count: Rows read so far, or None if the run reads none.
        id_count: Ids read so far, before the first row.
    """

    console: Console
    live: Live | None
    clock: Callable[[], float] = time.monotonic
    row_count: int | None = None
    id_count: int = 0
    _is_reading: bool = False
    _throughput: dict[str, Throughput] = attrs.field(factory=dict[str, Throughput])
    _lines: Sequence[ProgressLine] = ()
    _printed_at: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._printed_at = self.clock()

    def count(self, rows: Rows[T]) -> Rows[T]:
        """Return *rows*, which count themselves as they are read."""
        self.row_count, self._is_reading = 0, True
        return rows.through(self._count_rows, wrap_ids=self._count_ids)

    def update(self, progress: Sequence[Progress]) -> None:
        """Show the *progress* of all backends: at once on a terminal, in a log every few seconds."""
        now = self.clock()
        self._lines = [self._line(backend, now) for backend in progress]
        if self.live is not None:
            self.live.update(Group(self._table(), *self._notes()), refresh=True)
        elif now - self._printed_at >= PROGRESS_INTERVAL_S:
            self._printed_at = now
            self.print_lines()

    def print_lines(self) -> None:
        """Print the latest progress as plain lines, if there is any."""
        if self._lines and self.row_count is not None:
            self.console.print(self._rows_read(), soft_wrap=True)
        for line in self._lines:
            self.console.print(str(line), soft_wrap=True)

    def _count_rows(self, rows: Iterable[T]) -> Iterator[T]:
        self.row_count = 0
        for row in rows:
            self.row_count += 1
            yield row
        self._is_reading = False

    def _count_ids(self, ids: Iterable[Hashable]) -> Iterator[Hashable]:
        for user_id in ids:
            self.id_count += 1
            yield user_id

    def _line(self, progress: Progress, now: float) -> ProgressLine:
        throughput = self._throughput.setdefault(progress.backend, Throughput())
        throughput.record(now, progress.settled)
        return ProgressLine(progress, None if self._is_reading else progress.given, throughput.per_second)

    def _rows_read(self) -> str:
        if self.id_count and not self.row_count:
            return f"looking for repeated users: {pluralize(self.id_count, 'id')} read so far"
        return f"{pluralize(self.row_count or 0, 'row')} read{' so far' if self._is_reading else ''}"

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(5):
            table.add_column(no_wrap=True)
        if self.row_count is not None:
            table.add_row("", "", Text(self._rows_read(), style="dim"))
        for line in self._lines:
            table.add_row(
                Text(line.progress.backend, style="cyan"),
                ProgressBar(line.total, line.progress.settled, width=_BAR_WIDTH, animation_time=self.clock()),
                line.count,
                line.speed,
                line.time_left,
            )
        return table

    def _notes(self) -> Iterator[Text]:
        """Yield notes on lines of their own: in the table, long ones would shift the columns."""
        for line in self._lines:
            if line.note:
                style = "red" if line.progress.problem else "yellow"
                yield Text(f"{line.progress.backend}: {line.note}", style=style)


@contextmanager
def progress_display(console: Console) -> Generator[ProgressDisplay]:
    """Yield a live display on a terminal, or else one that prints plain lines now and then and at the end."""
    if not is_terminal(console):
        display = ProgressDisplay(console, None)
        try:
            yield display
        finally:
            display.print_lines()
        return
    with Live(
        console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as live:
        yield ProgressDisplay(console, live)
