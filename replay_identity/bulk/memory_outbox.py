"""Who is to be sent straight from the source, and what became of them: for runs without a ledger."""

from collections import Counter, deque
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Final

import attrs

from ..ledger import Claim
from ..outcomes import Accepted, Broken, Outcome, Rejected, Skipped, Unknown
from ..traits import UserTraits
from .outbox import MOST_UNKNOWN
from .report import BackendReport

# After these the same traits need not be sent again.
_FINAL: Final = (Accepted, Skipped, Rejected, Broken)


@attrs.define
class MemoryOutbox:
    """Claims straight from the source, which a crash loses: for runs without a ledger, which send no batches.

    Of several claims to one user, the next is handed out once the one before is done with, so that none is overtaken.

    Attributes:
        report: What is counted.
    """

    report: BackendReport
    _incoming: "SimpleQueue[Sequence[UserTraits]]" = attrs.field(
        factory=SimpleQueue["Sequence[UserTraits]"], init=False
    )
    _ready: deque[Claim] = attrs.field(factory=deque[Claim], init=False)
    # Further claims to each user who has one handed out, by id; None for nearly all.
    _further: dict[str, deque[Claim] | None] = attrs.field(factory=dict[str, deque[Claim] | None], init=False)
    _unknown: Counter[int] = attrs.field(factory=Counter[int], init=False)
    _row_ids: int = attrs.field(default=0, init=False)
    _abandoned: int = attrs.field(default=0, init=False)

    def put(self, users: Sequence[UserTraits]) -> None:
        """Take in *users*; from the thread that reads the source."""
        self.report.upserts.pending += len(users)
        self._incoming.put(users)

    def next(self) -> Claim | None:
        """Return somebody to send who is not under way, or None if there is nobody just now."""
        if not self._ready:
            self._take_in()
        return self._ready.popleft() if self._ready else None

    def settle(self, claim: Claim, outcome: Outcome) -> None:
        """Take note of what became of a claim."""
        if isinstance(outcome, _FINAL):
            self.report.add(outcome)
            if self._unknown:
                self._unknown.pop(claim.row_id, None)
            self._let_next(claim)
            return
        if isinstance(outcome, Unknown):
            self._unknown[claim.row_id] += 1
            # Sent again, an anonymous user could become two.
            if not outcome.retryable or self._unknown[claim.row_id] >= MOST_UNKNOWN:
                self._abandoned += 1
                self._let_next(claim)
                return
        self._ready.append(claim)

    def flush(self) -> None:
        """Do nothing: nothing is kept."""

    def tick(self, *, is_idle: bool) -> None:
        """Do nothing, as `flush`."""

    def tidy(self) -> None:
        """Do nothing, as `flush`."""

    def backlog(self) -> int:
        """Return how many users are not settled."""
        return self.pending()

    def is_empty(self) -> bool:
        """Tell whether nobody is left to be sent, now and under way."""
        return self.pending() <= self._abandoned

    def pending(self) -> int:
        """Return how many users are not settled."""
        return self.report.given - self.report.settled

    def _take_in(self) -> None:
        try:
            users = self._incoming.get_nowait()
        except Empty:
            return
        for row_id, user in enumerate(users, self._row_ids):
            claim = Claim(row_id, 0, user)
            if self._is_next(claim):
                self._ready.append(claim)
        self._row_ids += len(users)

    def _is_next(self, claim: Claim) -> bool:
        """Tell whether *claim* may be handed out; a further one to the same user waits."""
        who = self._who(claim.user)
        if who is None:
            return True
        if who not in self._further:
            self._further[who] = None
            return True
        further = self._further[who]
        if further is None:
            further = self._further[who] = deque()
        further.append(claim)
        return False

    def _let_next(self, claim: Claim) -> None:
        """Let the next claim to the same user go."""
        who = self._who(claim.user)
        if who is None:
            return
        if further := self._further[who]:
            self._ready.append(further.popleft())
        else:
            del self._further[who]

    def _who(self, user: UserTraits) -> str | None:
        """Return the id that the backend knows *user* by, or None for an anonymous one."""
        return user.vendor_ids.get(self.report.backend) if user.user_id is None else user.user_id
