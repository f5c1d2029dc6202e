"""Exchanges played without a transport: the adapter asks, the test answers."""

from collections.abc import Callable, Iterable
from itertools import chain, repeat
from typing import Final

from ...exchange import PAUSED, Exchange, Pause, Reply, Request, T

# More requests than any exchange needs, at the same answer again and again.
_FOR_EVER: Final = 200


def play(exchange: Exchange[T], answer: Callable[[Request], Reply]) -> T:
    """Return what *exchange* makes of the answers, none of which is waited for.

    Raises:
        AssertionError: It asks for ever.
    """
    try:
        wish = next(exchange)
        for _ in range(_FOR_EVER):
            wish = exchange.send(PAUSED if isinstance(wish, Pause) else answer(wish))
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError(f"after {_FOR_EVER} answers the exchange still asks")


def one_after_another(replies: Iterable[Reply], then: Reply) -> Callable[[Request], Reply]:
    """Return what answers with the *replies* in their order, and with *then* for ever."""
    answers = chain(replies, repeat(then))
    return lambda _: next(answers)


def first_request(exchange: Exchange[T]) -> Request | T:
    """Return what *exchange* sends first, or its result if it sends nothing."""
    try:
        while True:
            wish = next(exchange)
            if isinstance(wish, Request):
                return wish
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        exchange.close()
