"""Run commands, in this process or in a process of their own."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import attrs
import orjson
from typer.testing import CliRunner

from replay_identity.cli.app import app

COMMAND: Final = (sys.executable, "-c", "import sys; from replay_identity.cli import main; sys.exit(main())")


@attrs.frozen
class CommandResult:
    """The exit code and output of a command; *output* has both streams as a terminal shows them."""

    code: int
    out: str
    err: str
    output: str = ""

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
    return CommandResult(result.exit_code, result.stdout, result.stderr, result.output)


def start_command(*arguments: str) -> "subprocess.Popen[str]":
    """Start a command in a process of its own."""
    return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
