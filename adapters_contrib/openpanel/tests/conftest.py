"""A clock that goes when told to, an OpenPanel that is really asked, and examples that may be thrown away."""

from collections.abc import Iterator

import attrs
import httpx
import pytest
from hypothesis import HealthCheck, settings
from replay_identity_openpanel.emulator import OpenPanelEmulator

from replay_identity.emulator import running

# Of users who are anything at all, most have an address that is none, or a blank, and are refused: cases of the
# conformance suite that ask who is sent throw many away.
settings.register_profile(
    "openpanel", settings.default, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
settings.load_profile("openpanel")


@attrs.define
class Clock:
    """A clock that stands still."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Give a clock that stands still."""
    return Clock()


@pytest.fixture
def openpanel(clock: Clock) -> OpenPanelEmulator:
    """Give an OpenPanel without options."""
    return OpenPanelEmulator(clock=clock)


@pytest.fixture
def client(openpanel: OpenPanelEmulator) -> Iterator[httpx.Client]:
    """Give a client of the OpenPanel without options, with its id and secret, and a server's User-Agent."""
    headers = {
        "openpanel-client-id": openpanel.client_id,
        "openpanel-client-secret": openpanel.api_key,
        "user-agent": "backend/1.0",
    }
    with running(openpanel) as server, httpx.Client(base_url=server.url, headers=headers) as client:
        yield client
