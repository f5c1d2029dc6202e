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
