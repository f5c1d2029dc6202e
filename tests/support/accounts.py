"""Several accounts of each vendor in this process, at one URL or at several, told apart by the key as a vendor does."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Self

import attrs
from starlette.types import Receive, Scope, Send
from support.in_process import FAST, InProcessSender, Line

from replay_identity import Fullstory, LogRocket
from replay_identity.emulator import Emulator, FullstoryEmulator, LogRocketEmulator

# Nothing listens there; the sender finds the gateway by the port.
FULLSTORY_PORTS: Final = (1, 3)
LOGROCKET_PORTS: Final = (2, 4)
FULLSTORY_KEYS: Final = ("na1.first", "na1.second")
# The organisation of each key.
ORGANISATIONS: Final = ("FIRST", "SECOND")
LOGROCKET_KEYS: Final = ("acme:shop:first", "acme:blog:second", "umbrella:shop:third")
# Another key of the first account.
ROTATED_FULLSTORY_KEY: Final = "na1.rotated"
ROTATED_LOGROCKET_KEY: Final = "acme:shop:rotated"


@attrs.frozen
class Gateway:
    """An ASGI app that passes each request to the account of its key.

    Attributes:
        accounts: Emulator and its own key, by the key of a request.
    """

    accounts: Mapping[str, tuple[Emulator, str]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request with the emulator's own key."""
        headers = dict(scope["headers"])
        scheme, _, key = headers[b"authorization"].decode().partition(" ")
        emulator, own_key = self.accounts[key]
        headers[b"authorization"] = f"{scheme} {own_key}".encode()
        await emulator({**scope, "headers": [*headers.items()]}, receive, send)


@attrs.define(eq=False)
class Accounts:
    """Emulators by port and key, and what a run needs to reach them.

    Attributes:
        fullstory: Fullstory's emulators by port and key.
        logrocket: LogRocket's emulators by port and key.
    """

    fullstory: dict[tuple[int, str], FullstoryEmulator] = attrs.field(init=False)
    logrocket: dict[tuple[int, str], LogRocketEmulator] = attrs.field(init=False)
    _lines: dict[int, Line] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.fullstory = {
            (port, key): FullstoryEmulator(keeps_history=True, organisation=organisation)
            for port in FULLSTORY_PORTS
            for key, organisation in zip(FULLSTORY_KEYS, ORGANISATIONS, strict=True)
        }
        self.logrocket = {
            (port, key): LogRocketEmulator(keeps_history=True, api_key=key)
            for port in LOGROCKET_PORTS
            for key in LOGROCKET_KEYS
        }
        self._lines = {port: Line(self._gateway(port)) for port in (*FULLSTORY_PORTS, *LOGROCKET_PORTS)}

    def _gateway(self, port: int) -> Gateway:
        accounts: dict[str, tuple[Emulator, str]] = {}
        for (at, key), fullstory in self.fullstory.items():
            if at == port:
                accounts[key] = fullstory, "na1.emulator"
        for (at, key), logrocket in self.logrocket.items():
            if at == port:
                accounts[key] = logrocket, key
        if port in FULLSTORY_PORTS:
            accounts[ROTATED_FULLSTORY_KEY] = accounts[FULLSTORY_KEYS[0]]
        else:
            accounts[ROTATED_LOGROCKET_KEY] = accounts[LOGROCKET_KEYS[0]]
        return Gateway(accounts)

    def sender(self, _connections: int) -> InProcessSender:
        """Return a sender."""
        return InProcessSender(self._lines)

    @property
    def settings(self) -> dict[str, Any]:
        """Return the arguments with which a run reaches the accounts quickly."""
        return {"transport": self.sender}

    @property
    def request_count(self) -> int:
        """Return how many requests about users all accounts have received."""
        emulators: list[Emulator] = [*self.fullstory.values(), *self.logrocket.values()]
        return sum(request.path != "/me" for emulator in emulators for request in emulator.requests)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for line in self._lines.values():
            line.loop.run_until_complete(asyncio.sleep(0))
            line.loop.close()


def fullstory(key: str = FULLSTORY_KEYS[0], port: int = FULLSTORY_PORTS[0], **settings: Any) -> Fullstory:
    """Return the backend for one account of Fullstory."""
    arguments: dict[str, Any] = {"base_url": f"http://127.0.0.1:{port}", **settings}
    return Fullstory(key, **arguments)


def logrocket(key: str = LOGROCKET_KEYS[0], port: int = LOGROCKET_PORTS[0], **settings: Any) -> LogRocket:
    """Return the backend for one account of LogRocket."""
    arguments: dict[str, Any] = {"base_url": f"http://127.0.0.1:{port}", **settings}
    return LogRocket(key, **arguments)


def fast(*names: str) -> dict[str, Any]:
    """Return delivery options without waits for the backends of these *names*."""
    return dict.fromkeys(names, FAST)
