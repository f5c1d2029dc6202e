"""The ledger that the options ask for."""

import shlex
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

import attrs
import typer
from platformdirs import user_state_path

from ..config import load_ledger_path
from ..errors import LedgerError
from ..ledger import Ledger, Standing

DEFAULT_NAME: Final = "replay-identity.db"


@attrs.frozen
class LedgerFile:
    """The file of the ledger, and the options that lead to it.

    Attributes:
        path: The file.
        options: What a command needs to be told to find it, and the backends, again.
        delivery: What `deliver` needs to be told besides, to do as this command did.
    """

    path: Path
    options: Sequence[str] = ()
    delivery: Sequence[str] = ()

    def open(self) -> Ledger:
        """Open the ledger, which is made if it does not exist; so is the default's folder, for its owner alone."""
        if self.path == default_path():
            try:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                problem = f"has a folder that cannot be made: {error.strerror}"
                raise LedgerError(str(self.path), problem, "use --ledger") from None
        return Ledger(self.path)

    def open_existing(self) -> Ledger:
        """Open the ledger, which must exist."""
        if not self.path.exists():
            hint = "`replay-identity sync` makes it; --ledger names another one"
            raise LedgerError(str(self.path), "does not exist", hint)
        return Ledger(self.path)

    def command(self, name: str, *options: str) -> str:
        """Return a command on this ledger, as it can be pasted into a shell."""
        return shlex.join(["replay-identity", name, *self.options, *options])

    def deliver_command(self, *options: str) -> str:
        """Return the command that sends what is due, as it can be pasted into a shell."""
        return self.command("deliver", *self.delivery, *options)


def chosen_ledger(
    ledger: Path | None, settings: Path | None, *, to: Collection[str] = (), adapt: bool = False
) -> LedgerFile:
    """Return the ledger's file: what the option or the environment says, else the settings file, else the default."""
    options = () if settings is None else ("--settings", str(settings))
    delivery = (*(word for name in to for word in ("--to", name)), *(("--adapt",) if adapt else ()))
    if ledger is not None:
        return LedgerFile(ledger, (*options, "--ledger", str(ledger)), delivery)
    return LedgerFile(load_ledger_path(settings) or default_path(), options, delivery)


def existing_ledger(path: Path) -> AbstractContextManager[Ledger | None]:
    """Return the ledger, or None where there is none: a dry run makes no file."""
    return Ledger(path) if path.exists() else nullcontext()


def default_path() -> Path:
    """Return the ledger's file in the user's state folder."""
    return user_state_path("replay-identity", appauthor=False) / DEFAULT_NAME


def chosen_standings(ledger: Ledger, to: Collection[str]) -> Sequence[Standing]:
    """Return how users stand at the backends named in *to*, or at all that the ledger knows if it is empty."""
    standings = ledger.standings()
    known = [standing.backend for standing in standings]
    if any(name not in known for name in to):
        raise typer.BadParameter(f"the ledger knows no backend of that name; there are {', '.join(known)}")
    return [standing for standing in standings if not to or standing.backend in to]
