"""The LogRocket emulator that all tests of senders use."""

from collections.abc import Iterator

import pytest

from replay_identity.adapters import Request
from replay_identity.emulator import LogRocketEmulator, running


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[LogRocketEmulator, str]]:
    """Run a LogRocket emulator for the tests of one module."""
    emulator = LogRocketEmulator()
    with running(emulator) as running_server:
        yield emulator, running_server.url


@pytest.fixture
def vendor(server: tuple[LogRocketEmulator, str]) -> LogRocketEmulator:
    """Return the emulator in its initial state."""
    emulator, _ = server
    emulator.reset()
    emulator.faults.clear()
    return emulator


@pytest.fixture
def put(server: tuple[LogRocketEmulator, str]) -> Request:
    """Return a request that the emulator applies."""
    url = f"{server[1]}/v1/orgs/acme/apps/shop/users/u1"
    return Request("identify", "PUT", url, {"authorization": "token acme:shop:emulator"}, b'{"name":"Ann"}')
