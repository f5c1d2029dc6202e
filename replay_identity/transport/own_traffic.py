"""Keep our requests out of the HTTP library's log, whatever level the application logs at.

httpx logs every URL at INFO, and LogRocket's hold user ids; httpcore logs headers at DEBUG. Only records about our own
requests are dropped: an application that uses httpx for itself sees its own log as before.
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_ours: ContextVar[bool] = ContextVar("replay_identity_own_traffic", default=False)
# A logger's filters do not see its children's records, so each is named.
_LOGGERS: Final = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
    "hpack.hpack",
    "hpack.table",
)


class NotOurs(logging.Filter):
    """Let a record pass unless it is about a request of ours."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002  # Who logs decides, not what.
        """Return False while a request of ours is being sent."""
        return not _ours.get()


_filter: Final = NotOurs()
for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_filter)


@contextmanager
def own_traffic() -> Generator[None, None, None]:
    """Mark what is sent inside as ours."""
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)
