"""The command line: what each command is called, and what an error says and exits with."""

import os
import sys
from typing import Any, Final

import typer
from typer.core import TyperGroup

from ..errors import ConfigurationError, ReplayIdentityError
from .check import check
from .deliver import deliver
from .demo import demo
from .doctor import doctor
from .emulate import emulate
from .exit_codes import HELP, ExitCode
from .identify import identify
from .limits import limits
from .output import talk
from .rejected import rejected
from .retry import retry
from .status import status
from .sync import sync


class Commands(TyperGroup):
    """The commands, with one way to end for all of them."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  # Typer's own, which it keeps private.
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except ReplayIdentityError as error:
            talk().print(str(error), style="red", soft_wrap=True)
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

app.command(epilog=HELP, context_settings=_WITH_EXTRA_ARGUMENTS)(identify)
app.command(epilog=HELP)(check)
app.command(epilog=HELP)(sync)
app.command(epilog=HELP)(status)
app.command(epilog=HELP)(rejected)
app.command(epilog=HELP)(retry)
app.command(epilog=HELP)(deliver)
app.command(epilog=HELP)(limits)
app.command(epilog=HELP)(doctor)
app.command(epilog=HELP)(emulate)
app.command(epilog=HELP)(demo)
