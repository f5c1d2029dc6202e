"""Both emulated vendors over HTTP, with the backends and the environment to reach them."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import attrs

from replay_identity import Fullstory, LogRocket
from replay_identity.emulator import Fault, FullstoryEmulator, LogRocketEmulator, running

FULLSTORY_KEY: Final = "na1.emulator"
LOGROCKET_KEY: Final = "acme:shop:emulator"


@attrs.frozen
class Vendors:
    """Both emulators, and the backends for them."""

    fullstory: FullstoryEmulator
    logrocket: LogRocketEmulator
    fullstory_backend: Fullstory
    logrocket_backend: LogRocket

    @property
    def backends(self) -> tuple[Fullstory, LogRocket]:
        """Return both backends."""
        return self.fullstory_backend, self.logrocket_backend

    @property
    def emulators(self) -> tuple[FullstoryEmulator, LogRocketEmulator]:
        """Return both emulators, in the order of the backends."""
        return self.fullstory, self.logrocket

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables with which commands reach both emulators."""
        return {
            "FULLSTORY_BASE_URL": self.fullstory_backend.base_url or "",
            "FULLSTORY_API_KEY": FULLSTORY_KEY,
            "LOGROCKET_BASE_URL": self.logrocket_backend.base_url or "",
            "LOGROCKET_API_KEY": LOGROCKET_KEY,
        }

    def inject(self, fault: Fault) -> None:
        """Inject *fault* at both vendors."""
        for emulator in self.emulators:
            emulator.faults.add(fault)

    def clear_faults(self) -> None:
        """Clear the faults of both vendors."""
        for emulator in self.emulators:
            emulator.faults.clear()

    def reset(self) -> None:
        """Delete the users, requests and faults of both emulators."""
        for emulator in self.emulators:
            emulator.reset()


@contextmanager
def running_vendors(
    fullstory: FullstoryEmulator | None = None,
    logrocket: LogRocketEmulator | None = None,
    *,
    keys: tuple[str, str] = (FULLSTORY_KEY, LOGROCKET_KEY),
) -> Generator[Vendors, None, None]:
    """Run both emulators; those passed, or new ones."""
    fullstory, logrocket = fullstory or FullstoryEmulator(), logrocket or LogRocketEmulator()
    with running(fullstory) as first, running(logrocket) as second:
        yield Vendors(
            fullstory,
            logrocket,
            Fullstory(keys[0], base_url=first.url),
            LogRocket(keys[1], base_url=second.url),
        )
