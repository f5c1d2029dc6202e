"""A rate limit and the sliding window that enforces it."""

import math
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import attrs

Clock: TypeAlias = Callable[[], float]


@attrs.frozen(kw_only=True)
class RateLimit:
    """A maximum number of requests in any window of `seconds`.

    Attributes:
        requests: Maximum number of requests.
        seconds: Length of the window in seconds.
        sends_retry_after: Whether the 429 carries a Retry-After header.
    """

    requests: int
    seconds: float = 1.0
    sends_retry_after: bool = True


@attrs.define(kw_only=True)
class Limiter:
    """Counts requests in a sliding window."""

    limit: RateLimit | None
    clock: Clock = attrs.field(repr=False)
    _admitted: deque[float] = attrs.field(init=False, factory=deque[float])

    def admit(self) -> int | None:
        """Admit a request and return None, or return the whole seconds until the next one is admitted."""
        if self.limit is None:
            return None

        now = self.clock()
        while self._admitted and self._admitted[0] <= now - self.limit.seconds:
            self._admitted.popleft()

        # Policy: a rejected request does not count, since no vendor documents a penalty for it.
        if len(self._admitted) < self.limit.requests:
            self._admitted.append(now)
            return None

        oldest = self._admitted[0] if self._admitted else now
        return max(1, math.ceil(oldest + self.limit.seconds - now))

    def clear(self) -> None:
        """Reset the window."""
        self._admitted.clear()
