"""Run many exchanges at once from one thread."""

import time
from collections.abc import Callable, Generator, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any

import attrs

from ..adapters.exchange import AFTER_SLEEP, Exchange, Request, Response, T
from ..retry import RetryPolicy
from .attempts import STOPPED, Action, Attempts, Send
from .rate_limiter import AdaptiveLimiter
from .senders import ConcurrentSender


@attrs.define(eq=False)
class _InFlight:
    """One submitted exchange, with its last request and the moment at which that was sent."""

    steps: Generator[Action, Response, Any]
    on_done: Callable[[Any], None]
    request: Request = attrs.field(init=False)
    sent_at: float = attrs.field(init=False)


@attrs.define(order=True)
class _Scheduled:
    """An exchange that resumes at *moment*: with a request to send, or after a pause."""

    moment: float
    number: int
    flight: _InFlight = attrs.field(order=False)
    send: Send | None = attrs.field(order=False)


class ConcurrentTransport:
    """Run many exchanges at once, as fast as a rate limiter allows; not to be shared between threads.

    Args:
        sender: HTTP client to send over.
        limiter: Rate limiter, which adapts to every response.
        retry: How often and how soon to retry.
        timeout: Seconds that one attempt may take.
        clock: Returns the seconds since a fixed moment.
        sleep: Waits for some seconds while no request is in flight.

    Attributes:
        limiter: The rate limiter.
        in_flight: Number of exchanges that were submitted and have not ended.
    """

    def __init__(
        self,
        sender: ConcurrentSender,
        limiter: AdaptiveLimiter,
        *,
        retry: RetryPolicy,
        timeout: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.limiter = limiter
        self.in_flight = 0
        self._sender = sender
        self._attempts = Attempts(retry, timeout, clock=clock)
        self._clock = clock
        self._sleep = sleep
        # Request ids, and the order of exchanges that resume at the same moment.
        self._numbers = count(1)
        self._sent: dict[int, _InFlight] = {}
        self._scheduled: list[_Scheduled] = []
        self._stopped = False

    def submit(self, exchange: Exchange[T], on_done: Callable[[T], None]) -> None:
        """Start *exchange*; `poll` passes its result to *on_done*. Call this from the thread that polls."""
        self.in_flight += 1
        self._resume(_InFlight(self._attempts.run_steps(exchange), on_done), None)

    def poll(self, timeout: float) -> int:
        """Process responses and ended pauses, and return the number of responses.

        Args:
            timeout: Maximum seconds to wait for the first of them.
        """
        self._run_scheduled()
        if self._scheduled:
            timeout = min(timeout, max(0.0, self._scheduled[0].moment - self._clock()))
        if not self._sent:
            self._sleep(timeout)
            return 0
        responses = self._gather(self._sender.completed(timeout))
        now = self._clock()
        for request_id, response in responses:
            flight = self._sent.pop(request_id)
            failed, jitter = flight.request.is_retryable(response), self._attempts.jitter()
            self.limiter.record_response(response, is_failure=failed, sent_at=flight.sent_at, now=now, jitter=jitter)
            self._resume(flight, response)
        return len(responses)

    def _gather(self, responses: Sequence[tuple[int, Response]]) -> Sequence[tuple[int, Response]]:
        """Wait for more if *responses* are few, so that many share one wake-up."""
        seconds = self.limiter.gather_time(received=len(responses), in_flight=len(self._sent))
        if not seconds:
            return responses
        self._sleep(seconds)
        return [*responses, *self._sender.completed(0.0)]

    def record_result(self, failure: str | None) -> None:
        """Record whether the exchange that has just ended got a usable result: None, or why not."""
        self.limiter.record_result(failure, now=self._clock(), jitter=self._attempts.jitter())

    def stop(self) -> None:
        """Send nothing more and end every pause; `poll` still processes the responses to what was sent."""
        self._stopped = True
        scheduled, self._scheduled = self._scheduled, []
        for item in scheduled:
            self._resume(item.flight, STOPPED)

    def close(self) -> None:
        """Free the connections and discard the responses to requests in flight."""
        self._sender.close()

    def _run_scheduled(self) -> None:
        while self._scheduled and self._scheduled[0].moment <= (now := self._clock()):
            item = heappop(self._scheduled)
            if item.send is None:
                self._resume(item.flight, AFTER_SLEEP)
            elif self.limiter.slot_expired(item.moment, now):
                self._send_when_allowed(item.flight, item.send)
            else:
                self._send(item.flight, item.send, now)

    def _resume(self, flight: _InFlight, response: Response | None) -> None:
        """Pass *response* to the exchange and carry out its next action."""
        while True:
            try:
                action = next(flight.steps) if response is None else flight.steps.send(response)
            except StopIteration as stop:
                self.in_flight -= 1
                flight.on_done(stop.value)
                return
            except BaseException:
                self.in_flight -= 1
                raise
            if not self._stopped:
                break
            response = STOPPED
        if isinstance(action, Send):
            self._send_when_allowed(flight, action)
        else:
            self._schedule(self._clock() + action.seconds, flight, None)

    def _send_when_allowed(self, flight: _InFlight, send: Send) -> None:
        now = self._clock()
        moment = self.limiter.reserve(now)
        if moment > now:
            self._schedule(moment, flight, send)
        else:
            self._send(flight, send, now)

    def _send(self, flight: _InFlight, send: Send, now: float) -> None:
        request_id = next(self._numbers)
        flight.request, flight.sent_at = send.request, now
        self._sent[request_id] = flight
        self._sender.submit(request_id, send.request, send.timeout)

    def _schedule(self, moment: float, flight: _InFlight, send: Send | None) -> None:
        heappush(self._scheduled, _Scheduled(moment, next(self._numbers), flight, send))
