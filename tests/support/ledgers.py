"""Helpers that upsert users into a ledger and deliver them."""

from collections.abc import Callable
from pathlib import Path

from replay_identity import Accepted, Outcome, UserTraits
from replay_identity.ledger import Claim, Ledger, Settlement
from replay_identity.outcomes import Adjustment

A, B = "acme", "bolt"


def dropped(path: str) -> Adjustment:
    """Return the adjustment for a dropped field."""
    return Adjustment(path, "dropped", "value")


def accept(_: Claim) -> Outcome:
    """Return that the vendor accepted everything."""
    return Accepted(A)


def deliver(ledger: Ledger, backend: str = A, outcome_of: Callable[[Claim], Outcome] = accept) -> list[UserTraits]:
    """Claim and settle every user pending at *backend*, and return what was sent."""
    claims = ledger.claim(backend, limit=10_000)
    ledger.settle(backend, [Settlement(claim.row_id, claim.version, outcome_of(claim)) for claim in claims])
    return [claim.user for claim in claims]


def claim_one(ledger: Ledger, backend: str = A) -> Claim:
    """Claim the only user pending at *backend*."""
    (claim,) = ledger.claim(backend)
    return claim


def settle(ledger: Ledger, claim: Claim, outcome: Outcome, backend: str = A) -> bool:
    """Settle one claim, and return whether the user is no longer pending."""
    return claim.row_id in ledger.settle(backend, [Settlement(claim.row_id, claim.version, outcome)])


def bytes_on_disk(path: Path) -> bytes:
    """Return the bytes of all the ledger's files."""
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
