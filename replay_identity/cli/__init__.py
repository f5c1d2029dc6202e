"""The command `replay-identity`."""

import logging
import sys
from pathlib import PurePath
from traceback import extract_tb

from .exit_codes import ExitCode


def main() -> int:
    """Run the command and return its exit code; without the extra `cli`, say how to get it."""
    # httpx logs URLs at INFO, and LogRocket's hold user ids.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        from .app import app  # noqa: PLC0415  # Without the extra this module must still be importable.
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich", "platformdirs"}:
            raise
        sys.stderr.write("The command needs more packages: pip install 'replay-identity[cli]'\n")
        return ExitCode.USAGE
    try:
        app(prog_name="replay-identity")
    except Exception as error:  # noqa: BLE001  # A traceback may quote a value.
        place = extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} at {PurePath(place.filename).name}:{place.lineno}"
        sys.stderr.write(f"replay-identity has a bug, please report it: {where}\n")
        return ExitCode.BUG
    return ExitCode.OK  # pragma: no cover  # Typer always exits.
