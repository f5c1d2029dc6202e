"""The life of an exchange: what to send, when to try again and when to give up, without any I/O of its own."""

import logging
import random
import time
import uuid
from collections.abc import Callable, Generator
from typing import Final, TypeAlias

import attrs

from .._records import fast_frozen
from ..adapters.exchange import Exchange, NoResponse, Request, Response, Sleep, T
from ..retry import RetryBudget, RetryPolicy

_logger = logging.getLogger("replay_identity.transport")


@fast_frozen
class Send:
    """One attempt to make: the *request*, and the seconds its answer may take."""

    request: Request
    timeout: float


# What a runner is asked to do; it answers with the reply, or after a pause with PAUSED, or STOPPED once closed.
Action: TypeAlias = Send | Sleep
STOPPED: Final = Response(0, no_response=NoResponse.STOPPED)
_ACTIONS: Final = (Request, Sleep)


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

    def run_steps(self, exchange: Exchange[T], deadline: float | None = None) -> Generator[Action, Response, T]:
        """Yield what to do for *exchange* and return its result.

        Args:
            exchange: The adapter's generator, not yet started.
            deadline: Moment on the clock after which nothing more is sent, beside the policy's own total.
        """
        end = self.clock() + self.retry.total
        if deadline is not None:
            end = min(end, deadline)
        response: Response | None = None
        while True:
            try:
                action = next(exchange) if response is None else exchange.send(response)
                if not isinstance(action, _ACTIONS):  # pyright: ignore[reportUnnecessaryIsInstance]
                    # The adapter's mistake is raised where whoever guards the exchange catches it.
                    action = exchange.throw(TypeError("an exchange yields requests and pauses"))
            except StopIteration as stop:
                result: T = stop.value
                return result
            if isinstance(action, Sleep):
                response = yield action
                # A pause is the adapter's wish, so it is not charged to the time for retries.
                end += action.seconds if deadline is None else 0.0
            else:
                response = yield from self._attempts(action, end)

    def _attempts(self, request: Request, end: float) -> Generator[Action, Response, Response]:
        """Yield the attempts of one request and the waits between them; return the reply to settle for."""
        keyed = self._with_key(request)
        self.budget.refill()
        uncertain, attempt = False, 0
        while True:
            attempt += 1
            left = end - self.clock()
            if left <= 0:
                return Response(0, no_response=NoResponse.OUT_OF_TIME, uncertain=uncertain)
            response = yield Send(keyed, min(self.timeout, left))
            if response.is_success:
                return response
            uncertain = uncertain or response.may_have_applied
            wait = self._wait(attempt, keyed, response, end)
            if wait is None:
                break
            _logger.info("%s: attempt %d: %s; next in %.1f s", request.operation, attempt, response.cause, wait)
            woken = yield Sleep(wait)
            if woken is STOPPED:
                break
            if response.status in request.spent_key_statuses and not request.creates:
                keyed = self._with_key(request)
        return attrs.evolve(response, uncertain=True) if uncertain else response

    def _wait(self, attempt: int, request: Request, response: Response, end: float) -> float | None:
        """Return the seconds to wait before the next attempt, or None to settle for *response*."""
        if not request.is_retryable(response):
            return None
        wait = self.retry.delay(attempt, retry_after=response.retry_after, jitter=self.jitter())
        if wait is None or self.clock() + wait >= end or not self.budget.take():
            return None
        return wait

    def _with_key(self, request: Request) -> Request:
        header = request.idempotency_header
        if header is None or header in request.headers:
            return request
        return attrs.evolve(request, headers={**request.headers, header: self.new_key()})
