"""Standard output and error, JSON, the confirmation prompt, and signals."""

import signal
import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, NoReturn

import attrs
import orjson
import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from .._text import escape_controls
from .exit_codes import ExitCode

_EXIT_CODES: Final = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


class _Console(Console):
    """A console that escapes control characters and lets BrokenPipeError through to the caller."""

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401  # Rich's options.
        """Return *text* without control characters, so that its width is that of what is shown."""
        return super().render_str(escape_controls(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of *renderable* without control characters but those of Rich."""
        for segment in super().render(renderable, options):
            is_control = segment.control is not None
            yield segment if is_control else Segment(escape_controls(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Re-raise the error; Rich would exit with 1, which means that users were rejected."""
        raise  # noqa: PLE0704  # Rich calls this while it handles a BrokenPipeError.


def stdout_console() -> Console:
    """Return the console for results; it does not interpret names of traits as markup."""
    return _Console(markup=False, emoji=False, highlight=False)


def stderr_console() -> Console:
    """Return the console for progress, advice and errors."""
    return _Console(stderr=True, markup=False, emoji=False, highlight=False)


def print_json(document: Mapping[str, Any]) -> None:
    """Print *document* to stdout as one line of JSON."""
    console = stdout_console()
    content = orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS).decode()
    console.file.write(f"{escape_controls(content)}\n")
    console.file.flush()


def confirm_or_exit() -> None:
    """Ask for confirmation, and exit unless the answer is yes."""
    if not _is_interactive():
        raise typer.BadParameter("cannot ask for confirmation without a terminal; pass --yes", param_hint="--yes")
    if not _is_confirmed():
        stderr_console().print("Nothing was done.")
        raise typer.Exit(ExitCode.REJECTED)


def _is_interactive() -> bool:
    return sys.stdin.isatty()


def _is_confirmed() -> bool:
    try:
        answer = stderr_console().input("Continue? [y/N] ", markup=False)
    except EOFError:
        return False
    return answer.strip().lower() in {"y", "yes"}


@attrs.define
class Interruption:
    """The signal that interrupted a command, if any.

    Attributes:
        console: Console on which the interruption is announced.
        code: Exit code for the signal, or None if none arrived.
    """

    console: Console
    code: ExitCode | None = None

    def on_signal(self, number: int, _frame: FrameType | None) -> NoReturn:
        """Record the signal and raise KeyboardInterrupt."""
        self.code = _EXIT_CODES[signal.Signals(number)]
        # The signal may arrive during a write to the same stream.
        with suppress(RuntimeError):
            message = "Stopping after the requests in flight. Interrupt again to stop at once."
            self.console.print(message, soft_wrap=True)
        raise KeyboardInterrupt


@contextmanager
def interruptible(console: Console, advice: str) -> Generator[Interruption]:
    """Handle SIGTERM like Ctrl-C; if either ends the block, print *advice* and exit.

    The block may also catch KeyboardInterrupt to finish in an orderly way.
    """
    interruption = Interruption(console)
    # Shells make background jobs ignore Ctrl-C, and they must keep ignoring it.
    handled = [number for number in _EXIT_CODES if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, interruption.on_signal) for number in handled}
    try:
        yield interruption
    except KeyboardInterrupt:
        console.print(advice, soft_wrap=True)
        raise typer.Exit(interruption.code or ExitCode.INTERRUPTED) from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
