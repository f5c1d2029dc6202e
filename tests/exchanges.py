"""Running an exchange by hand: an adapter does no I/O, so its test feeds it replies."""

from typing import TypeVar

from replay_identity.adapters.exchange import Exchange, Pause, Reply, Request

T = TypeVar("T")


def run(exchange: Exchange[T], *replies: Reply) -> tuple[T, list[Request]]:
    """Answer *exchange* with *replies* in turn; return its result and what it asked, all replies used up."""
    requests: list[Request] = []
    left = list(replies)
    reply: Reply | None = None
    while True:
        try:
            wish = next(exchange) if reply is None else exchange.send(reply)
        except StopIteration as stop:
            assert not left, "the exchange ended before its last reply"
            result: T = stop.value
            return result, requests
        assert not isinstance(wish, Pause)
        requests.append(wish)
        reply = left.pop(0)
