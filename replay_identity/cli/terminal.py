"""Where words go: data to stdout, talk to stderr."""

import signal
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, NoReturn

import attrs
import orjson
import typer
from rich.console import Console

from .exit_codes import ExitCode


class _Console(Console):
    """A console that leaves a broken pipe to whoever runs the command."""

    def on_broken_pipe(self) -> None:
        """Let the error through; Rich would exit with 1, which says that users were refused."""
        raise  # noqa: PLE0704  # Rich calls this while it handles a BrokenPipeError.


def stdout_console() -> Console:
    """Return the console for what was asked for; names of traits are never taken for markup."""
    return _Console(markup=False, emoji=False, highlight=False)


def stderr_console() -> Console:
    """Return the console for everything else."""
    return _Console(stderr=True, markup=False, emoji=False, highlight=False)


def print_json(document: Mapping[str, Any]) -> None:
    """Print *document* as one line of JSON."""
    console = stdout_console()
    console.file.write(f"{orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS).decode()}\n")
    console.file.flush()


def confirm_or_exit() -> None:
    """Ask whether to go on, and end the command unless the answer is yes."""
    if not _somebody_is_there():
        raise typer.BadParameter("nobody is there to be asked; --yes says that you are sure", param_hint="--yes")
    if not _is_confirmed():
        stderr_console().print("Nothing was done.")
        raise typer.Exit(ExitCode.REFUSED)


def _somebody_is_there() -> bool:
    return sys.stdin.isatty()


def _is_confirmed() -> bool:
    try:
        answer = stderr_console().input("Go on? [y/N] ", markup=False)
    except EOFError:
        return False
    return answer.strip().lower() in {"y", "yes"}


_CODES: Final = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


@attrs.define
class Interruption:
    """What interrupted a run.

    Attributes:
        console: Where it is told that the run comes to its end.
        code: The exit code that says what did, or None.
    """

    console: Console
    code: ExitCode | None = None

    def on_signal(self, number: int, _frame: FrameType | None) -> NoReturn:
        """Remember which signal came, and raise KeyboardInterrupt for either."""
        self.code = _CODES[signal.Signals(number)]
        # The signal may come while something is being written to the same stream.
        with suppress(RuntimeError):
            self.console.print("Stopping: waiting for the answers under way; once more stops at once.", soft_wrap=True)
        raise KeyboardInterrupt


@contextmanager
def interruptible(console: Console, resume_hint: str) -> Generator[Interruption]:
    """Make SIGTERM what Ctrl-C is; where either ends what is inside, say *resume_hint* and exit.

    What is inside may also take the KeyboardInterrupt for the wish to end, and return.
    """
    interruption = Interruption(console)
    # A job in the background of a shell script is told to ignore Ctrl-C, and has to.
    heeded = [number for number in _CODES if signal.getsignal(number) is not signal.SIG_IGN]
    earlier = {number: signal.signal(number, interruption.on_signal) for number in heeded}
    try:
        yield interruption
    except KeyboardInterrupt:
        console.print(resume_hint, soft_wrap=True)
        raise typer.Exit(interruption.code or ExitCode.INTERRUPTED) from None
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
