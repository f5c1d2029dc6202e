"""Many exchanges at once, run by one thread."""

import random
import threading
import time
from collections.abc import Callable, Generator
from heapq import heappop, heappush
from typing import Any

import attrs

from ..adapters.exchange import AFTER_SLEEP, Exchange, Request, Response, T
from ..retry import RetryPolicy
from .attempts import STOPPED, Action, Attempts, Send
from .rate_limiter import AdaptiveLimiter
from .senders import ConcurrentSender


@attrs.define(eq=False)
class _InFlight:
    """One exchange under way, who is told its result, and its last request with the moment at which it was sent."""

    steps: Generator[Action, Response, Any]
    on_done: Callable[[Any], None]
    request: Request = attrs.field(init=False)
    sent_at: float = attrs.field(init=False)


@attrs.define(order=True)
class _Scheduled:
    """A flight that goes on at a moment: it sends, or it is told that its pause is over."""

    moment: float
    number: int
    flight: _InFlight = attrs.field(order=False)
    send: Send | None = attrs.field(order=False)


class ConcurrentTransport:
    """Run many exchanges at once from one thread, as fast as a pace allows.

    Args:
        sender: What sends.
        limiter: How fast, which learns from every reply.
        retry: How often and how soon to try again.
        timeout: Seconds that one attempt may take.
        clock: Seconds since some fixed moment.
    """

    def __init__(
        self,
        sender: ConcurrentSender,
        limiter: AdaptiveLimiter,
        *,
        retry: RetryPolicy,
        timeout: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limiter = limiter
        self.in_flight = 0
        self._sender = sender
        self._attempts = Attempts(retry, timeout, clock=clock)
        self._clock = clock
        self._tickets = 0
        self._sent: dict[int, _InFlight] = {}
        self._waiting: list[_Scheduled] = []
        self._woken = threading.Event()
        self._stopped = False

    def submit(self, exchange: Exchange[T], on_done: Callable[[T], None]) -> None:
        """Begin *exchange*; `poll` calls *on_done* with its result. Call from the thread that advances."""
        self.in_flight += 1
        self._go_on(_InFlight(self._attempts.run_steps(exchange), on_done), None)

    def poll(self, timeout: float) -> int:
        """Take in replies and ended pauses, wait at most *timeout* seconds for the first one, and count the replies."""
        self._send_due()
        if self._waiting:
            timeout = min(timeout, max(0.0, self._waiting[0].moment - self._clock()))
        if not self._sent:
            self._woken.wait(timeout)
            self._woken.clear()
            return 0
        responses = self._sender.completed(timeout)
        now = self._clock()
        for request_id, response in responses:
            flight = self._sent.pop(request_id)
            failed, jitter = flight.request.is_retryable(response), random.random()  # noqa: S311  # Nobody's secret.
            self.limiter.record_response(response, is_failure=failed, sent_at=flight.sent_at, now=now, jitter=jitter)
            self._go_on(flight, response)
        return len(responses)

    def wake(self) -> None:
        """Have `poll` return soon if nothing is under way; from any thread."""
        self._woken.set()

    def stop(self) -> None:
        """Send nothing more and cut every pause short; what was sent already is still waited for."""
        self._stopped = True
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            self._go_on(one.flight, STOPPED)

    def close(self) -> None:
        """Free the connections; what is under way loses its answers."""
        self._sender.close()

    def _send_due(self) -> None:
        while self._waiting and self._waiting[0].moment <= (now := self._clock()):
            due = heappop(self._waiting)
            if due.send is None:
                self._go_on(due.flight, AFTER_SLEEP)
            elif self.limiter.slot_expired(due.moment, now):
                self._send_or_wait(due.flight, due.send)
            else:
                self._send(due.flight, due.send, now)

    def _go_on(self, flight: _InFlight, response: Response | None) -> None:
        """Take *flight* as far as it goes without waiting."""
        while True:
            try:
                step = next(flight.steps) if response is None else flight.steps.send(response)
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
        if not isinstance(step, Send):
            self._wait(self._clock() + step.seconds, flight, None)
            return
        self._send_or_wait(flight, step)

    def _send_or_wait(self, flight: _InFlight, send: Send) -> None:
        now = self._clock()
        moment = self.limiter.reserve(now)
        if moment > now:
            self._wait(moment, flight, send)
        else:
            self._send(flight, send, now)

    def _send(self, flight: _InFlight, send: Send, now: float) -> None:
        self._tickets += 1
        flight.request, flight.sent_at = send.request, now
        self._sent[self._tickets] = flight
        self._sender.submit(self._tickets, send.request, send.timeout)

    def _wait(self, moment: float, flight: _InFlight, send: Send | None) -> None:
        self._tickets += 1
        heappush(self._waiting, _Scheduled(moment, self._tickets, flight, send))
