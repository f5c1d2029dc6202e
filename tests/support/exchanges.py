"""Run an exchange without a transport: the test supplies the responses."""

from typing import TypeVar

from replay_identity.adapters import Exchange, Request, Response, Sleep

T = TypeVar("T")


def run(exchange: Exchange[T], *responses: Response) -> tuple[T, list[Request]]:
    """Send *responses* to *exchange* in order, and return its result and its requests. All responses must be used."""
    requests: list[Request] = []
    remaining = list(responses)
    response: Response | None = None
    while True:
        try:
            action = next(exchange) if response is None else exchange.send(response)
        except StopIteration as stop:
            assert not remaining, "the exchange ended before the last response"
            result: T = stop.value
            return result, requests
        assert not isinstance(action, Sleep)
        requests.append(action)
        response = remaining.pop(0)
