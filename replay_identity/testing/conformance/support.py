"""A user whose every value would be noticed wherever it is shown."""

from collections.abc import Callable, Iterable
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
# What a vendor may quote of a request that says all of the user.
WORDS: Final = (USER_ID, "Canary Finch", "canary@example.com", "canary-plan", "918273")
_TELLING: Final = ("canary-id", "canary finch", "finch", "canary@", "canary-plan", "918273", "canary-tag")


def shown_in(shown: str, key: str) -> list[str]:
    """Return what of the user and of the *key* stands in what is *shown*."""
    folded = shown.lower()
    return [text for text in (*_TELLING, key.lower()) if text in folded]


def echoes(request: Request, key: str, words: Iterable[str] = WORDS) -> list[bytes]:
    """Return what a server says that quotes the *request*, its *key* and *words* that it was sent."""
    body = request.body or b""
    quoted = f"cannot take {body.decode()} at {request.url} with {key}".encode()
    listed = ", ".join((*words, key))
    objects = [f'{{"{name}": "invalid: {listed}", "code": "bad_request"}}' for name in ("message", "error", "detail")]
    return [body, quoted, listed.encode(), *(text.encode() for text in objects)]


# How many ways to quote a request there are.
ECHOES: Final = len(echoes(Request("quote", "GET", ""), ""))


# More requests than any exchange needs, at the same answer again and again.
_FOR_EVER: Final = 200


def play(exchange: Exchange[T], answer: Callable[[Request], Response]) -> T:
    """Return what *exchange* makes of the answers, none of which is waited for.

    Raises:
        AssertionError: It asks for ever.
    """
    try:
        action = next(exchange)
        for _ in range(_FOR_EVER):
            action = exchange.send(AFTER_SLEEP if isinstance(action, Sleep) else answer(action))
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError(f"after {_FOR_EVER} answers the exchange still asks")


def one_after_another(responses: Iterable[Response], then: Response) -> Callable[[Request], Response]:
    """Return what answers with the *responses* in their order, and with *then* for ever."""
    answers = chain(responses, repeat(then))
    return lambda _: next(answers)


def first_request(exchange: Exchange[T]) -> Request | T:
    """Return what *exchange* sends first, or its result if it sends nothing."""
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
    """Return what makes a law a test of many examples, as many as the author's own Hypothesis profile asks for.

    It may take its time, since a slow machine is no fault of the adapter's.
    """

    def tested(law: Callable[..., None]) -> Callable[..., None]:
        return settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])(given(*strategies)(law))

    return tested
