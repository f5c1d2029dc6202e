"""When to try again: pure arithmetic, without a clock, a sleep or a die of its own."""

import attrs

from .errors import check_positive


@attrs.frozen
class RetryPolicy:
    """How often, and how soon, a request is sent again.

    Attributes:
        attempts: Most attempts of one request, the first included.
        wait_initial: Upper bound of the first wait, in seconds; it doubles with each attempt.
        wait_max: Upper bound of any wait, in seconds; a vendor that asks for more is given up on.
        total: Seconds after which no new attempt of the same exchange starts.
    """

    attempts: int = attrs.field(default=5, validator=check_positive)
    wait_initial: float = attrs.field(default=0.5, validator=check_positive)
    wait_max: float = attrs.field(default=30.0, validator=check_positive)
    total: float = attrs.field(default=120.0, validator=check_positive)

    def delay(self, attempt: int, *, retry_after: float | None, jitter: float) -> float | None:
        """Return the seconds to wait after failed *attempt*, or None to give up.

        Args:
            attempt: Number of the attempt that just failed, starting at 1.
            retry_after: Seconds the vendor asked for; a minimum, not a suggestion.
            jitter: A number in [0, 1) drawn by the caller.
        """
        if attempt >= self.attempts:
            return None

        # Full jitter, so that workers which failed together do not return together.
        wait = min(self.wait_max, self.wait_initial * 2.0 ** min(attempt - 1, 64)) * jitter
        if retry_after is None:
            return wait

        # Coming back early would only prolong the ban.
        return max(wait, retry_after) if retry_after <= self.wait_max else None


@attrs.define
class RetryBudget:
    """A purse of retries for one backend, so that an outage does not multiply the load.

    Every request pays in a part of a retry, every retry takes a whole one out: while a vendor is down, about one
    request in ten is retried, however many requests there are. The arithmetic is not locked; a lost race costs a
    fraction of a retry.

    Attributes:
        size: Retries in the purse at first, and at most.
        deposit: Part of a retry that each new request pays in.
    """

    size: float = 20.0
    deposit: float = 0.1
    _left: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._left = self.size

    def refill(self) -> None:
        """Count one new request."""
        if self._left < self.size:
            self._left = min(self.size, self._left + self.deposit)

    def take(self) -> bool:
        """Take one retry out and return True, or return False when the purse is empty."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
