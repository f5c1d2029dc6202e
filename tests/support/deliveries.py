"""The delivery to one backend on a fake clock, without threads."""

from typing import Any

import attrs
from support.clock import Clock, Turns
from support.users import users

from replay_identity import Route
from replay_identity.bulk import BackendReport, DeliveryOptions
from replay_identity.bulk.memory_outbox import MemoryOutbox
from replay_identity.bulk.outbox import LedgerOutbox
from replay_identity.bulk.worker import DeliveryLoop, make_limiter
from replay_identity.ledger import Account, Ledger


@attrs.define
class Delivery:
    """The delivery to one backend; each turn of its loop takes a quarter of a second.

    Patch ``_POLL_INTERVAL_S`` to zero, so that nothing waits for the real clock.

    Attributes:
        ledger: The ledger, or None.
        backend: The backend.
        sender: The concurrent sender.
        options: The delivery options.
        clock: The clock.
        turns: The stop signal.
    """

    ledger: Ledger | None
    backend: Any
    sender: Any
    options: DeliveryOptions = attrs.field(factory=DeliveryOptions)
    clock: Clock = attrs.field(factory=Clock)
    turns: Turns = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.turns = Turns(self.clock)

    def run(self, count: int = 0, **traits: Any) -> BackendReport:
        """Deliver *count* users with *traits*, and those pending in the ledger, and return the closed report."""
        report = BackendReport(self.backend.name)
        outbox = self._make_outbox(report)
        if isinstance(outbox, MemoryOutbox):
            outbox.enqueue(users(count, **traits))
        else:
            report.upserts.add(outbox.ledger.upsert(users(count, **traits), [report.backend])[report.backend])
        loop = DeliveryLoop(
            Route(self.backend),
            outbox,
            report,
            self.options,
            make_limiter(self.options),
            clock=self.clock,
            now=self.clock,
        )
        loop.run(self.sender, self.turns)
        report.close(outbox.pending(), outbox.unanswered())
        assert report.is_closed
        return report

    def _make_outbox(self, report: BackendReport) -> MemoryOutbox | LedgerOutbox:
        if self.ledger is None:
            return MemoryOutbox(report, clock=self.clock, now=self.clock)
        report.carried = self.ledger.pending_count(report.backend)
        return LedgerOutbox(self.ledger, Account(report.backend), report, clock=self.clock, now=self.clock)


class NoSender:
    """A sender that sends nothing, for backends without a network."""

    def submit(self, *_: object) -> None:
        """Do nothing."""

    def completed(self, _timeout: float) -> Any:
        """Return no responses."""
        return []

    def close(self) -> None:
        """Do nothing."""
