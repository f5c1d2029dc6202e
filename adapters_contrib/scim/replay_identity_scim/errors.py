"""The one exception; what becomes of a write is an outcome instead."""

import attrs

from replay_identity import ReplayIdentityError
from replay_identity.adapters import Failure
from replay_identity.outcomes import explain


@attrs.frozen
class ListingError(ReplayIdentityError):
    """Say why seats or groups could not be listed, or not all of them.

    Attributes:
        outcome: Why, in the words that a write would be answered with.
    """

    outcome: Failure

    def __str__(self) -> str:
        return f"{self.outcome.backend}: {type(self.outcome).__name__}: {explain(self.outcome)}"
