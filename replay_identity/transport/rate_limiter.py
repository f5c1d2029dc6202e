"""Arithmetic of an adaptive concurrency limit, a request quota and a backoff, without a clock of its own."""

from typing import Final

import attrs

from ..adapters.exchange import Response
from ..errors import check_positive
from ..retry import Backoff

_MINUTE_S: Final = 60.0
# Stay 1 % under the quota: the vendor counts arrivals, not departures.
_SPACING: Final = 1.01
# After a delay on our side, at most 0.1 s of missed slots are used later, and a slot expires after 0.2 s. Anything more
# would bunch requests up and exceed the quota of some minute.
_MAX_CATCH_UP_S: Final = 0.1
_MAX_LATENESS_S: Final = 0.2
# A vendor near its limit: latency is three times the best we saw, and 0.25 s more than that.
_SLOW_FACTOR: Final = 3.0
_SLOW_MARGIN_S: Final = 0.25
# Weight of one response in the average latency, and growth of the best latency per response, which lets it age.
_LATENCY_WEIGHT: Final = 0.1
_BEST_LATENCY_GROWTH: Final = 1.001
# To wake up and look at all connections costs as much processor time as several users, so a few responses wait for
# others: for this share of the average latency, within these bounds in seconds (benchmarks/run.py --only logrocket).
# They do not if they belong to this share of the requests, which is more than such a wait brings from an even flow.
_GATHER_SHARE: Final = 1 / 12
_MIN_GATHER_S: Final = 0.0005
_MAX_GATHER_S: Final = 0.005
_GATHERED_SHARE: Final = 1 / 6


# Validators run for the settings only: the state changes with every response.
@attrs.define(on_setattr=attrs.setters.NO_OP)
class AdaptiveLimiter:
    """Limit how fast one vendor is called: additive increase, multiplicative decrease, never more than the quota.

    All moments are in seconds on one clock, which the caller reads.

    Attributes:
        connections: Maximum number of requests in flight.
        requests_per_minute: Maximum number of requests in any minute, or None for no quota.
        wait_initial: Maximum wait in seconds after the first failure without Retry-After; it doubles with each failure.
        wait_max: Maximum of that wait in seconds. A Retry-After is honoured however long it is.
        window: Number of requests that may be in flight now.
        resume_at: Moment before which nothing may be sent.
        failing_since: Moment of the first failure since the last success, or None.
        failing_for: Seconds between the first and the last failure since the last success.
        failure: Cause of the last failure, or None after a success.
        is_answered: True if the last response was not a failure by itself.
    """

    connections: int = attrs.field(default=64, validator=check_positive)
    requests_per_minute: float | None = attrs.field(default=None, validator=check_positive)
    wait_initial: float = 0.5
    wait_max: float = 30.0
    window: float = attrs.field(init=False)
    resume_at: float = attrs.field(default=0.0, init=False)
    failing_since: float | None = attrs.field(default=None, init=False)
    failing_for: float = attrs.field(default=0.0, init=False)
    failure: str | None = attrs.field(default=None, init=False)
    is_answered: bool = attrs.field(default=True, init=False)
    _backoff: Backoff = attrs.field(init=False)
    _max_wait: float = attrs.field(default=0.0, init=False)
    # True after a successful response with an unusable result: from then on only a usable result is a success.
    _needs_result: bool = attrs.field(default=False, init=False)
    # Moment at which the request of the last response was sent.
    _sent_at: float = attrs.field(default=0.0, init=False)
    _slot: float = attrs.field(default=float("-inf"), init=False)
    # True until the first reduction: the window grows by one per response, as in TCP's slow start.
    _is_slow_start: bool = attrs.field(default=True, init=False)
    _reduced_at: float = attrs.field(default=0.0, init=False)
    _latency: float = attrs.field(default=0.0, init=False)
    _best_latency: float = attrs.field(default=float("inf"), init=False)

    def __attrs_post_init__(self) -> None:
        self.window = float(min(8, self.connections))
        self._backoff = Backoff(self.wait_initial, self.wait_max)

    def allows(self, in_flight: int) -> bool:
        """Return True if another request may be sent while *in_flight* requests have no response yet."""
        return in_flight < int(self.window)

    def reserve(self, now: float) -> float:
        """Reserve the next slot and return the moment at which its request may be sent."""
        moment = max(now, self.resume_at)
        if self.requests_per_minute is None:
            return moment
        gap = _MINUTE_S / self.requests_per_minute * _SPACING
        self._slot = max(self._slot + gap, moment - _MAX_CATCH_UP_S)
        return max(self._slot, moment)

    def slot_expired(self, slot: float, now: float) -> bool:
        """Return True if *slot* can no longer be used: the vendor asked for a pause since, or we are too late."""
        return self.resume_at > now or (self.requests_per_minute is not None and now > slot + _MAX_LATENESS_S)

    def gather_time(self, *, received: int, in_flight: int) -> float:
        """Return the seconds to wait for more responses before those that have arrived are processed.

        Args:
            received: Number of responses that have arrived.
            in_flight: Number of requests sent whose responses have not been processed.
        """
        seconds = min(self._latency * _GATHER_SHARE, _MAX_GATHER_S)
        is_worthwhile = 0 < received < in_flight * _GATHERED_SHARE and seconds >= _MIN_GATHER_S
        return seconds if is_worthwhile else 0.0

    def record_response(
        self, response: Response, *, is_failure: bool, sent_at: float, now: float, jitter: float
    ) -> None:
        """Adjust the window and the backoff to *response*.

        Args:
            response: What came back, or why nothing did.
            is_failure: Whether the request is worth retrying; see `Request.is_retryable`.
            sent_at: Moment at which the request was sent.
            now: Moment at which the response arrived.
            jitter: A number in [0, 1) drawn by the caller.
        """
        self.is_answered, self._sent_at = not is_failure, sent_at
        if is_failure:
            self._record_failure(response.cause, response.retry_after or 0.0, now, jitter)
        elif not self._needs_result:
            self._end_failures()
            self._adapt_window(sent_at, now)

    def record_result(self, failure: str | None, *, now: float, jitter: float) -> None:
        """Adjust the window and the backoff to the result of an exchange whose last response was just recorded.

        A successful response whose result is unusable, such as a login page, is a failure, too.

        Args:
            failure: Why the result is unusable, or None.
            now: Moment at which the response arrived.
            jitter: A number in [0, 1) drawn by the caller.
        """
        if not self.is_answered:
            return  # The response was recorded as a failure.
        self._needs_result = failure is not None
        if failure is None:
            self._end_failures()
        else:
            self._record_failure(failure, 0.0, now, jitter)

    def _record_failure(self, cause: str, min_wait: float, now: float, jitter: float) -> None:
        if self.failing_since is None:
            self.failing_since = now
        self.failing_for = now - self.failing_since
        # Requests sent before the last reduction say nothing about the reduced window.
        is_news = self._sent_at >= self._reduced_at
        if is_news or self.failure is None:
            self._max_wait = self._backoff.next()
        if is_news:
            self._reduce(0.5, now)
        self.failure = cause
        self.resume_at = max(self.resume_at, now + max(self._max_wait * jitter, min_wait))

    def _end_failures(self) -> None:
        if self.failure is not None:
            self._backoff.reset()
            self.failing_since, self.failing_for, self.failure = None, 0.0, None

    def _adapt_window(self, sent_at: float, now: float) -> None:
        latency = now - sent_at
        best = self._best_latency = min(self._best_latency * _BEST_LATENCY_GROWTH, latency)
        self._latency += (latency - self._latency) * (_LATENCY_WEIGHT if self._latency else 1.0)
        if self._latency > best * _SLOW_FACTOR and self._latency > best + _SLOW_MARGIN_S:
            if sent_at >= self._reduced_at:
                self._reduce(0.9, now)
            return
        if self.window < self.connections:
            step = 1.0 if self._is_slow_start else 1.0 / self.window
            self.window = min(float(self.connections), self.window + step)

    def _reduce(self, factor: float, now: float) -> None:
        self.window = max(1.0, self.window * factor)
        self._is_slow_start = False
        self._reduced_at = now
