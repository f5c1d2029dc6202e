"""Leave a client without an answer."""

from typing import Protocol, runtime_checkable

from starlette.types import Receive, Send


@runtime_checkable
class Abortable(Protocol):
    """The part of an asyncio transport that is needed here."""

    def abort(self) -> None:
        """Close the connection at once."""
        ...


async def wait_until_client_leaves(receive: Receive) -> None:
    """Return when the connection is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def drop_connection(receive: Receive, send: Send) -> None:
    """Close the TCP connection without an HTTP answer.

    Raises:
        ConnectionAbortedError: The app is not served by uvicorn, so there is no connection to close.
    """
    # ASGI has no message for this. The `send` that uvicorn hands to the outermost app is a bound method
    # of the object that owns the connection (uvicorn 0.54, read on 2026-11-21,
    # https://github.com/encode/uvicorn/blob/main/uvicorn/protocols/http/h11_impl.py).
    transport: object = getattr(getattr(send, "__self__", None), "transport", None)
    if not isinstance(transport, Abortable):
        raise ConnectionAbortedError("The emulator dropped the connection.")

    transport.abort()
    # uvicorn reports an app that returns unanswered, unless it has seen the connection go.
    await wait_until_client_leaves(receive)
