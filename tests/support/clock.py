"""A clock that only tests and sleeping advance."""

import attrs


@attrs.define
class Clock:
    """A clock to pass as ``clock=``, with a `sleep` to pass as ``sleep=``.

    Attributes:
        now: Current time in seconds.
        slept: Length of each sleep in seconds.
    """

    now: float = 1_800_000_000.0
    slept: list[float] = attrs.field(factory=list[float])

    def __call__(self) -> float:
        """Return the current time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Advance the clock by *seconds*."""
        self.slept.append(seconds)
        self.now += seconds


@attrs.define
class Turns:
    """The stop signal of a delivery in which each turn of the loop takes some seconds.

    Attributes:
        clock: The clock of the delivery.
        seconds: Seconds that each turn takes.
        left: Number of turns after which the delivery is stopped.
        has_ended: Whether the source has ended.
    """

    clock: Clock
    seconds: float = 0.25
    left: int = 1_000_000
    has_ended: bool = True

    def is_complete(self) -> bool:
        """Let a turn pass, and return True if the source has ended."""
        self.clock.now += self.seconds
        self.left -= 1
        return self.has_ended

    def is_stopped(self) -> bool:
        """Return True once no turn is left."""
        return self.left <= 0
