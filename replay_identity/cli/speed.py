"""How fast something goes, without a clock of its own."""

from collections import deque
from typing import Final

import attrs

# Jobs end in bursts; a shorter while would jump between nothing and thousands.
_WHILE: Final = 30.0
# Less says nothing yet.
_SHORTEST: Final = 3.0


@attrs.define
class Speed:
    """How much a count grew over the last while; moments are in seconds on one clock, which the caller reads."""

    _marks: deque[tuple[float, int]] = attrs.field(factory=deque[tuple[float, int]], init=False)

    def mark(self, moment: float, count: int) -> None:
        """Take note of the *count* at a *moment*."""
        marks = self._marks
        marks.append((moment, count))
        while len(marks) > 1 and marks[1][0] <= moment - _WHILE:
            marks.popleft()

    @property
    def per_second(self) -> float | None:
        """Return the growth in a second, or None while it is too early to tell."""
        (begun, first), (ended, last) = self._marks[0], self._marks[-1]
        return (last - first) / (ended - begun) if ended - begun >= _SHORTEST else None
