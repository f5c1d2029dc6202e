"""A transport that plays scripted responses, records requests and does not wait."""

from collections.abc import Callable, Iterable
from itertools import count

from ..adapters.exchange import NoResponse, Request, Response
from ..retry import RetryBudget, RetryPolicy
from ..transport import Attempts, Transport


class ScriptedTransport(Transport):
    """A `Transport` without a network: it plays responses in order, and only waiting advances its clock.

    Args:
        *responses: The responses, in order. After the last one *respond* is called; without it the last response is
            repeated. Without any response the vendor is unreachable.
        respond: Returns the response to a request once the script has ended.
        retry: The retry policy.

    Attributes:
        sender: The sender that plays the script; pass it to a `Router` as its ``transport``.
        waits: The waits so far, in seconds.
    """

    def __init__(
        self,
        *responses: Response,
        respond: Callable[[Request], Response] | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.sender = ScriptedSender(responses, respond)
        self.waits: list[float] = []
        attempts = Attempts(
            retry or RetryPolicy(),
            clock=self._now,
            jitter=lambda: 0.5,
            new_key=map("key-{}".format, count(1)).__next__,
            budget=RetryBudget(size=1e9),
        )
        super().__init__(self.sender, attempts=attempts, sleep=self.waits.append)

    @property
    def requests(self) -> list[Request]:
        """The requests that were sent, including retries, oldest first."""
        return self.sender.requests

    def add(self, *responses: Response) -> None:
        """Append *responses* to the script."""
        self.sender.add(responses)

    def _now(self) -> float:
        return sum(self.waits)


class ScriptedSender:
    """A `Sender` that plays scripted responses; see `ScriptedTransport`."""

    def __init__(self, responses: Iterable[Response], respond: Callable[[Request], Response] | None) -> None:
        self.requests: list[Request] = []
        self._responses = list(responses)
        self._respond = respond

    def send(self, request: Request, timeout: float) -> Response:  # noqa: ARG002  # The signature of `Sender`.
        """Record *request* and return the next response."""
        self.requests.append(request)
        if self._responses and (self._respond is not None or len(self._responses) > 1):
            return self._responses.pop(0)
        if self._respond is not None:
            return self._respond(request)
        return self._responses[0] if self._responses else Response(0, no_response=NoResponse.NOT_SENT)

    def add(self, responses: Iterable[Response]) -> None:
        """Append *responses* to the script."""
        self._responses.extend(responses)

    def close(self) -> None:
        """Do nothing: there are no connections."""
