"""`replay-identity forget`."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeAlias, get_args

import typer
from rich.text import Text

from .. import deletion
from .._text import pluralize
from ..adapters.protocols import IdentityBackend, SupportsDelete, SupportsExclude
from ..config import Settings
from ..deletion import LEASE_TIMEOUT_S, DeletionReceipt, DeletionStatus
from ..ledger import Ledger
from ..outcomes import Misconfigured
from . import options
from .exit_codes import ExitCode
from .inputs import LedgerFile, resolve_ledger, resolve_settings
from .listed_users import ListedUser, list_users
from .progress import spinner
from .tables import format_count, new_table, print_lines, print_table
from .terminal import confirm_or_exit, interruptible, print_json, stderr_console, stdout_console

Receipts: TypeAlias = Sequence[DeletionReceipt]

_STYLES: Final[dict[DeletionStatus, str]] = {
    "requested": "green",
    "confirmed": "green",
    "unsupported": "yellow",
    "postponed": "magenta",
    "unknown": "magenta",
    "failed": "red",
}
# In the order in which they are listed.
_STATUSES: Final[Sequence[DeletionStatus]] = get_args(DeletionStatus)
_INTERRUPTED: Final = "Interrupted. Some vendors may not have been asked; run the command again, which is always safe."

UserIdsArgument: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="USER_ID...", help="The ids of the users in your application.")
]
FromOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="A file or URL with an id on each line, or with users in any format that `sync` reads; - for stdin.",
    ),
]
EmailsOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--email",
        metavar="ADDRESS",
        help="Delete everybody with this e-mail address at vendors that find users by it; can be repeated.",
    ),
]


@options.with_source_options
def forget_command(  # noqa: PLR0913  # One for each option.
    user_ids: UserIdsArgument = None,
    *,
    file: FromOption = None,
    source_options: options.SourceOptions,
    email: EmailsOption = None,
    to: options.ToOption = None,
    yes: options.YesOption = False,
    settings: options.SettingsOption = None,
    ledger: options.LedgerOption = None,
    json: options.JsonOption = False,
) -> None:
    """Delete users in the ledger and at every vendor, and print receipts; ask once for confirmation first."""
    if file == "-" and not yes:
        raise typer.BadParameter(
            "standard input is read for ids, so nobody can be asked; pass --yes", param_hint="--yes"
        )
    resolved = resolve_settings(settings, to=to)
    users = list_users(user_ids or (), file, source_options, email or ())
    ledger_file = resolve_ledger(ledger, settings, to=to)
    with ledger_file.open_if_exists() as opened, interruptible(stderr_console(), _INTERRUPTED):
        if not yes:
            _confirm(users, resolved, opened, ledger_file)
        receipts = _forget(users, resolved, opened)
    is_single = file is None and source_options.sql is None and not email and len(users) == 1
    if json:
        path = None if opened is None else opened.path
        document = _receipts_as_dict(receipts[0]) if is_single else _as_dict(users, receipts)
        print_json({"ledger": path, **document})
    elif is_single:
        _print_receipts(receipts[0])
    else:
        _print_counts(users, receipts)
    together = [receipt for given in receipts for receipt in given]
    _print_advice(together, ledger_file, is_single=is_single)
    raise typer.Exit(_exit_code(together))


def _forget(users: Sequence[ListedUser], settings: Settings, ledger: Ledger | None) -> Sequence[Receipts]:
    """Delete *users*, with a count of them on a terminal; if interrupted, print how many were deleted."""
    done = 0
    with spinner("users forgotten") as advance:

        def count(_: Receipts) -> None:
            nonlocal done
            done += 1
            advance()

        try:
            return deletion.forget_users(
                [user.user_id for user in users if user.user_id is not None],
                settings.backends,
                emails=[user.email for user in users if user.email is not None],
                ledger=ledger,
                retry=settings.retry,
                timeout=settings.timeout,
                on_wait=_print_wait,
                on_receipts=count,
            )
        except KeyboardInterrupt:
            if len(users) > 1:
                message = f"{done:,} of {pluralize(len(users), 'user')} were handled, in their order."
                stderr_console().print(message, soft_wrap=True)
            raise


def _confirm(users: Sequence[ListedUser], settings: Settings, ledger: Ledger | None, ledger_file: LedgerFile) -> None:
    """Print what will be deleted, and ask for confirmation."""
    console = stderr_console()
    ids = sum(user.user_id is not None for user in users)
    if ids:
        nothing = "does not exist, so there is nothing to delete"
        action = nothing if ledger is None else f"deletes everything about {_the_users(ids)}"
        console.print(f"{ledger_file.path}: {action}", soft_wrap=True)
        for backend in settings.backends:
            console.print(f"{backend.name}: {_action(backend, ids)}", soft_wrap=True)
    if emails := len(users) - ids:
        action = "finds users by their ids only, so nobody is deleted by an e-mail address"
        console.print(f"{ledger_file.path}: {action}", soft_wrap=True)
        for backend in settings.backends:
            console.print(f"{backend.name}: {_action_by_email(backend, emails)}", soft_wrap=True)
    confirm_or_exit()


def _the_users(count: int) -> str:
    return "the user" if count == 1 else pluralize(count, "user")


def _action(backend: IdentityBackend, count: int) -> str:
    users = _the_users(count)
    if isinstance(backend, SupportsDelete):
        return f"deletes {users} and all their sessions, irreversibly"
    if isinstance(backend, SupportsExclude):
        return _exclusion(users)
    return "cannot delete users; nothing is sent"


def _action_by_email(backend: IdentityBackend, count: int) -> str:
    if isinstance(backend, SupportsExclude):
        addresses = "the e-mail address" if count == 1 else f"one of {count:,} e-mail addresses"
        return _exclusion(f"everybody with {addresses}")
    return "cannot delete users by their e-mail address; nothing is sent"


def _exclusion(users: str) -> str:
    return f"deletes all sessions of {users}, irreversibly, and stops recording them until they are included again"


def _print_wait(backend: str) -> None:
    message = f"Waiting up to {LEASE_TIMEOUT_S:g} s for another process that delivers to {backend}."
    stderr_console().print(message, soft_wrap=True)


def _print_receipts(receipts: Receipts) -> None:
    table = new_table("", "Backend", "Receipt", "Explanation")
    for receipt in receipts:
        table.add_row(receipt.backend, receipt.status, receipt.detail, style=_STYLES[receipt.status])
    stdout_console().print(table)


def _print_counts(users: Sequence[ListedUser], receipts: Sequence[Receipts]) -> None:
    """Print how many receipts of each status each backend has, and who is not deleted, by their place in the list."""
    console = stdout_console()
    counts = _count(receipts)
    shown = [status for status in _STATUSES if any(backend[status] for backend in counts.values())]
    table = new_table(pluralize(len(users), "user"), "Backend", *(status.capitalize() for status in shown))
    for name, backend in counts.items():
        table.add_row(Text(name, style="cyan"), *(format_count(backend[each], _STYLES[each]) for each in shown))
    print_table(console, table)
    console.print()
    lines = [
        (user.place, receipt.backend, Text(receipt.status, style=_STYLES[receipt.status]), receipt.detail)
        for user, given in zip(users, receipts, strict=True)
        for receipt in given
        if not receipt.is_done
    ]
    print_lines(console, new_table("not deleted", "User", "Backend", "Receipt", "Explanation"), lines)


def _count(receipts: Sequence[Receipts]) -> dict[str, Counter[DeletionStatus]]:
    counts: dict[str, Counter[DeletionStatus]] = {}
    for given in receipts:
        for receipt in given:
            counts.setdefault(receipt.backend, Counter())[receipt.status] += 1
    return counts


def _as_dict(users: Sequence[ListedUser], receipts: Sequence[Receipts]) -> dict[str, Any]:
    return {
        "users": [
            {"place": user.place, **_receipts_as_dict(given)} for user, given in zip(users, receipts, strict=True)
        ],
        "counts": _count(receipts),
    }


def _receipts_as_dict(receipts: Receipts) -> dict[str, Any]:
    return {
        "receipts": [
            {
                "backend": receipt.backend,
                "status": receipt.status,
                "detail": receipt.detail,
                "retryable": receipt.retryable,
            }
            for receipt in receipts
        ]
    }


def _print_advice(receipts: Receipts, ledger_file: LedgerFile, *, is_single: bool) -> None:
    console = stderr_console()
    if any(receipt.status == "postponed" for receipt in receipts):
        what = "Nothing was sent" if is_single else "Nothing was sent about some users"
        deliver = ledger_file.deliver_command()
        console.print(f"{what}. Run `{deliver}` first, then this command again.", soft_wrap=True)
        return
    if any(receipt.retryable for receipt in receipts):
        advice = "Some vendors may not have the request. Run the command again, which is always safe."
        console.print(advice, soft_wrap=True)
    console.print(
        f"A source that still contains the user{'' if is_single else 's'} brings them back at the next sync.",
        soft_wrap=True,
    )


def _exit_code(receipts: Receipts) -> ExitCode:
    if any(isinstance(receipt.outcome, Misconfigured) for receipt in receipts):
        return ExitCode.SETTINGS
    if any(receipt.retryable for receipt in receipts):
        return ExitCode.PENDING
    return ExitCode.OK if all(receipt.is_done for receipt in receipts) else ExitCode.REJECTED
