"""A vendor that has had enough."""

import math
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import attrs

Clock: TypeAlias = Callable[[], float]


@attrs.frozen(kw_only=True)
class RateLimit:
    """At most so many requests in any span of so many seconds."""

    requests: int
    seconds: float = 1.0
    says_when: bool = True
    """Whether the 429 carries Retry-After."""


@attrs.define(kw_only=True)
class Limiter:
    """Counts requests against a limit, by a clock that is handed in."""

    limit: RateLimit | None
    clock: Clock = attrs.field(repr=False)
    _admitted: deque[float] = attrs.field(init=False, factory=deque[float])

    def admit(self) -> int | None:
        """Return None for a request within the limit, else the whole seconds until the next may come."""
        if self.limit is None:
            return None

        now = self.clock()
        while self._admitted and self._admitted[0] <= now - self.limit.seconds:
            self._admitted.popleft()

        # Policy: a refused request does not count, since no vendor documents a penalty for it.
        if len(self._admitted) < self.limit.requests:
            self._admitted.append(now)
            return None

        oldest = self._admitted[0] if self._admitted else now
        return max(1, math.ceil(oldest + self.limit.seconds - now))

    def clear(self) -> None:
        """Forget what was counted."""
        self._admitted.clear()
