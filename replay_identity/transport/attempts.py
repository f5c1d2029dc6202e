"""Retries and deadlines of one exchange, without any I/O."""

import logging
import time
import uuid
from collections.abc import Callable, Generator
from random import SystemRandom
from typing import Final, TypeAlias

import attrs

from .._records import fast_frozen
from ..adapters.exchange import Exchange, NoResponse, Request, Response, Sleep, T
from ..retry import RetryBudget, RetryPolicy

_logger = logging.getLogger("replay_identity.transport")


@fast_frozen
class Send:
    """Make one attempt.

    Attributes:
        request: The request to send.
        timeout: Seconds to wait for its response.
    """

    request: Request
    timeout: float


# What a runner does next. It answers a Send with the response, and a Sleep with AFTER_SLEEP. Once it is closed, it
# does neither and answers with STOPPED.
Action: TypeAlias = Send | Sleep
STOPPED: Final = Response(0, no_response=NoResponse.CLOSED)
_ACTIONS: Final = (Request, Sleep)
# Not Python's shared generator: an application may have seeded that, and forked processes would inherit its state.
_random: Final = SystemRandom().random


def _random_key() -> str:
    return str(uuid.uuid4())


@attrs.define
class Attempts:
    """Turn an exchange into single attempts and pauses, for blocking and async runners alike.

    Attributes:
        retry: How often and how soon to retry.
        timeout: Seconds that one attempt may take.
        budget: Token bucket that all retries of one backend draw on.
        clock: Returns the seconds since a fixed moment.
        jitter: Returns a random number in [0, 1).
        new_key: Generates a random idempotency key. Never derive it from the content: sending a, b, a is three
            operations.
    """

    retry: RetryPolicy = attrs.field(factory=RetryPolicy)
    timeout: float = 30.0
    budget: RetryBudget = attrs.field(factory=RetryBudget)
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = _random
    new_key: Callable[[], str] = _random_key

    def run_steps(self, exchange: Exchange[T], deadline: float | None = None) -> Generator[Action, Response, T]:
        """Yield the actions that *exchange* needs and return its result.

        Args:
            exchange: An adapter's generator, not yet started.
            deadline: Moment on the clock after which nothing is sent; the retry policy's `total` applies as well.
        """
        end = self.clock() + self.retry.total
        if deadline is not None:
            end = min(end, deadline)
        response: Response | None = None
        while True:
            try:
                action = next(exchange) if response is None else exchange.send(response)
                if not isinstance(action, _ACTIONS):  # pyright: ignore[reportUnnecessaryIsInstance]
                    # Raised inside the exchange, where `isolate_errors` catches the adapter's mistakes.
                    action = exchange.throw(TypeError("an exchange must yield Request or Sleep"))
            except StopIteration as stop:
                result: T = stop.value
                return result
            if isinstance(action, Sleep):
                response = yield action
                # The adapter asked for this pause, so it does not count towards the total time for retries.
                end += action.seconds if deadline is None else 0.0
            else:
                response = yield from self._attempts(action, end)

    def _attempts(self, request: Request, end: float) -> Generator[Action, Response, Response]:
        """Yield the attempts of one request and the waits between them; return the final response."""
        keyed = self._with_key(request)
        self.budget.refill()
        uncertain, attempt = False, 0
        while True:
            attempt += 1
            remaining = end - self.clock()
            if remaining <= 0:
                return Response(0, no_response=NoResponse.DEADLINE_PASSED, uncertain=uncertain)
            response = yield Send(keyed, min(self.timeout, remaining))
            if response.is_success:
                return response
            uncertain = uncertain or response.may_have_applied
            delay = self._delay(attempt, keyed, response, end)
            if delay is None:
                break
            _logger.info(
                "%s: attempt %d failed: %s; next attempt in %.1f s", request.operation, attempt, response.cause, delay
            )
            resumed = yield Sleep(delay)
            if resumed is STOPPED:
                break
            if response.status in request.spent_key_statuses and not request.creates:
                keyed = self._with_key(request)
        return attrs.evolve(response, uncertain=True) if uncertain else response

    def _delay(self, attempt: int, request: Request, response: Response, end: float) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up."""
        if not request.is_retryable(response):
            return None
        delay = self.retry.delay(attempt, retry_after=response.retry_after, jitter=self.jitter())
        if delay is None or self.clock() + delay >= end or not self.budget.take():
            return None
        return delay

    def _with_key(self, request: Request) -> Request:
        header = request.idempotency_header
        if header is None or header in request.headers:
            return request
        return attrs.evolve(request, headers={**request.headers, header: self.new_key()})
