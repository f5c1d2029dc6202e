"""A transport whose vendor is a script: answers in order, waits that take no time, and all that was sent."""

from collections.abc import Callable, Iterable
from itertools import count

from ..adapters.exchange import NoResponse, Request, Response
from ..retry import RetryBudget, RetryPolicy
from ..transport import Attempts, Transport


class ScriptedSender:
    """A `Sender` that plays answers; see `ScriptedTransport`."""

    def __init__(self, responses: Iterable[Response], answer: Callable[[Request], Response] | None) -> None:
        self.requests: list[Request] = []
        self._replies = list(responses)
        self._answer = answer

    def send(self, request: Request, timeout: float) -> Response:  # noqa: ARG002  # As `Sender` has it.
        """Play the next answer."""
        self.requests.append(request)
        if self._replies and (self._answer is not None or len(self._replies) > 1):
            return self._replies.pop(0)
        if self._answer is not None:
            return self._answer(request)
        return self._replies[0] if self._replies else Response(0, no_response=NoResponse.NOT_SENT)

    def add(self, responses: Iterable[Response]) -> None:
        """Play *responses* after those that are left."""
        self._replies.extend(responses)

    def close(self) -> None:
        """Do nothing: there are no connections."""


class ScriptedTransport(Transport):
    """A `Transport` that sends nothing: it plays answers in order, and its clock moves by waiting alone.

    Args:
        *responses: The responses, in order. After them *answer* is called; without it the last response is repeated,
            and without any the vendor cannot be reached.
        answer: Answers what no reply is left for.
        retry: How often and how soon to try again.

    Attributes:
        sender: What plays the answers; pass it to a `Router` as its ``client``.
        waits: The waits that were asked for, in seconds.
    """

    def __init__(
        self,
        *responses: Response,
        answer: Callable[[Request], Response] | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.sender = ScriptedSender(responses, answer)
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
        """The requests that were sent, retries among them, oldest first."""
        return self.sender.requests

    def answer(self, *responses: Response) -> None:
        """Answer the next requests with *responses*, after those that are left."""
        self.sender.add(responses)

    def _now(self) -> float:
        return sum(self.waits)
