"""`replay-identity explain`: what the ledger knows of one user."""

from collections.abc import Container, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import attrs
import orjson
import typer
from rich.console import Console
from rich.text import Text

from .. import bulk
from .._text import pluralize
from ..adapters.protocols import IdentityBackend
from ..bulk import AccountExplanation, DeliveryState, UserExplanation
from ..errors import ConfigurationError, printable
from ..outcomes import Broken, Outcome, Rejected, explain
from . import options
from .exit_codes import ExitCode
from .inputs import resolve_ledger, resolve_settings
from .ledger import select_counts
from .tables import Cells, by_title, new_table, print_id_rules, print_lines, print_table
from .terminal import print_json, stderr_console, stdout_console

_STYLES: Final[Mapping[DeliveryState, str]] = {
    DeliveryState.CONFIRMED: "green",
    DeliveryState.PENDING: "magenta",
    DeliveryState.DEFERRED: "magenta",
    DeliveryState.IN_JOB: "magenta",
    DeliveryState.REJECTED: "red",
    DeliveryState.NOT_SENT: "dim",
}
# One user has few fields, and all that differ are worth a line.
_MAX_FIELDS: Final = 200


def explain_command(
    ctx: typer.Context,
    user_id: Annotated[str, typer.Argument(metavar="USER_ID", help="The user's id in your application.")],
    *,
    to: options.ToOption = None,
    adapt: options.AdaptOption = False,
    show_values: Annotated[
        bool, typer.Option("--show-values", help="Show the values of the fields to send, while the ledger has them.")
    ] = False,
    settings: options.SettingsOption = None,
    ledger: options.LedgerOption = None,
    json: options.JsonOption = False,
) -> None:
    """Show what is confirmed, pending or rejected of one user, and which fields differ; contact no vendor."""
    if ctx.args:
        raise typer.BadParameter("expected one id; quote an id that contains spaces", param_hint="USER_ID")
    ledger_file = resolve_ledger(ledger, settings)
    backends = _backends(settings, adapt=adapt)
    with ledger_file.open_existing() as opened:
        names = {counts.backend for counts in select_counts(opened, to or ()).values()}
        explanation = bulk.explain(user_id, backends, ledger=opened)
    if explanation is not None:
        accounts = tuple(account for account in explanation.accounts if account.status.backend in names)
        explanation = attrs.evolve(explanation, accounts=accounts)
    if json:
        known = {} if explanation is None else explanation.as_dict(show_values=show_values)
        document: dict[str, Any] = {"known": explanation is not None, "has_values": False, "accounts": [], **known}
        print_json({"ledger": str(ledger_file.path), "user_id": user_id, **document})
    elif explanation is None:
        stdout_console().print(f"The ledger {ledger_file.path} does not know this user.", soft_wrap=True)
    else:
        _print_explanation(stdout_console(), user_id, explanation, show_values=show_values)
        _print_notes(stderr_console(), explanation, {backend.name for backend in backends}, show_values=show_values)
    raise typer.Exit(ExitCode.REJECTED if explanation is None else ExitCode.OK)


def _backends(settings: Path | None, *, adapt: bool) -> Sequence[IdentityBackend]:
    """Return the backends in the settings, also without keys; none if the settings cannot be used."""
    try:
        return resolve_settings(settings, adapt=adapt, offline=True).backends
    except ConfigurationError as error:
        stderr_console().print(f"Fields are not compared: {error}", style="yellow", soft_wrap=True)
        return ()


def _print_explanation(console: Console, user_id: str, explanation: UserExplanation, *, show_values: bool) -> None:
    """Print the state at each account, then why the user was rejected, what was lost and what differs."""
    titles = by_title([account.status for account in explanation.accounts])
    accounts = dict(zip(titles, explanation.accounts, strict=True))
    table = new_table(printable(user_id), "Backend", "State", "Last confirmed", "Explanation")
    for title, account in accounts.items():
        table.add_row(
            Text(title, style="cyan"),
            Text(account.state, style=_STYLES[account.state]),
            _local_time(account.status.confirmed_at),
            "; ".join(_reasons(account)),
        )
    print_table(console, table)
    console.print()
    for title, account in accounts.items():
        _print_rejection(console, f"{title}: rejected", account.status.rejection)
        if account.status.rejection is None:
            _print_rejection(console, f"{title}: would be rejected", account.unsent)
        losses = [(loss.path, loss.kind, loss.rule) for loss in account.status.losses]
        print_lines(console, new_table(f"{title}: lost because of limits", "Field", "Change", "Rule"), losses)
        _print_differences(console, title, account.differences or {}, show_values=show_values)


def _reasons(account: AccountExplanation) -> list[str]:
    """Return what a person needs to know besides the state, as parts of a sentence."""
    status, differences = account.status, account.differences
    reasons = ["an import job in flight includes the user"] if status.in_job else []
    if account.state is DeliveryState.DEFERRED:
        reasons.append(f"sent again after {_local_time(status.not_before)}")
    if status.in_doubt:
        reasons.append("something was sent without an answer, so nothing counts as confirmed")
    if status.rejected_at is not None:
        reasons.append(f"rejected {_local_time(status.rejected_at)}")
    if differences is not None:
        differing = pluralize(len(differences), "field differs", "fields differ") if differences else "no field differs"
        reasons.append(differing)
    elif status.confirmed_fields:
        reasons.append(f"{pluralize(len(status.confirmed_fields), 'field')} confirmed")
    return reasons


def _print_rejection(console: Console, title: str, outcome: Outcome | None) -> None:
    if isinstance(outcome, Rejected) and outcome.violations:
        lines: list[Cells] = [
            (
                violation.path,
                violation.rule,
                "" if violation.limit is None else f"{violation.limit:,} {violation.unit}",
                "" if violation.actual is None else f"{violation.actual:,}",
            )
            for violation in outcome.violations
        ]
        print_lines(console, new_table(title, "Field", "Rule", "Maximum", "Actual"), lines, max_lines=_MAX_FIELDS)
        print_id_rules(console, outcome.backend, {violation.rule for violation in outcome.violations})
    elif isinstance(outcome, Rejected | Broken):
        console.print(f"{title}: {explain(outcome)}", soft_wrap=True)
        console.print()


def _print_differences(console: Console, title: str, differences: Mapping[str, Any], *, show_values: bool) -> None:
    lines: list[Cells] = [
        (printable(name), *((Text(orjson.dumps(value, default=str).decode()),) if show_values else ()))
        for name, value in differences.items()
    ]
    table = new_table(f"{title}: differs from what is confirmed", "Field", *(("Value",) if show_values else ()))
    print_lines(console, table, lines, max_lines=_MAX_FIELDS)


def _print_notes(
    console: Console, explanation: UserExplanation, configured: Container[str], *, show_values: bool
) -> None:
    """Print why fields or values are missing from the output."""
    if not explanation.has_values:
        if show_values:
            note = "The ledger has no values of this user: they are erased once every backend has accepted them."
            console.print(note, soft_wrap=True)
        return
    for backend in dict.fromkeys(account.status.backend for account in explanation.accounts):
        if backend not in configured:
            console.print(f"{backend} is not in the settings, so its fields are not compared.", soft_wrap=True)


def _local_time(seconds: float | None) -> str:
    """Return a moment in the time zone of this machine."""
    return "never" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC).astimezone():%Y-%m-%d %H:%M:%S %Z}"
