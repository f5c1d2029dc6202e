"""How far a long run is, for a person who watches."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from .output import talk


class _RateColumn(ProgressColumn):
    """Users a second."""

    def render(self, task: Task) -> Text:
        """Return the rate of the last while."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} users/s", style="cyan")


@contextmanager
def progress(what: str) -> Generator[Callable[[], None]]:
    """Show a spinner, a count and a rate on stderr, if a person watches; yield what counts one more."""
    console = talk()
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:,}"), _RateColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda: bar.advance(task)
