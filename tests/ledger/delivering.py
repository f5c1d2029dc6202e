"""Users put into a ledger and delivered out of it, as the tests of the ledger do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from replay_identity import Accepted, Outcome, UserTraits
from replay_identity.ledger import Claim, Ledger, Settlement
from replay_identity.outcomes import Adjustment

A, B = "acme", "bolt"


def user(user_id: str = "u1", **traits: Any) -> UserTraits:
    """Return a user with an id and *traits*."""
    return UserTraits(user_id, traits=traits)


def dropped(path: str) -> Adjustment:
    """Return what is said of a field that the vendor did not get."""
    return Adjustment(path, "dropped", "value")


def taken(_: Claim) -> Outcome:
    """Return that the vendor took it all."""
    return Accepted(A)


def deliver(ledger: Ledger, backend: str = A, answer: Callable[[Claim], Outcome] = taken) -> list[UserTraits]:
    """Claim everyone due at *backend*, settle each with the *answer* to it, and return what was sent."""
    claims = ledger.claim(backend, count=10_000)
    ledger.settle(backend, [Settlement(claim.row_id, claim.version, answer(claim)) for claim in claims])
    return [claim.user for claim in claims]


def claim_one(ledger: Ledger, backend: str = A) -> Claim:
    """Claim the only user due at *backend*."""
    (claim,) = ledger.claim(backend)
    return claim


def settle(ledger: Ledger, claim: Claim, outcome: Outcome, backend: str = A) -> bool:
    """Settle one claim, and return whether the user is due no more because of it."""
    return claim.row_id in ledger.settle(backend, [Settlement(claim.row_id, claim.version, outcome)])


def bytes_on_disk(path: Path) -> bytes:
    """Return all that the ledger keeps in files, those beside it included."""
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
