"""Running an exchange by hand: an adapter does no I/O, so its test feeds it replies."""

from typing import TypeVar

from replay_identity.adapters.exchange import Exchange, Request, Response, Sleep

T = TypeVar("T")


def run(exchange: Exchange[T], *responses: Response) -> tuple[T, list[Request]]:
    """Answer *exchange* with *responses* in turn; return its result and what it asked, all replies used up."""
    requests: list[Request] = []
    left = list(responses)
    response: Response | None = None
    while True:
        try:
            action = next(exchange) if response is None else exchange.send(response)
        except StopIteration as stop:
            assert not left, "the exchange ended before its last reply"
            result: T = stop.value
            return result, requests
        assert not isinstance(action, Sleep)
        requests.append(action)
        response = left.pop(0)
