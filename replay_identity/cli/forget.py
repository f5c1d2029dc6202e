"""`replay-identity forget`."""

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from .. import deletion
from ..adapters.protocols import IdentityBackend, SupportsDelete, SupportsExclude
from ..config import Settings
from ..deletion import LEASE_TIMEOUT_S, DeletionReceipt, DeletionStatus
from ..ledger import Ledger
from ..outcomes import Misconfigured
from . import options
from .exit_codes import ExitCode
from .inputs import LedgerFile, resolve_ledger, resolve_settings
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
_INTERRUPTED: Final = "Interrupted. Some vendors may not have been asked; run the command again, which is always safe."


def forget_command(
    ctx: typer.Context,
    user_id: Annotated[str, typer.Argument(metavar="USER_ID", help="The user's id in your application.")],
    *,
    to: options.ToOption = None,
    yes: options.YesOption = False,
    settings: options.SettingsOption = None,
    ledger: options.LedgerOption = None,
    json: options.JsonOption = False,
) -> None:
    """Delete one user in the ledger and at every vendor, and print a receipt for each; ask for confirmation first."""
    if ctx.args:
        raise typer.BadParameter("expected one id; quote an id that contains spaces", param_hint="USER_ID")
    resolved = resolve_settings(settings, to=to)
    ledger_file = resolve_ledger(ledger, settings, to=to)
    with ledger_file.open_if_exists() as opened, interruptible(stderr_console(), _INTERRUPTED):
        if not yes:
            _confirm(resolved, opened, ledger_file)
        receipts = deletion.forget(
            user_id,
            resolved.backends,
            ledger=opened,
            retry=resolved.retry,
            timeout=resolved.timeout,
            on_wait=_print_wait,
        )
    if json:
        path = None if opened is None else opened.path
        print_json({"ledger": path, "receipts": [_receipt_as_dict(receipt) for receipt in receipts]})
    else:
        _print_receipts(receipts)
    _print_advice(receipts, ledger_file)
    raise typer.Exit(_exit_code(receipts))


def _confirm(settings: Settings, ledger: Ledger | None, ledger_file: LedgerFile) -> None:
    """Print what will be deleted, and ask for confirmation."""
    console = stderr_console()
    action = "does not exist, so there is nothing to delete" if ledger is None else "deletes everything about the user"
    console.print(f"{ledger_file.path}: {action}", soft_wrap=True)
    for backend in settings.backends:
        console.print(f"{backend.name}: {_action(backend)}", soft_wrap=True)
    confirm_or_exit()


def _action(backend: IdentityBackend) -> str:
    if isinstance(backend, SupportsDelete):
        return "deletes the user and all their sessions, irreversibly"
    if isinstance(backend, SupportsExclude):
        return "deletes all sessions of the user, irreversibly, and stops recording them until they are included again"
    return "cannot delete users; nothing is sent"


def _print_wait(backend: str) -> None:
    message = f"Waiting up to {LEASE_TIMEOUT_S:g} s for another process that delivers to {backend}."
    stderr_console().print(message, soft_wrap=True)


def _print_receipts(receipts: Sequence[DeletionReceipt]) -> None:
    table = new_table("", "Backend", "Receipt", "Explanation")
    for receipt in receipts:
        table.add_row(receipt.backend, receipt.status, receipt.detail, style=_STYLES[receipt.status])
    stdout_console().print(table)


def _receipt_as_dict(receipt: DeletionReceipt) -> dict[str, object]:
    return {
        "backend": receipt.backend,
        "status": receipt.status,
        "detail": receipt.detail,
        "retryable": receipt.retryable,
    }


def _print_advice(receipts: Sequence[DeletionReceipt], ledger_file: LedgerFile) -> None:
    console = stderr_console()
    if any(receipt.status == "postponed" for receipt in receipts):
        deliver = ledger_file.deliver_command()
        console.print(f"Nothing was sent. Run `{deliver}` first, then this command again.", soft_wrap=True)
        return
    if any(receipt.retryable for receipt in receipts):
        advice = "Some vendors may not have the request. Run the command again, which is always safe."
        console.print(advice, soft_wrap=True)
    console.print("A source that still contains the user brings them back at the next sync.", soft_wrap=True)


def _exit_code(receipts: Sequence[DeletionReceipt]) -> ExitCode:
    if any(isinstance(receipt.outcome, Misconfigured) for receipt in receipts):
        return ExitCode.SETTINGS
    if any(receipt.retryable for receipt in receipts):
        return ExitCode.PENDING
    return ExitCode.OK if all(receipt.is_done for receipt in receipts) else ExitCode.REJECTED
