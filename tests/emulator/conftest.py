"""One real server for all emulator tests; each test mounts its own emulator."""

from collections.abc import Callable, Iterator

import attrs
import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from support.clock import Clock
from support.vendors import FULLSTORY_KEY, LOGROCKET_KEY

from replay_identity.emulator import FullstoryEmulator, LogRocketEmulator, running


@attrs.define
class Switch:
    """An app that forwards to the emulator mounted last."""

    app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request."""
        assert self.app is not None
        await self.app(scope, receive, send)


@pytest.fixture
def clock() -> Clock:
    """Return a clock that only the test advances."""
    return Clock()


@pytest.fixture(scope="session")
def switch() -> Switch:
    """Return the app that the server runs."""
    return Switch()


@pytest.fixture(scope="session")
def fullstory_client(switch: Switch) -> Iterator[httpx.Client]:
    """Return a client with Fullstory's key."""
    headers = {"authorization": f"Basic {FULLSTORY_KEY}"}
    with running(switch) as server, httpx.Client(base_url=server.url, headers=headers) as client:
        yield client


@pytest.fixture(scope="session")
def logrocket_client(switch: Switch) -> Iterator[httpx.Client]:
    """Return a client with LogRocket's key."""
    headers = {"authorization": f"token {LOGROCKET_KEY}"}
    with running(switch) as server, httpx.Client(base_url=server.url, headers=headers) as client:
        yield client


@pytest.fixture
def mount_fullstory(switch: Switch, fullstory_client: httpx.Client) -> Callable[[FullstoryEmulator], httpx.Client]:
    """Return a function that serves an emulator and returns a client for it."""

    def mount(emulator: FullstoryEmulator) -> httpx.Client:
        switch.app = emulator
        return fullstory_client

    return mount


@pytest.fixture
def mount_logrocket(switch: Switch, logrocket_client: httpx.Client) -> Callable[[LogRocketEmulator], httpx.Client]:
    """Return a function that serves an emulator and returns a client for it."""

    def mount(emulator: LogRocketEmulator) -> httpx.Client:
        switch.app = emulator
        return logrocket_client

    return mount


@pytest.fixture
def fullstory(clock: Clock) -> FullstoryEmulator:
    """Return a Fullstory emulator with default options."""
    return FullstoryEmulator(clock=clock)


@pytest.fixture
def logrocket(clock: Clock) -> LogRocketEmulator:
    """Return a LogRocket emulator with default options."""
    return LogRocketEmulator(clock=clock)


@pytest.fixture
def fs(fullstory: FullstoryEmulator, mount_fullstory: Callable[[FullstoryEmulator], httpx.Client]) -> httpx.Client:
    """Return a client of the default Fullstory emulator."""
    return mount_fullstory(fullstory)


@pytest.fixture
def lr(logrocket: LogRocketEmulator, mount_logrocket: Callable[[LogRocketEmulator], httpx.Client]) -> httpx.Client:
    """Return a client of the default LogRocket emulator."""
    return mount_logrocket(logrocket)
