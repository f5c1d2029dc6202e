"""Both emulators in this process, called without a socket, and a ledger on disk.

The emulators' faults work as over HTTP. A run can also be stopped, or end as if the process was killed, at any request,
before or after the vendor has applied it.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import attrs
from starlette.types import ASGIApp, Message
from support.vendors import FULLSTORY_KEY, LOGROCKET_KEY

from replay_identity import Fullstory, LogRocket, Route
from replay_identity.adapters import IdentityBackend, NoResponse, Request, Response
from replay_identity.bulk import DeliveryOptions, SyncReport, sync
from replay_identity.emulator import FullstoryEmulator, LogRocketEmulator
from replay_identity.ledger import Ledger

# Nothing listens there; the sender finds the emulator by the port.
FULLSTORY_URL: Final = "http://127.0.0.1:1"
LOGROCKET_URL: Final = "http://127.0.0.1:2"

FAST: Final = DeliveryOptions(wait_initial=0.001, wait_max=0.004, poll_initial=0.001, poll_max=0.002, timeout=5.0)
# The same for vendors over HTTP.
QUICK: Final = DeliveryOptions(wait_initial=0.01, wait_max=0.05, poll_initial=0.02, poll_max=0.05, timeout=5.0)


class CrashError(BaseException):
    """Ends a run as a killed process would."""


@attrs.define(eq=False)
class Line:
    """The connection to one emulator.

    Attributes:
        app: The emulator.
        loop: The event loop in which its tasks run.
        count: Number of requests so far, without those that ask whose key it is; the hooks leave these alone, too.
        before: Called with the number of each request before it is applied.
        after: Called with the number of each request after it was applied, before the response.
    """

    app: ASGIApp
    loop: asyncio.AbstractEventLoop = attrs.field(factory=asyncio.new_event_loop)
    count: int = 0
    before: Callable[[int], None] = lambda _: None
    after: Callable[[int], None] = lambda _: None
    _lock: threading.RLock = attrs.field(factory=threading.RLock, init=False, repr=False)

    def send(self, request: Request) -> Response:
        """Return the response to *request*; two backends may send to one emulator."""
        with self._lock:
            return self._send(request)

    def _send(self, request: Request) -> Response:
        if request.operation == "verify":
            return self.loop.run_until_complete(_call(self.app, request))
        self.count += 1
        number = self.count
        self.before(number)
        response = self.loop.run_until_complete(_call(self.app, request))
        self.after(number)
        return response

    def reset_hooks(self) -> None:
        """Remove the hooks and count requests from zero."""
        self.count, self.before, self.after = 0, lambda _: None, lambda _: None


@attrs.define(eq=False)
class InProcessSender:
    """A `ConcurrentSender` for emulators in this process."""

    lines: Mapping[int, Line]
    responses: list[tuple[int, Response]] = attrs.field(factory=list[tuple[int, Response]])

    def submit(self, request_id: int, request: Request, timeout: float) -> None:
        """Send the request at once."""
        assert timeout > 0
        self.responses.append((request_id, self.lines[urlsplit(request.url).port or 0].send(request)))

    def completed(self, timeout: float) -> Sequence[tuple[int, Response]]:
        """Return all responses."""
        responses, self.responses = self.responses, []
        if not responses:
            time.sleep(min(timeout, 0.001))
        return responses

    def close(self) -> None:
        """Do nothing."""


async def _call(app: ASGIApp, request: Request) -> Response:
    url = urlsplit(request.url)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "root_path": "",
        "path": unquote(url.path),
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "headers": [
            (b"host", url.netloc.encode()),
            *((name.encode(), value.encode()) for name, value in request.headers.items()),
        ],
    }
    received = [{"type": "http.request", "body": request.body or b"", "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        return received.pop() if received else {"type": "http.disconnect"}

    async def respond(message: Message) -> None:
        sent.append(message)

    try:
        await app(scope, receive, respond)
    except ConnectionAbortedError:
        return Response(0, no_response=NoResponse.CONNECTION_LOST)
    if not sent:
        return Response(0, no_response=NoResponse.TIMED_OUT)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Response(sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]))


@attrs.define(eq=False)
class World:
    """Both emulators, their backends, and a ledger.

    Attributes:
        path: Path of the ledger.
        fullstory: The Fullstory emulator.
        logrocket: The LogRocket emulator.
        backends: The backends that runs deliver to.
        options: Delivery options by name of the backend.
    """

    path: Path
    fullstory: FullstoryEmulator = attrs.field(factory=lambda: FullstoryEmulator(keeps_history=True))
    logrocket: LogRocketEmulator = attrs.field(factory=lambda: LogRocketEmulator(keeps_history=True))
    backends: Sequence[IdentityBackend | Route] = (
        Fullstory(FULLSTORY_KEY, base_url=FULLSTORY_URL),
        LogRocket(LOGROCKET_KEY, base_url=LOGROCKET_URL),
    )
    options: Mapping[str, DeliveryOptions] = attrs.field(factory=lambda: {"fullstory": FAST, "logrocket": FAST})
    ledger: Ledger = attrs.field(init=False)
    fullstory_line: Line = attrs.field(init=False)
    logrocket_line: Line = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ledger = Ledger(self.path)
        self.fullstory_line, self.logrocket_line = Line(self.fullstory), Line(self.logrocket)

    @property
    def lines(self) -> Sequence[Line]:
        """Return the connections to both emulators."""
        return self.fullstory_line, self.logrocket_line

    def sender(self, _connections: int) -> InProcessSender:
        """Return a sender."""
        return InProcessSender({1: self.fullstory_line, 2: self.logrocket_line})

    def sync(self, users: Iterable[Any] = (), **options: Any) -> SyncReport:
        """Sync *users* to both vendors."""
        defaults: dict[str, Any] = {"ledger": self.ledger, "options": self.options, "transport": self.sender}
        return sync(users, self.backends, **{**defaults, **options})

    def sync_until(self, number: int, users: Iterable[Any] = (), **options: Any) -> SyncReport:
        """Sync *users*, but stop at request *number* to either vendor."""
        stop = threading.Event()
        for line in self.lines:
            line.reset_hooks()
            line.before = lambda count: stop.set() if count >= number else None
        try:
            return self.sync(users, stop=stop, **options)
        finally:
            self.reset_hooks()

    def crash_at(self, number: int, line: Line, *, applied: bool, users: Iterable[Any] = ()) -> bool:
        """Sync *users* and crash at request *number*; return False if there are fewer requests."""
        stop = threading.Event()

        def die(count: int) -> None:
            if count == number:
                raise CrashError

        for each in self.lines:
            each.reset_hooks()
            # A slow job would never let the run end.
            each.before = lambda count: stop.set() if count > number + 150 else None
        if applied:
            line.after = die
        else:
            line.before = die
        try:
            self.sync(users, stop=stop)
        except CrashError:
            return True
        finally:
            self.reset_hooks()
            self.restart()
        return False

    def reset_hooks(self) -> None:
        """Remove the hooks of both connections."""
        for line in self.lines:
            line.reset_hooks()

    def restart(self) -> None:
        """Open the ledger again, as a new process does."""
        self.ledger.close()
        self.ledger = Ledger(self.path)

    def close(self) -> None:
        """Close the ledger and the event loops."""
        self.ledger.close()
        for line in self.lines:
            for task in asyncio.all_tasks(line.loop):
                task.cancel()
            line.loop.run_until_complete(asyncio.sleep(0))
            line.loop.close()

    def properties(self, uid: str) -> Mapping[str, Any] | None:
        """Return the properties that Fullstory stores of a user."""
        user = self.fullstory.by_uid(uid)
        return None if user is None else user.properties

    def traits(self, user_id: str) -> Mapping[str, str] | None:
        """Return the traits that LogRocket stores of a user."""
        user = self.logrocket.users.get(user_id)
        return None if user is None else user.traits

    def assert_stored(self, users: Mapping[str, Mapping[str, str]]) -> None:
        """Check that both vendors store exactly these *users*, whose traits are all strings."""
        assert {user.uid: dict(user.properties) for user in self.fullstory.users.values()} == users
        assert {user.user_id: dict(user.traits) for user in self.logrocket.users.values()} == users


def assert_closed(report: SyncReport) -> None:
    """Check that the counts of each backend add up."""
    for backend in report.backends:
        assert backend.is_closed, backend
        counts = backend.as_dict()
        assert counts["given"] == counts["accepted"] + counts["unchanged"] + counts["rejected"] + counts["pending"]
