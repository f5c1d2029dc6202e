"""Helpers that upsert users into a ledger and deliver them, as a backend does that sends only changed fields."""

from collections.abc import Callable, Collection
from datetime import date, datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from replay_identity import Accepted, Outcome, Skipped, UserTraits
from replay_identity._values import is_list, is_nested
from replay_identity.ledger import Account, Claim, Ledger, Settlement
from replay_identity.ledger.database import Database
from replay_identity.ledger.merging import drop_fields
from replay_identity.outcomes import Adjustment, SkipReason

A, B = "acme", "bolt"


def dropped(path: str) -> Adjustment:
    """Return the adjustment for a dropped field."""
    return Adjustment(path, "dropped", "value")


def accept(_: Claim) -> Outcome:
    """Return that the vendor accepted everything."""
    return Accepted(A)


def fields_of(user: UserTraits) -> dict[str, Any]:
    """Return the fields of *user* as a vendor knows them: name, email, and each outermost trait."""
    own = {name: value for name, value in (("name", user.name), ("email", user.email)) if value is not None}
    return {**own, **{f"traits.{name}": _plain(value) for name, value in user.traits.items()}}


def _plain(value: object) -> object:
    if is_nested(value):
        return {name: _plain(item) for name, item in value.items()}
    if is_list(value):
        return [_plain(item) for item in value]
    # JSON has no decimals, and no integers beyond 64 bits.
    return value if isinstance(value, str | bool | float | datetime | date | UUID) else str(value)


def only_changed(claim: Claim, changed: Collection[str] | None) -> UserTraits:
    """Return the user of *claim* with the *changed* fields alone; with all of them if it is None."""
    return claim.user if changed is None else drop_fields(claim.user, fields_of(claim.user).keys() - changed)


def deliver(
    ledger: Ledger, backend: str | Account = A, outcome_of: Callable[[Claim], Outcome] = accept
) -> list[UserTraits]:
    """Claim and settle every user pending at *backend*, and return what was sent; nothing of the unchanged ones."""
    sent: list[UserTraits] = []
    settlements: list[Settlement] = []
    for pending in ledger.claim(backend, limit=10_000):
        claim, changed = ledger.compare(pending, fields_of(pending.user))
        if changed is not None and not changed:
            settlements.append(settlement(claim, Skipped(A, SkipReason.UNCHANGED)))
        else:
            settlements.append(settlement(claim, outcome_of(claim)))
            sent.append(only_changed(claim, changed))
    ledger.settle(backend, settlements)
    return sent


def settlement(claim: Claim, outcome: Outcome, **more: Any) -> Settlement:
    """Return the settlement of *claim*, as an outbox makes it."""
    return Settlement(claim.row_id, claim.version, outcome, claim.fields, claim.in_doubt, **more)


def claim_one(ledger: Ledger, backend: str | Account = A) -> Claim:
    """Claim the only user pending at *backend*, and compare them with what it confirmed."""
    (claim,) = ledger.claim(backend)
    return ledger.compare(claim, fields_of(claim.user))[0]


def changed_fields(ledger: Ledger, claim: Claim) -> Collection[str] | None:
    """Return the names of the fields to send for *claim*; None if all of them."""
    return ledger.compare(claim, fields_of(claim.user))[1]


def settle(ledger: Ledger, claim: Claim, outcome: Outcome, backend: str | Account = A) -> bool:
    """Settle one claim, and return whether the user is no longer pending."""
    return claim.row_id in ledger.settle(backend, [settlement(claim, outcome)])


def database_of(ledger: Ledger) -> Database:
    """Return the SQLite database of *ledger*, which has no public name: only some tests look into the file."""
    database: Database = cast("Any", ledger)._store._database  # noqa: SLF001
    return database


def bytes_on_disk(path: Path) -> bytes:
    """Return the bytes of all the ledger's files."""
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
