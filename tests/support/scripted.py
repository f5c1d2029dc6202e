"""A sender that plays responses in order, on a clock that only sleeping and sending advance."""

import attrs
from support.clock import Clock

from replay_identity import RetryPolicy
from replay_identity.adapters import Exchange, Request, Response, Sleep
from replay_identity.transport import AsyncTransport, Attempts, Transport

REQUEST = Request("identify", "POST", "https://vendor.example/users", {"a": "b"}, b"{}", "idempotency-key")


def ask(request: Request = REQUEST) -> Exchange[Response]:
    """Send one request and return its response."""
    return (yield request)


def ask_twice_with_pause(seconds: float) -> Exchange[list[int]]:
    """Send two requests with a pause between them and return the status of each step."""
    first = yield REQUEST
    paused = yield Sleep(seconds)
    second = yield REQUEST
    return [first.status, paused.status, second.status]


@attrs.define
class Script:
    """A `Sender` that plays responses, without a network.

    Attributes:
        responses: The vendor's responses, in order; the last one repeats.
        seconds_per_send: Seconds until each response.
        clock: The clock of its transports.
        sent: The requests so far.
        timeouts: The timeout of each request.
    """

    responses: list[Response]
    seconds_per_send: float = 0.0
    clock: Clock = attrs.field(factory=lambda: Clock(1000.0))
    sent: list[Request] = attrs.field(factory=list[Request])
    timeouts: list[float] = attrs.field(factory=list[float])
    keys: int = 0
    closed: bool = False

    def send(self, request: Request, timeout: float) -> Response:
        """Play the next response."""
        self.sent.append(request)
        self.timeouts.append(timeout)
        self.clock.now += self.seconds_per_send
        return self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]

    def close(self) -> None:
        """Record the call."""
        self.closed = True

    def key(self) -> str:
        """Return the next idempotency key."""
        self.keys += 1
        return f"key-{self.keys}"

    def attempts(self, retry: RetryPolicy | None = None, timeout: float = 10.0) -> Attempts:
        """Return retry arithmetic with this clock and jitter 0.5."""
        return Attempts(retry or RetryPolicy(), timeout, clock=self.clock, jitter=lambda: 0.5, new_key=self.key)

    def transport(self, retry: RetryPolicy | None = None, timeout: float = 10.0) -> Transport:
        """Return a blocking transport over this script."""
        return Transport(self, attempts=self.attempts(retry, timeout), sleep=self.clock.sleep)

    def async_transport(self, retry: RetryPolicy | None = None, timeout: float = 10.0) -> AsyncTransport:
        """Return an asyncio transport over this script."""
        return AsyncTransport(AsyncScript(self), attempts=self.attempts(retry, timeout), sleep=AsyncScript(self).sleep)


@attrs.define
class AsyncScript:
    """The same script on asyncio."""

    script: Script

    async def send(self, request: Request, timeout: float) -> Response:  # noqa: ASYNC109  # As the protocol has it.
        """Play the next response."""
        return self.script.send(request, timeout)

    async def sleep(self, seconds: float) -> None:
        """Advance the clock."""
        self.script.clock.sleep(seconds)

    async def aclose(self) -> None:
        """Record the call."""
        self.script.close()
