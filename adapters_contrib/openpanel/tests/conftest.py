"""A clock under control, and an OpenPanel over real HTTP."""

from collections.abc import Iterator

import attrs
import httpx
import pytest
from replay_identity_openpanel.emulator import OpenPanelEmulator

from replay_identity.emulator import running


@attrs.define
class Clock:
    """A clock that stands still."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def openpanel(clock: Clock) -> OpenPanelEmulator:
    """Return an OpenPanel with default settings."""
    return OpenPanelEmulator(clock=clock)


@pytest.fixture
def client(openpanel: OpenPanelEmulator) -> Iterator[httpx.Client]:
    """Return a client of the default OpenPanel with its id and secret, and a server's User-Agent."""
    headers = {
        "openpanel-client-id": openpanel.client_id,
        "openpanel-client-secret": openpanel.api_key,
        "user-agent": "backend/1.0",
    }
    with running(openpanel) as server, httpx.Client(base_url=server.url, headers=headers) as client:
        yield client
