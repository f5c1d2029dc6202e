"""The command line: what each command is called, and what an error says and exits with."""

import os
import sys
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from ..errors import ConfigurationError, ReplayIdentityError
from .check import check
from .compare import compare
from .doctor import doctor
from .emulate import demo, emulate
from .exit_codes import HELP, ExitCode
from .forget import forget
from .identify import identify
from .infer import infer
from .ledger import rejected, retry, status
from .limits import limits
from .migrate import migrate
from .sync import deliver, sync
from .terminal import stderr_console


class Commands(TyperGroup):
    """The commands, with one way to end for all of them."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  # Typer's own, which it keeps private.
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except ReplayIdentityError as error:
            stderr_console().print(str(error), style="red", soft_wrap=True)
            wrong_settings = isinstance(error, ConfigurationError)
            raise typer.Exit(ExitCode.SETTINGS if wrong_settings else ExitCode.USAGE) from None
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:
            _leave_stdout()
            raise typer.Exit(ExitCode.BROKEN_PIPE) from None


def _leave_stdout() -> None:  # pragma: no cover  # Needs a real pipe, and so another process.
    """Point stdout to nowhere: the interpreter flushes once more at its end, and must not find the broken pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app: Final = typer.Typer(
    cls=Commands,
    help="Tell session-replay vendors who your users are.",
    epilog=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_WITH_EXTRA_ARGUMENTS: Final = {"allow_extra_args": True}  # Typer's own message would quote them.


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


app.command(short_help="Send a user, or a file row by row.", epilog=HELP, context_settings=_WITH_EXTRA_ARGUMENTS)(
    identify
)
app.command(short_help="Tell offline what each vendor would refuse of a file.", epilog=HELP)(check)
app.command(short_help="Find the types of traits; write a mapping.", epilog=HELP)(infer)
app.command(short_help="Compare vendors with one another, or with a file.", epilog=HELP)(compare)
app.command(short_help="Bring every vendor to the state of a file.", epilog=HELP)(sync)
app.command(short_help="Move users from a vendor or a file to others.", epilog=HELP)(migrate)
app.command(short_help="Count who is due, held and refused.", epilog=HELP)(status)
app.command(short_help="Tell why users were refused; write them out.", epilog=HELP)(rejected)
app.command(short_help="Make refused users due again.", epilog=HELP)(retry)
app.command(short_help="Send what is due.", epilog=HELP)(deliver)
app.command(short_help="Have every vendor delete a user.", epilog=HELP, context_settings=_WITH_EXTRA_ARGUMENTS)(forget)
app.command(short_help="Print what the vendors publish.", epilog=HELP)(limits)
app.command(short_help="Tell whether the settings are good.", epilog=HELP)(doctor)
app.command(short_help="Run fake vendors on this machine.", epilog=HELP)(emulate)
app.command(short_help="Send sample users to fake vendors.", epilog=HELP)(demo)
