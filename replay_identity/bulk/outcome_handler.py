"""What an outcome leads to: the user is settled, is sent later, or the run gives up on the backend."""

from collections.abc import Callable, Sequence

import attrs

from .._text import pluralize
from ..ledger import Claim
from ..outcomes import Accepted, Misconfigured, Outcome, Rejected, Unavailable, Unknown
from ..transport import ConcurrentTransport
from ..transport.rate_limiter import AdaptiveLimiter
from .options import DeliveryOptions
from .outbox import Outbox
from .unanswered import NoAnswer, UserBackoffs


@attrs.define
class OutcomeHandler:
    """Handle the outcomes of the users who are sent without a batch.

    Attributes:
        outbox: Where users are settled.
        transport: The transport that sent them.
        on_problem: Called with a `Misconfigured` outcome, which aborts this backend.
        options: How long users wait who got no usable answer.
        is_aborted: True once the settings turned out to be wrong.
    """

    outbox: Outbox
    transport: ConcurrentTransport
    on_problem: Callable[[Outcome], None]
    options: DeliveryOptions
    is_aborted: bool = attrs.field(default=False, init=False)
    _backoffs: UserBackoffs = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._backoffs = UserBackoffs(self.options.wait_initial, self.options.wait_max)

    def handle(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> None:
        """Handle the *outcomes* of the *claims* of one exchange."""
        record_answer(self.transport, outcomes)
        for claim, outcome in zip(claims, outcomes, strict=True):
            if isinstance(outcome, Unavailable | Unknown):
                self._send_later(claim, outcome)
            else:
                self._backoffs.forget((claim.row_id,))
                self.outbox.settle(claim, outcome)
        problem = next((outcome for outcome in outcomes if isinstance(outcome, Misconfigured)), None)
        if problem is not None:
            self.is_aborted = True
            self.on_problem(problem)

    def status_text(self) -> str:
        """Return how many users are sent later, or an empty string."""
        deferred = self.outbox.deferred()
        return f"{pluralize(deferred, 'user')} deferred" if deferred else ""

    def _send_later(self, claim: Claim, outcome: NoAnswer) -> None:
        """Send the user again: after a failed request the rate limiter waits, after any other the user does."""
        if not self.transport.limiter.is_answered:
            self.outbox.settle(claim, outcome)
        else:
            self.outbox.defer(claim, outcome, self._backoffs.next(claim.row_id, outcome))


def record_answer(transport: ConcurrentTransport, outcomes: Sequence[Outcome]) -> None:
    """Record at the rate limiter whether the exchange with these *outcomes* got any usable answer.

    A success that settles nobody, such as a login page, slows down the account like a 429.
    """
    unusable = [outcome for outcome in outcomes if isinstance(outcome, Unavailable | Unknown)]
    if any(isinstance(outcome, Accepted) or _is_vendor_rejection(outcome) for outcome in outcomes):
        transport.record_result(None)
    elif unusable:
        transport.record_result(unusable[0].cause)


def describe_outage(limiter: AdaptiveLimiter, patience: float) -> str | None:
    """Return why to give up on a backend that has only failed for *patience* seconds, or None."""
    if limiter.failure is None or limiter.failing_for <= patience:
        return None
    return f"no successful response for {patience:g} s; last failure: {limiter.failure}"


def describe_deferral(outbox: Outbox, patience: float) -> str | None:
    """Return why to end a run in which only users are left who are sent in more than *patience* seconds, or None."""
    deferrals = outbox.deferrals()
    if deferrals is None or deferrals.seconds <= patience:
        return None
    users = pluralize(deferrals.count, "user")
    return f"{users} deferred, the first one for {deferrals.seconds:.0f} s; last failure: {deferrals.cause}"


def _is_vendor_rejection(outcome: Outcome) -> bool:
    return isinstance(outcome, Rejected) and not outcome.violations
