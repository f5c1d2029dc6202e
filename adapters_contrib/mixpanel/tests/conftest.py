"""One real server for all tests here; each test mounts an emulator of its own."""

from collections.abc import Callable, Iterator

import attrs
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from replay_identity.emulator import running


@attrs.define
class Switch:
    """An app that is whatever was mounted last."""

    app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        assert self.app is not None
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def listening() -> Iterator[tuple[Switch, str]]:
    """Give the app that the server runs, and its address."""
    switch = Switch()
    with running(switch) as server:
        yield switch, server.url


@pytest.fixture
def mount(listening: tuple[Switch, str]) -> Callable[[ASGIApp], str]:
    """Give a function that serves an app, one at a time, and returns its address."""
    switch, url = listening

    def serve(app: ASGIApp) -> str:
        switch.app = app
        return url

    return serve
