"""The command line."""

import logging
import sys
from pathlib import PurePath
from traceback import extract_tb

from .exit_codes import ExitCode


def main() -> int:
    """Run the command and return its exit code; without the extra `cli`, print how to install it."""
    # httpx logs URLs at INFO, and LogRocket's URLs contain user ids.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        from .app import app as commands  # noqa: PLC0415  # This module must be importable without the extra.
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich", "platformdirs", "markupsafe"}:
            raise
        sys.stderr.write("The command line needs more packages: pip install 'replay-identity[cli]'\n")
        return ExitCode.USAGE
    try:
        commands(prog_name="replay-identity")
    except Exception as error:  # noqa: BLE001  # A traceback may quote a value.
        frame = extract_tb(error.__traceback__)[-1]
        location = f"{type(error).__name__} at {PurePath(frame.filename).name}:{frame.lineno}"
        sys.stderr.write(f"replay-identity has a bug, please report it: {location}\n")
        return ExitCode.BUG
    return ExitCode.OK  # pragma: no cover  # Typer always exits.
