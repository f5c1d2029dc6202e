"""Helpers of the cases: a probe user, responses that echo a request, and a runner of exchanges."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

from ...adapters.exchange import AFTER_SLEEP, Exchange, Request, Response, Sleep, T
from ...traits import UserTraits

USER_ID: Final = "canary-id-4711"
USER: Final = UserTraits(
    USER_ID,
    name="Canary Finch",
    email="canary@example.com",
    traits={"plan": "canary-plan", "seats": 918273, "tags": ["canary-tag"]},
)
# Values that a vendor may quote from a request.
VALUES: Final = (USER_ID, "Canary Finch", "canary@example.com", "canary-plan", "918273")
_TELLTALES: Final = ("canary-id", "canary finch", "finch", "canary@", "canary-plan", "918273", "canary-tag")


def leaks_in(text: str, key: str) -> list[str]:
    """Return the parts of the probe user and of *key* that occur in *text*."""
    folded = text.lower()
    return [value for value in (*_TELLTALES, key.lower()) if value in folded]


def echoes(request: Request, key: str, values: Iterable[str] = VALUES) -> list[bytes]:
    """Return the bodies of responses that quote *request*, *key* and *values*."""
    body = request.body or b""
    quoted = f"cannot take {body.decode()} at {request.url} with {key}".encode()
    listed = ", ".join((*values, key))
    objects = [f'{{"{name}": "invalid: {listed}", "code": "bad_request"}}' for name in ("message", "error", "detail")]
    return [body, quoted, listed.encode(), *(text.encode() for text in objects)]


# The number of bodies that `echoes` returns.
ECHO_COUNT: Final = len(echoes(Request("quote", "GET", ""), ""))


# More requests than any exchange needs, even if every response is the same.
_MAX_REQUESTS: Final = 200


def play(exchange: Exchange[T], respond: Callable[[Request], Response]) -> T:
    """Return the result of *exchange* with the responses of *respond*, without waiting.

    Raises:
        AssertionError: The exchange never ends.
    """
    try:
        action = next(exchange)
        for _ in range(_MAX_REQUESTS):
            action = exchange.send(AFTER_SLEEP if isinstance(action, Sleep) else respond(action))
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError(f"the exchange has not ended after {_MAX_REQUESTS} responses")


def in_order(responses: Sequence[Response]) -> Callable[[Request], Response]:
    """Return a function that returns *responses* in order, and then repeats the last one."""
    script = chain(responses, repeat(responses[-1]))
    return lambda _: next(script)


def first_request(exchange: Exchange[T]) -> Request | T:
    """Return the first request of *exchange*, or its result if it sends none."""
    try:
        while True:
            action = next(exchange)
            if isinstance(action, Request):
                return action
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        exchange.close()


def for_all(*strategies: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that runs a property with many examples, as many as the Hypothesis profile says.

    It has no deadline, since a slow machine is not the adapter's fault.
    """

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        return settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])(given(*strategies)(check))

    return decorate
