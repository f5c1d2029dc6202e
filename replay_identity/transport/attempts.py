"""The life of an exchange: what to send, when to try again and when to give up, without any I/O of its own."""

import logging
import random
import time
import uuid
from collections.abc import Callable, Generator
from typing import Final, TypeAlias

import attrs

from .._records import record
from ..adapters.exchange import Exchange, Lost, Pause, Reply, Request, T
from ..retry import RetryBudget, RetryPolicy

_logger = logging.getLogger("replay_identity.transport")


@record
class Send:
    """One attempt to make: the *request*, and the seconds its answer may take."""

    request: Request
    timeout: float


# What a runner is asked to do; it answers with the reply, or after a pause with PAUSED, or STOPPED once closed.
Step: TypeAlias = Send | Pause
STOPPED: Final = Reply(0, lost=Lost.STOPPED)
_WISHES: Final = (Request, Pause)

# Fullstory keeps a 500 under the idempotency key and answers it again for 24 hours, so that key is spent
# (https://developer.fullstory.com/server/idempotent-requests, read 2026-11-21). Other failures keep their key.
REPLAYED_STATUS: Final = 500


def _random_key() -> str:
    return str(uuid.uuid4())


@attrs.define
class Attempts:
    """Turn exchanges into single attempts and waits, for a runner that blocks and for one that awaits.

    Attributes:
        retry: How often and how soon to try again.
        timeout: Seconds that one attempt may take.
        budget: The purse that all retries of one backend are paid from.
        clock: Seconds since some fixed moment.
        jitter: Draws a number in [0, 1).
        new_key: Draws an idempotency key, never from the content: a, b and a again are three operations.
    """

    retry: RetryPolicy = attrs.field(factory=RetryPolicy)
    timeout: float = 30.0
    budget: RetryBudget = attrs.field(factory=RetryBudget)
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random
    new_key: Callable[[], str] = _random_key

    def steps(self, exchange: Exchange[T], deadline: float | None = None) -> Generator[Step, Reply, T]:
        """Yield what to do for *exchange* and return its result.

        Args:
            exchange: The adapter's generator, not yet started.
            deadline: Moment on the clock after which nothing more is sent, beside the policy's own total.
        """
        end = self.clock() + self.retry.total
        if deadline is not None:
            end = min(end, deadline)
        reply: Reply | None = None
        while True:
            try:
                wish = next(exchange) if reply is None else exchange.send(reply)
                if not isinstance(wish, _WISHES):  # pyright: ignore[reportUnnecessaryIsInstance]
                    # The adapter's mistake is raised where whoever guards the exchange catches it.
                    wish = exchange.throw(TypeError("an exchange yields requests and pauses"))
            except StopIteration as stop:
                result: T = stop.value
                return result
            if isinstance(wish, Pause):
                reply = yield wish
                # A pause is the adapter's wish, so it is not charged to the time for retries.
                end += wish.seconds if deadline is None else 0.0
            else:
                reply = yield from self._tries(wish, end)

    def _tries(self, request: Request, end: float) -> Generator[Step, Reply, Reply]:
        """Yield the attempts of one request and the waits between them; return the reply to settle for."""
        keyed = self._with_key(request)
        self.budget.pay_in()
        uncertain, attempt = False, 0
        while True:
            attempt += 1
            left = end - self.clock()
            if left <= 0:
                return Reply(0, lost=Lost.OUT_OF_TIME, uncertain=uncertain)
            reply = yield Send(keyed, min(self.timeout, left))
            if reply.is_success:
                return reply
            uncertain = uncertain or reply.may_have_applied
            wait = self._wait(attempt, keyed, reply, end)
            if wait is None:
                break
            _logger.info("%s: attempt %d: %s; next in %.1f s", request.operation, attempt, reply.cause, wait)
            woken = yield Pause(wait)
            if woken is STOPPED:
                break
            if reply.status == REPLAYED_STATUS and not request.creates:
                keyed = self._with_key(request)
        return attrs.evolve(reply, uncertain=True) if uncertain else reply

    def _wait(self, attempt: int, request: Request, reply: Reply, end: float) -> float | None:
        """Return the seconds to wait before the next attempt, or None to settle for *reply*."""
        if not request.is_worth_retrying(reply):
            return None
        wait = self.retry.delay(attempt, retry_after=reply.retry_after, jitter=self.jitter())
        if wait is None or self.clock() + wait >= end or not self.budget.take():
            return None
        return wait

    def _with_key(self, request: Request) -> Request:
        header = request.idempotency_header
        if header is None or header in request.headers:
            return request
        return attrs.evolve(request, headers={**request.headers, header: self.new_key()})
