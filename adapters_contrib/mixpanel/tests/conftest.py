"""One real server for all tests in this folder; each test mounts its own emulator."""

from collections.abc import Callable, Iterator

import attrs
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from replay_identity.emulator import running


@attrs.define
class Switch:
    """An app that forwards to the app mounted last."""

    app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to the app."""
        assert self.app is not None
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def listening() -> Iterator[tuple[Switch, str]]:
    """Return the app that the server runs, and its URL."""
    switch = Switch()
    with running(switch) as server:
        yield switch, server.url


@pytest.fixture
def mount(listening: tuple[Switch, str]) -> Callable[[ASGIApp], str]:
    """Return a function that serves an app, one at a time, and returns its URL."""
    switch, url = listening

    def serve(app: ASGIApp) -> str:
        switch.app = app
        return url

    return serve
