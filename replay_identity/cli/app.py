"""The commands by name, and how errors end them."""

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from .._text import escape_controls
from ..errors import ConfigurationError, ReplayIdentityError
from .check import check_command
from .compare import compare_command
from .doctor import doctor_command
from .emulate import demo_command, emulate_command
from .exit_codes import EXIT_CODES_HELP, ExitCode
from .explain import explain_command
from .forget import forget_command
from .identify import identify_command
from .infer import infer_command
from .ledger import rejected_command, retry_command, status_command
from .limits import limits_command
from .migrate import migrate_command
from .sync import deliver_command, sync_command
from .terminal import stderr_console


class Commands(TyperGroup):
    """All commands, with common error handling."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  # Typer's context class is private.
        """Run a command, and exit with the code for its error."""
        try:
            with _printable_errors():
                return super().invoke(ctx)
        except ReplayIdentityError as error:
            stderr_console().print(str(error), style="red", soft_wrap=True)
            is_wrong_setting = isinstance(error, ConfigurationError)
            raise typer.Exit(ExitCode.SETTINGS if is_wrong_setting else ExitCode.USAGE) from None
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:
            _discard_stdout()
            raise typer.Exit(ExitCode.BROKEN_PIPE) from None


@contextmanager
def _printable_errors() -> Generator[None]:
    """Escape control characters in errors of usage, which Typer prints itself."""
    try:
        yield
    except typer.BadParameter as error:
        error.message = escape_controls(error.message)
        raise


def _discard_stdout() -> None:  # pragma: no cover  # Needs a real pipe, and so another process.
    """Redirect stdout to the null device: the interpreter flushes at exit, and would hit the broken pipe again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(
    cls=Commands,
    help="Tell session-replay vendors who your users are.",
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(requested: bool) -> None:  # noqa: FBT001  # Typer's signature.
    if requested:
        typer.echo(f"replay-identity {version('replay-identity')}")
        raise typer.Exit


@app.callback()
def _before_command(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del show_version  # Its callback has printed it.


_COMMANDS: Final[tuple[tuple[str, str, Callable[..., None]], ...]] = (
    ("identify", "Send one user, or a file row by row.", identify_command),
    ("check", "Show offline what vendors would reject.", check_command),
    ("infer", "Infer the types of traits; write a mapping.", infer_command),
    ("compare", "Compare what vendors store with a source.", compare_command),
    ("sync", "Bring every vendor to the state in a file.", sync_command),
    ("migrate", "Move users from a vendor or a file to others.", migrate_command),
    ("status", "Count pending, confirmed and rejected users.", status_command),
    ("explain", "Show what is known of one user.", explain_command),
    ("rejected", "Show why users were rejected; export them.", rejected_command),
    ("retry", "Make rejected users pending again.", retry_command),
    ("deliver", "Send pending users.", deliver_command),
    ("forget", "Delete users at every vendor.", forget_command),
    ("limits", "Print the limits that vendors publish.", limits_command),
    ("doctor", "Check the settings and keys.", doctor_command),
    ("emulate", "Run fake vendors on this machine.", emulate_command),
    ("demo", "Send sample users to fake vendors.", demo_command),
)
# Typer's message about extra arguments would quote them, and they may be traits or ids.
_ACCEPTS_EXTRA_ARGUMENTS: Final = frozenset({"explain", "identify"})

for _name, _summary, _function in _COMMANDS:
    app.command(
        _name,
        short_help=_summary,
        epilog=EXIT_CODES_HELP,
        context_settings={"allow_extra_args": _name in _ACCEPTS_EXTRA_ARGUMENTS},
    )(_function)
