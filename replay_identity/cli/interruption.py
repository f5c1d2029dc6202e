"""Ctrl-C and SIGTERM: both end a run in good order, and it is told how to go on."""

import signal
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, NoReturn

import attrs
import typer
from rich.console import Console

from .exit_codes import ExitCode

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
def interruptible(console: Console, how_to_go_on: str) -> Generator[Interruption]:
    """Make SIGTERM what Ctrl-C is; where either ends what is inside, say *how_to_go_on* and exit.

    What is inside may also take the KeyboardInterrupt for the wish to end, and return.
    """
    interruption = Interruption(console)
    # A job in the background of a shell script is told to ignore Ctrl-C, and has to.
    heeded = [number for number in _CODES if signal.getsignal(number) is not signal.SIG_IGN]
    earlier = {number: signal.signal(number, interruption.on_signal) for number in heeded}
    try:
        yield interruption
    except KeyboardInterrupt:
        console.print(how_to_go_on, soft_wrap=True)
        raise typer.Exit(interruption.code or ExitCode.INTERRUPTED) from None
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
