"""One request per user, many at once."""

from collections.abc import Sequence
from functools import partial

import attrs

from ..guarding import guarded
from ..ledger import Claim
from ..outcome import Outcome
from ..route import Route
from ..transport import ManyTransport
from .landing import Landing
from .outbox import Outbox


@attrs.define
class Singles:
    """Send users one by one.

    Attributes:
        route: The backend, and what it may see.
        outbox: Who is to be sent.
        landing: What becomes of them then.
    """

    route: Route
    outbox: Outbox
    landing: Landing

    @property
    def transport(self) -> ManyTransport:
        """Return what sends."""
        return self.landing.transport

    def launch(self, *, is_last: bool) -> None:  # noqa: ARG002  # As `Batches`.
        """Start as many requests as may be in flight."""
        transport = self.transport
        while (
            not self.landing.is_hopeless
            and transport.pace.has_room(transport.in_flight)
            and (claim := self.outbox.next()) is not None
        ):
            transport.start(guarded(self.route.name, self.route.identify(claim.user)), partial(self._land, (claim,)))

    def waits_for(self) -> str:
        """Say what is being waited for, if it is worth saying."""
        return self.landing.waits_for()

    def _land(self, claims: Sequence[Claim], outcome: Outcome) -> None:
        self.landing.land(claims, (outcome,))
