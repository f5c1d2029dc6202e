"""Where words go: data to stdout, talk to stderr."""

import signal
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from enum import IntEnum
from types import FrameType
from typing import Any, Final, NoReturn

import attrs
import orjson
import typer
from rich.console import Console

from ..bulk import SyncReport
from ..bulk.stats import Tally
from ..outcomes import Failure, Misconfigured, Outcome, explain


class _Console(Console):
    """A console that leaves a broken pipe to whoever runs the command."""

    def on_broken_pipe(self) -> None:
        """Let the error through; Rich would exit with 1, which says that users were refused."""
        raise  # noqa: PLE0704  # Rich calls this while it handles a BrokenPipeError.


def data() -> Console:
    """Return the console for what was asked for; names of traits are never taken for markup."""
    return _Console(markup=False, emoji=False, highlight=False)


def talk() -> Console:
    """Return the console for everything else."""
    return _Console(stderr=True, markup=False, emoji=False, highlight=False)


def print_json(document: Mapping[str, Any]) -> None:
    """Print *document* as one line of JSON."""
    console = data()
    console.file.write(f"{orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS).decode()}\n")
    console.file.flush()


def outcome_as_dict(outcome: Outcome) -> dict[str, Any]:
    """Return *outcome* as JSON has it, without the vendor's id of the user."""
    fields = attrs.asdict(outcome, filter=lambda field, _: field.name not in {"backend", "vendor_id"})
    return {
        "backend": outcome.backend,
        "outcome": type(outcome).__name__,
        "explanation": explain(outcome),
        "retryable": outcome.retryable,
        **fields,
    }


class ExitCode(IntEnum):
    """An exit code; where several apply, settings come before pending users and these before refused ones."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    BUG = 70
    PENDING = 75
    SETTINGS = 78
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


HELP: Final = (
    "Exit codes: 0 all is well; 1 a user was refused or a row is bad; 2 wrong usage, or a file that cannot be read; "
    "70 a bug of ours; 75 some users are pending, so run it again later; 78 the settings are wrong; 130 interrupted; "
    "141 nobody reads the output; 143 ended by SIGTERM."
)


def exit_code(tally: Tally, *, bad_rows: int = 0) -> ExitCode:
    """Return the code that says what became of the users counted."""
    backends = tally.backends.values()
    if any(backend.outcomes[Misconfigured.__name__] for backend in backends):
        return ExitCode.SETTINGS
    if any(backend.pending for backend in backends):
        return ExitCode.PENDING
    if bad_rows or any(backend.refused for backend in backends):
        return ExitCode.REFUSED
    return ExitCode.OK


def reading_exit_code(failure: Failure | None) -> ExitCode | None:
    """Return the code that says why a vendor's users cannot be read, if it says more than that."""
    if isinstance(failure, Misconfigured):
        return ExitCode.SETTINGS
    return ExitCode.PENDING if failure is not None and failure.retryable else None


def books_exit_code(report: SyncReport) -> ExitCode:
    """Return the code that says what became of the users in the books."""
    if report.stopped is not None:
        return ExitCode.USAGE
    if any(books.tally.outcomes[Misconfigured.__name__] for books in report.books):
        return ExitCode.SETTINGS
    if report.pending:
        return ExitCode.PENDING
    return ExitCode.REFUSED if report.bad_row_count or report.rejected else ExitCode.OK


def go_on_only_with_a_yes() -> None:
    """Ask whether to go on, and end the command unless the answer is yes."""
    if not _somebody_is_there():
        raise typer.BadParameter("nobody is there to be asked; --yes says that you are sure", param_hint="--yes")
    if not _is_confirmed():
        talk().print("Nothing was done.")
        raise typer.Exit(ExitCode.REFUSED)


def _somebody_is_there() -> bool:
    return sys.stdin.isatty()


def _is_confirmed() -> bool:
    try:
        answer = talk().input("Go on? [y/N] ", markup=False)
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
