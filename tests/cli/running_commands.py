"""What the tests of the command know of a run, and of the vendors it talked to."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs
import orjson

from replay_identity.emulator import FullstoryEmulator, LogRocketEmulator


@attrs.frozen
class Ran:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Return the last line on stdout as JSON."""
        return orjson.loads(self.out.splitlines()[-1])

    @property
    def lines(self) -> list[str]:
        """Return the lines on stdout with single spaces."""
        return [" ".join(line.split()) for line in self.out.splitlines()]


Run: TypeAlias = Callable[..., Ran]
Write: TypeAlias = Callable[[Sequence[object]], str]


@attrs.frozen
class Vendors:
    """Both emulators, and the environment that points at them."""

    fullstory: FullstoryEmulator
    logrocket: LogRocketEmulator
    environment: dict[str, str]
