"""The HTTP side that every fake vendor has."""

import asyncio
import traceback

import attrs
from starlette.types import Receive, Scope, Send

from .answer import Answer
from .connection import drop_connection, wait_until_client_leaves
from .control import answer_control, is_control
from .faults import Fault
from .garbage import spoil
from .received import Received, read_request
from .vendor import Backstage, Think

NO_FAULT = Fault()

FIRST_ERROR = 400
TOO_MANY = 429


@attrs.define(kw_only=True)
class Front:
    """An ASGI app: it reads a request, lets a fault or the vendor answer it, and writes it down."""

    backstage: Backstage
    max_body: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        Raises:
            NotImplementedError: It is not an HTTP request.
            RuntimeError: The emulator has a bug, named by its place and not by the value it met.
        """
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])

        received = await read_request(scope, receive, max_body=self.max_body)
        if received is None:
            return

        try:
            await self._serve(received, (scope, receive, send))
        except ConnectionAbortedError:
            raise
        except Exception as error:  # noqa: BLE001 - its text may hold a value, and uvicorn would log it.
            place = traceback.extract_tb(error.__traceback__)[-1]
            raise RuntimeError(f"{type(error).__name__} at {place.filename}:{place.lineno}") from None

    async def _serve(self, received: Received, asgi: tuple[Scope, Receive, Send]) -> None:
        if is_control(received):
            await spoil(answer_control(self.backstage, received), NO_FAULT)(*asgi)
            return

        number = self.backstage.journal.arrive(received)
        fault = self.backstage.faults.take(received.method, received.path) or NO_FAULT
        _, receive, send = asgi
        if fault.hang:
            await wait_until_client_leaves(receive)
            return

        answer = await self._answer(received, fault)
        applied = answer is not None and answer.applied
        if answer is None or fault.drop is not None:
            self.backstage.journal.settle(number, status=None, applied=applied)
            await drop_connection(receive, send)
            return

        self.backstage.journal.settle(number, status=answer.status, applied=applied)
        await spoil(answer, fault)(*asgi)

    async def _answer(self, received: Received, fault: Fault) -> Answer | None:
        async def think() -> None:
            # A client that leaves meanwhile does not stop the work: a vendor does not look.
            await asyncio.sleep(fault.latency)

        if fault.drop == "before":
            await think()
            return None
        if fault.status is None:
            return _dress(await self._ask_vendor(received, think), fault)

        await think()
        answer = _dress(self._staged(fault.status), fault)
        self.backstage.vendor.notice_failure(received, answer)
        return answer

    def _staged(self, status: int) -> Answer:
        return self.backstage.vendor.failure(status) if status >= FIRST_ERROR else Answer(status=status)

    async def _ask_vendor(self, received: Received, think: Think) -> Answer:
        if received.unreadable is not None:
            return self.backstage.vendor.failure(received.unreadable)

        wait = self.backstage.limiter.admit()
        if wait is not None:
            return self._too_many(wait)
        return await self.backstage.vendor.answer(received, think)

    def _too_many(self, wait: int) -> Answer:
        answer = self.backstage.vendor.failure(TOO_MANY)
        limit = self.backstage.limiter.limit
        if limit is None or not limit.says_when:
            return answer
        return attrs.evolve(answer, headers={**answer.headers, "retry-after": str(wait)})


def _dress(answer: Answer, fault: Fault) -> Answer:
    headers = {**answer.headers, **{name.lower(): value for name, value in fault.headers.items()}}
    body = answer.body if fault.body is None else fault.body
    return attrs.evolve(answer, headers=headers, body=body)
