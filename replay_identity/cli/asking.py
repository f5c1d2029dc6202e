"""A person is asked before a vendor is told what nobody may expect."""

import sys

import typer

from .exit_codes import ExitCode
from .output import talk


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
