"""What becomes of users once they were sent: settled at once, or later, or the end of the run."""

from collections.abc import Callable, Sequence
from functools import partial

import attrs

from ..exchange import Exchange, Pause
from ..ledger import Claim
from ..outcome import Misconfigured, Outcome, Unavailable, Unknown
from ..transport import ManyTransport
from .outbox import Outbox


@attrs.define
class Landing:
    """Settle users who were sent.

    Attributes:
        outbox: Who is told what became of them.
        transport: What has sent them.
        on_problem: Is told the answer that leaves no hope for this run: the settings are wrong.
        wait: Seconds before a user is sent again whom the vendor put off in an answer that is no failure.
        is_hopeless: Whether the settings are wrong, so that nobody else is to be sent.
    """

    outbox: Outbox
    transport: ManyTransport
    on_problem: Callable[[Outcome], None]
    wait: float
    is_hopeless: bool = attrs.field(default=False, init=False)
    _put_off_now: int = attrs.field(default=0, init=False)

    def land(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> None:
        """Settle *claims*, which one exchange was about, each with its own outcome."""
        # After a failed request the pace waits before the next one, but not after one that answered.
        has_answered = self.transport.pace.failure is None
        put_off: list[tuple[Claim, Unavailable]] = []
        problem: Misconfigured | None = None
        for claim, outcome in zip(claims, outcomes, strict=True):
            if has_answered and isinstance(outcome, Unavailable):
                put_off.append((claim, outcome))
                continue
            self.outbox.settle(claim, outcome)
            if isinstance(outcome, Misconfigured):
                problem = outcome
        if put_off:
            self._put_off(put_off)
        if problem is not None:
            self.is_hopeless = True
            self.on_problem(problem)

    def waits_for(self) -> str:
        """Say what is being waited for, if it is worth saying."""
        count = self._put_off_now
        users = "1 user" if count == 1 else f"{count:,} users"
        return f"{users} whom the vendor put off" if count else ""

    def _put_off(self, users: Sequence[tuple[Claim, Unavailable]]) -> None:
        """Settle *users* after a while; they count as without an answer, so that no run sends them for ever."""
        seconds = max(self.wait, *(outcome.retry_after or 0.0 for _, outcome in users))
        self._put_off_now += len(users)
        self.transport.start(_pause(seconds), partial(self._let_go, users))

    def _let_go(self, users: Sequence[tuple[Claim, Unavailable]], _result: None) -> None:
        self._put_off_now -= len(users)
        for claim, outcome in users:
            self.outbox.settle(claim, Unknown(outcome.backend, outcome.cause))


def _pause(seconds: float) -> Exchange[None]:
    yield Pause(seconds)
