"""Explain the state of one user: what each account has confirmed, what is pending or rejected, and what differs."""

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import attrs

from .._values import iso8601
from ..adapters.protocols import IdentityBackend
from ..ledger import Account, AccountStatus, Claim, Ledger
from ..outcomes import Outcome, Skipped, SkipReason, outcome_as_dict
from ..router import Route, as_routes
from .changes import ChangePlanner, Unsent
from .outbox import LedgerOutbox
from .report import BackendReport


class DeliveryState(StrEnum):
    """How far the desired state of a user has got at one account."""

    CONFIRMED = "confirmed"
    PENDING = "pending"
    DEFERRED = "deferred"
    IN_JOB = "in a job"
    REJECTED = "rejected"
    NOT_SENT = "not sent"


@attrs.frozen
class AccountExplanation:
    """The state of one user at one account.

    Attributes:
        state: How far the desired state has got.
        status: What the ledger knows.
        differences: Desired values of the fields that differ from what the vendor has confirmed, by the vendor's names.
            None if that is not known: the values are erased, there is no such backend, its adapter does not name its
            fields, or the user would not be sent.
        unsent: The outcome if the user were to be sent and needed no request, else None.
    """

    state: DeliveryState
    status: AccountStatus
    differences: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    unsent: Outcome | None = None

    def as_dict(self, *, show_values: bool = False) -> dict[str, Any]:
        """Return the explanation ready for JSON, without the values of fields unless they are asked for."""
        status, differences = self.status, self.differences
        document = {
            "backend": status.backend,
            "account": status.account,
            "state": self.state.value,
            "pending": status.pending,
            "not_before": _as_text(status.not_before),
            "in_doubt": status.in_doubt,
            "in_job": status.in_job,
            "confirmed_at": _as_text(status.confirmed_at),
            "confirmed_fields": list(status.confirmed_fields),
            "rejection": _outcome_as_dict(status.rejection),
            "rejected_at": _as_text(status.rejected_at),
            "losses": [attrs.asdict(loss) for loss in status.losses],
            "differing_fields": None if differences is None else list(differences),
            "unsent": _outcome_as_dict(self.unsent),
        }
        return {**document, "values": differences} if show_values else document


@attrs.frozen
class UserExplanation:
    """What a ledger knows of one user, and how that differs from what each vendor has confirmed.

    Attributes:
        accounts: One explanation for each account that the ledger was used for, the one used last at the end.
        has_values: True if the ledger still has the desired values; they are erased once every backend has accepted
            them.
    """

    accounts: tuple[AccountExplanation, ...]
    has_values: bool

    def as_dict(self, *, show_values: bool = False) -> dict[str, Any]:
        """Return the explanation ready for JSON, without the values of fields unless they are asked for."""
        accounts = [account.as_dict(show_values=show_values) for account in self.accounts]
        return {"has_values": self.has_values, "accounts": accounts}


def explain(user_id: str, backends: Iterable[IdentityBackend | Route], *, ledger: Ledger) -> UserExplanation | None:
    """Return the state of one user at each account, or None if the *ledger* does not know the user.

    Nothing is sent or changed. The keys of the *backends* are not used.

    Args:
        user_id: Your own id of the user.
        backends: Backends or routes, which encode the user for the comparison. There may be none.
        ledger: The ledger.

    Raises:
        InvalidTraitsError: The id is invalid.
        ConfigurationError: Two backends have the same name.
        LedgerError: The ledger cannot be read.
    """
    given = list(backends)
    routes = {route.name: route for route in as_routes(given)} if given else {}
    status = ledger.status_of(user_id)
    if status is None:
        return None
    now = time.time()
    return UserExplanation(
        tuple(
            _explain_account(
                ledger,
                account,
                status.claims.get((account.backend, account.account)),
                routes.get(account.backend),
                now,
            )
            for account in status.accounts
        ),
        has_values=status.desired is not None,
    )


def _explain_account(
    ledger: Ledger, status: AccountStatus, claim: Claim | None, route: Route | None, now: float
) -> AccountExplanation:
    state = _state(status, now)
    if claim is None or route is None:
        return AccountExplanation(state, status)
    outbox = LedgerOutbox(ledger, Account(status.backend, status.account), BackendReport(status.backend))
    change = ChangePlanner(route, outbox).change(claim)
    if isinstance(change, Unsent):
        is_same = change.outcome == Skipped(route.name, SkipReason.UNCHANGED)
        return AccountExplanation(state, status, {} if is_same else None, change.outcome)
    fields = None if change.plan is None else change.plan.fields
    if fields is None:
        return AccountExplanation(state, status)
    _, differing = ledger.compare(claim, fields)
    differences = {name: value for name, value in fields.items() if differing is None or name in differing}
    return AccountExplanation(state, status, differences)


def _state(status: AccountStatus, now: float) -> DeliveryState:
    if status.in_job:
        return DeliveryState.IN_JOB
    if status.pending:
        is_deferred = status.not_before is not None and status.not_before > now
        return DeliveryState.DEFERRED if is_deferred else DeliveryState.PENDING
    if status.rejection is not None:
        return DeliveryState.REJECTED
    return DeliveryState.NOT_SENT if status.confirmed_at is None else DeliveryState.CONFIRMED


def _as_text(seconds: float | None) -> str | None:
    return None if seconds is None else iso8601(datetime.fromtimestamp(seconds, UTC))


def _outcome_as_dict(outcome: Outcome | None) -> dict[str, Any] | None:
    return None if outcome is None else outcome_as_dict(outcome)
