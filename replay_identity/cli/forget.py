"""`replay-identity forget`."""

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from ..adapters.protocols import IdentityBackend, SupportsDelete, SupportsExclude
from ..config import Settings
from ..deletion import PATIENCE, DeletionReceipt, DeletionStatus
from ..deletion import forget as forget_everywhere
from ..ledger import Ledger
from ..outcomes import Misconfigured
from . import options
from .exit_codes import ExitCode
from .inputs import LedgerFile, existing_ledger, resolve_ledger, resolve_settings
from .tables import new_table
from .terminal import confirm_or_exit, interruptible, print_json, stderr_console, stdout_console

_STYLES: Final[dict[DeletionStatus, str]] = {
    "requested": "green",
    "confirmed": "green",
    "unsupported": "yellow",
    "postponed": "magenta",
    "unknown": "magenta",
    "failed": "red",
}
_INTERRUPTED: Final = "Interrupted. Some vendors may not have been asked; run it again, which is always safe."


def forget(
    ctx: typer.Context,
    user_id: Annotated[str, typer.Argument(metavar="USER_ID", help="The application's own id of the user.")],
    *,
    to: options.ToOption = None,
    yes: options.YesOption = False,
    settings: options.SettingsOption = None,
    ledger: options.LedgerOption = None,
    json: options.JsonOption = False,
) -> None:
    """Have the ledger forget one user and every vendor delete them, with a receipt from each; it asks first."""
    if ctx.args:
        raise typer.BadParameter("give one; quote an id that holds spaces", param_hint="USER_ID")
    chosen = resolve_settings(settings, to=to or (), adapt=False)
    file = resolve_ledger(ledger, settings, to=to or ())
    with existing_ledger(file.path) as opened, interruptible(stderr_console(), _INTERRUPTED):
        if not yes:
            _ask_first(chosen, opened, file)
        receipts = forget_everywhere(
            user_id,
            chosen.backends,
            ledger=opened,
            retry=chosen.retry,
            timeout=chosen.timeout,
            on_wait=_tell_wait,
        )
    if json:
        path = None if opened is None else opened.path
        print_json({"ledger": path, "receipts": [_as_dict(receipt) for receipt in receipts]})
    else:
        _print_receipts(receipts)
    _tell_what_follows(receipts, file)
    raise typer.Exit(_code(receipts))


def _ask_first(chosen: Settings, ledger: Ledger | None, file: LedgerFile) -> None:
    """Tell what will be done, and go on only with a yes from a person."""
    console = stderr_console()
    what = "does not exist, so it has nothing to forget" if ledger is None else "forgets all about the user"
    console.print(f"{file.path}: {what}", soft_wrap=True)
    for backend in chosen.backends:
        console.print(f"{backend.name}: {_what_will_be_done(backend)}", soft_wrap=True)
    confirm_or_exit()


def _what_will_be_done(backend: IdentityBackend) -> str:
    if isinstance(backend, SupportsDelete):
        return "deletes the user with all sessions, irreversibly"
    if isinstance(backend, SupportsExclude):
        return "deletes all sessions of the user, irreversibly, and stops recording them until they are included again"
    return "has no way to delete a user; nothing is sent"


def _tell_wait(backend: str) -> None:
    stderr_console().print(
        f"Waiting for another process that delivers to {backend}, for {PATIENCE:g} s at most.", soft_wrap=True
    )


def _print_receipts(receipts: Sequence[DeletionReceipt]) -> None:
    table = new_table("", "Backend", "DeletionReceipt", "What it means")
    for receipt in receipts:
        table.add_row(receipt.backend, receipt.status, receipt.detail, style=_STYLES[receipt.status])
    stdout_console().print(table)


def _as_dict(receipt: DeletionReceipt) -> dict[str, object]:
    return {
        "backend": receipt.backend,
        "status": receipt.status,
        "detail": receipt.detail,
        "retryable": receipt.is_worth_repeating,
    }


def _tell_what_follows(receipts: Sequence[DeletionReceipt], file: LedgerFile) -> None:
    console = stderr_console()
    if any(receipt.status == "postponed" for receipt in receipts):
        console.print(f"Nothing was sent. Run it again after this: {file.deliver_command()}", soft_wrap=True)
        return
    if any(receipt.is_worth_repeating for receipt in receipts):
        console.print("Not every vendor is known to have it. Run it again, which is always safe.", soft_wrap=True)
    console.print("A source that still has the user brings them back at the next sync.", soft_wrap=True)


def _code(receipts: Sequence[DeletionReceipt]) -> ExitCode:
    if any(isinstance(receipt.outcome, Misconfigured) for receipt in receipts):
        return ExitCode.SETTINGS
    if any(receipt.is_worth_repeating for receipt in receipts):
        return ExitCode.PENDING
    return ExitCode.OK if all(receipt.is_done for receipt in receipts) else ExitCode.REFUSED
