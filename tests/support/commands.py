"""Run the command, in this process or in one of its own."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import attrs
import orjson
from typer.testing import CliRunner

from replay_identity.cli.app import app
from replay_identity.emulator import FullstoryEmulator, LogRocketEmulator

COMMAND: Final = (sys.executable, "-c", "import sys; from replay_identity.cli import main; sys.exit(main())")


@attrs.frozen
class CommandResult:
    """The output of a command and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Return the last line on stdout as JSON."""
        return orjson.loads(self.out.splitlines()[-1])

    @property
    def lines(self) -> list[str]:
        """Return the lines on stdout with single spaces."""
        return [" ".join(line.split()) for line in self.out.splitlines()]

    @property
    def message(self) -> str:
        """Return stderr as one line with single spaces."""
        return " ".join(self.err.split())


RunCommand: TypeAlias = Callable[..., CommandResult]
WriteRows: TypeAlias = Callable[[Sequence[object]], str]


def run_command(*arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> CommandResult:
    """Run a command in this process."""
    result = CliRunner().invoke(app, list(arguments), input=stdin, env=env, catch_exceptions=False)
    return CommandResult(result.exit_code, result.stdout, result.stderr)


def start_command(*arguments: str) -> "subprocess.Popen[str]":
    """Start a command in a process of its own."""
    return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@attrs.frozen
class Vendors:
    """Both emulators, and the environment that points at them."""

    fullstory: FullstoryEmulator
    logrocket: LogRocketEmulator
    environment: dict[str, str]
