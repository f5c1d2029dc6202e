"""One request per user, many at once."""

from collections.abc import Callable
from functools import partial

import attrs

from ..guarding import guarded
from ..ledger import Claim
from ..outcome import Misconfigured, Outcome
from ..route import Route
from ..transport import ManyTransport
from .outbox import Outbox


@attrs.define
class Singles:
    """Send users one by one.

    Attributes:
        route: The backend, and what it may see.
        outbox: Who is to be sent.
        transport: What sends.
        on_problem: Is told the answer that leaves no hope for this run: the settings are wrong.
    """

    route: Route
    outbox: Outbox
    transport: ManyTransport
    on_problem: Callable[[Outcome], None]
    _is_hopeless: bool = attrs.field(default=False, init=False)

    def launch(self, *, is_last: bool) -> None:  # noqa: ARG002  # As `Batches`.
        """Start as many requests as may be in flight."""
        pace = self.transport.pace
        while (
            not self._is_hopeless
            and pace.has_room(self.transport.in_flight)
            and (claim := self.outbox.next()) is not None
        ):
            self.transport.start(guarded(self.route.name, self.route.identify(claim.user)), partial(self._land, claim))

    def waits_for(self) -> str:
        """Say what is being waited for, if it is worth saying."""
        return ""

    def _land(self, claim: Claim, outcome: Outcome) -> None:
        self.outbox.settle(claim, outcome)
        if isinstance(outcome, Misconfigured):
            self._is_hopeless = True
            self.on_problem(outcome)
