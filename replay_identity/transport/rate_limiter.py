"""How many requests at once and how soon the next one: pure arithmetic, without a clock of its own."""

from typing import Final

import attrs

from ..adapters.exchange import Response
from ..errors import check_positive

_MINUTE: Final = 60.0
# Requests are spread a little wider than the quota asks, since the vendor counts when they arrive, not when they leave.
_SPREAD: Final = 1.01
# Seconds of the quota that may be caught up on at once after a delay of ours, and seconds that a request may leave
# late; what passes in the meantime is lost, since requests that bunch up would exceed the quota of some minute.
_CATCH_UP: Final = 0.1
_LATE: Final = 0.2
# A vendor this many times slower than it was at best is near its limit, if that is more than a moment.
_SLOWER: Final = 3.0
_MOMENT: Final = 0.25
# How much one answer counts in the average latency, and how fast the best one is forgotten.
_WEIGHT: Final = 0.1
_FORGETTING: Final = 1.001


# Only the settings are checked, when they are given; the rest changes with every answer.
@attrs.define(on_setattr=attrs.setters.NO_OP)
class AdaptiveLimiter:
    """How fast one vendor is asked: additive increase, multiplicative decrease, and never more than a quota.

    Every moment is in seconds on one clock, which the caller reads.

    Attributes:
        connections: Most requests in flight.
        requests_per_minute: Most requests in any minute, or None where no quota is known.
        wait_initial: Seconds to wait after a first failure that does not say how long; it doubles with each.
        wait_max: Most seconds to wait on our own accord; what the vendor asks for is waited for however long it is.
        window: How many requests may be in flight now.
        resume_at: Moment before which nothing may be sent.
        failures: Failures since the last success.
        failing_since: Moment of the first failure since the last success, or None.
        failing_for: Seconds between the first and the last failure since the last success.
        failure: The last failure, or None once there was a success.
    """

    connections: int = attrs.field(default=64, validator=check_positive)
    requests_per_minute: float | None = attrs.field(default=None, validator=check_positive)
    wait_initial: float = 0.5
    wait_max: float = 30.0
    window: float = attrs.field(init=False)
    resume_at: float = attrs.field(default=0.0, init=False)
    failures: int = attrs.field(default=0, init=False)
    failing_since: float | None = attrs.field(default=None, init=False)
    failing_for: float = attrs.field(default=0.0, init=False)
    failure: Response | None = attrs.field(default=None, init=False)
    _slot: float = attrs.field(default=float("-inf"), init=False)
    _is_exploring: bool = attrs.field(default=True, init=False)
    _reduced_at: float = attrs.field(default=0.0, init=False)
    _latency: float = attrs.field(default=0.0, init=False)
    _best: float = attrs.field(default=float("inf"), init=False)

    def __attrs_post_init__(self) -> None:
        self.window = float(min(8, self.connections))

    def allows(self, in_flight: int) -> bool:
        """Tell whether another request may be in flight beside so many."""
        return in_flight < int(self.window)

    def reserve(self, now: float) -> float:
        """Return the moment at which the next request may be sent, which is then taken."""
        moment = max(now, self.resume_at)
        if self.requests_per_minute is None:
            return moment
        gap = _MINUTE / self.requests_per_minute * _SPREAD
        self._slot = max(self._slot + gap, moment - _CATCH_UP)
        return max(self._slot, moment)

    def slot_expired(self, slot: float, now: float) -> bool:
        """Tell whether *slot* is gone: the vendor has asked for a break since, or we are too late for it."""
        return self.resume_at > now or (self.requests_per_minute is not None and now > slot + _LATE)

    def record_response(
        self, response: Response, *, is_failure: bool, sent_at: float, now: float, jitter: float
    ) -> None:
        """Learn from *response*.

        Args:
            response: What the vendor answered, or the lack of it.
            is_failure: Whether it may be answered otherwise later; see `Request.is_retryable`.
            sent_at: When the request was sent.
            now: When the reply came.
            jitter: A number in [0, 1) drawn by the caller.
        """
        if is_failure:
            self._slow_down(response, sent_at, now, jitter)
        else:
            self._speed_up(sent_at, now)

    def _slow_down(self, response: Response, sent_at: float, now: float, jitter: float) -> None:
        self.failure = response
        if self.failing_since is None:
            self.failing_since = now
        self.failing_for = now - self.failing_since
        # Requests that left before the last reduction say nothing about the window since.
        if sent_at >= self._reduced_at:
            self.failures += 1
            self._reduce(0.5, now)
        wait = min(self.wait_max, self.wait_initial * 2.0 ** min(self.failures - 1, 64)) * jitter
        self.resume_at = max(self.resume_at, now + max(wait, response.retry_after or 0.0))

    def _speed_up(self, sent_at: float, now: float) -> None:
        if self.failure is not None:
            self.failures, self.failing_since, self.failing_for, self.failure = 0, None, 0.0, None
        latency = now - sent_at
        self._best = min(self._best * _FORGETTING, latency)
        self._latency += (latency - self._latency) * (_WEIGHT if self._latency else 1.0)
        if self._latency > self._best * _SLOWER and self._latency > self._best + _MOMENT:
            if sent_at >= self._reduced_at:
                self._reduce(0.9, now)
            return
        if self.window < self.connections:
            step = 1.0 if self._is_exploring else 1.0 / self.window
            self.window = min(float(self.connections), self.window + step)

    def _reduce(self, factor: float, now: float) -> None:
        self.window = max(1.0, self.window * factor)
        self._is_exploring = False
        self._reduced_at = now
