"""When to retry: pure arithmetic, without a clock, a sleep or a random number of its own."""

import attrs

from .errors import check_positive


@attrs.frozen
class RetryPolicy:
    """How often, and how soon, a request is retried.

    Attributes:
        attempts: Maximum number of attempts of one request, including the first.
        wait_initial: Maximum of the first wait in seconds; it doubles with each attempt.
        wait_max: Maximum of any wait in seconds; if the vendor asks for more, the request is not retried.
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
class Backoff:
    """Delays in seconds, each twice the one before.

    Attributes:
        initial: The first delay.
        maximum: The maximum delay.
    """

    initial: float
    maximum: float
    _last: float | None = attrs.field(default=None, init=False)

    def next(self) -> float:
        """Return the next delay."""
        self._last = min(self.maximum, self.initial if self._last is None else 2 * self._last)
        return self._last

    def reset(self) -> None:
        """Start again with the first delay."""
        self._last = None


@attrs.define
class RetryBudget:
    """A token bucket of retries for one backend, so that an outage does not multiply the load.

    Every request adds a fraction of a token, and every retry takes a whole one: while a vendor is down, about one
    request in ten is retried, however many requests there are. There is no lock; a race costs a fraction of a token.

    Attributes:
        size: Tokens at first, and the maximum.
        deposit: Fraction of a token that each new request adds.
    """

    size: float = 20.0
    deposit: float = 0.1
    _tokens: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._tokens = self.size

    def refill(self) -> None:
        """Add the deposit of one new request."""
        if self._tokens < self.size:
            self._tokens = min(self.size, self._tokens + self.deposit)

    def take(self) -> bool:
        """Take one token and return True, or return False if there is none."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
