"""Read a vendor's list of users page by page, through failures, quotas and expired page tokens."""

import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol, TypeAlias

import attrs

from ..adapters.protocols import Page, SupportsRead
from ..bulk.options import DeliveryOptions
from ..errors import SourceError
from ..outcomes import Failure, Rejected, Unavailable, explain
from ..retry import Backoff
from ..transport import Transport

OnWait: TypeAlias = Callable[[float, str], None]

# Restarts from the first page after an expired token. Users who are read again unchanged are not sent again.
MAX_RESTARTS: Final = 5


class ReadableBackend(SupportsRead, Protocol):
    """A backend that can list its users."""

    @property
    def name(self) -> str:
        """The name used in outcomes and settings."""
        ...


def ignore_wait(_seconds: float, _cause: str) -> None:
    """Do nothing before a wait."""


@attrs.define(eq=False)
class PageReader:
    """Reads all pages of a backend's users.

    Attributes:
        backend: The backend.
        transport: Sends each request once.
        options: Quota, backoff and patience.
        on_wait: Called before each wait with its seconds and cause.
        clock: Returns seconds since a fixed time.
        sleep: Waits for a number of seconds.
        now: Returns seconds since 1970.
        requested_at: When the last page was requested, in seconds since 1970.
        restarts: How often reading started again from the first page.
        failure: The failure that stopped reading before the last page, or None.
    """

    backend: ReadableBackend
    transport: Transport
    options: DeliveryOptions
    on_wait: OnWait = ignore_wait
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    requested_at: float = attrs.field(default=0.0, init=False)
    restarts: int = attrs.field(default=0, init=False)
    failure: Failure | None = attrs.field(default=None, init=False)
    _next_at: float = attrs.field(default=0.0, init=False)

    def pages(self, token: str | None) -> Iterator[Page]:
        """Yield the pages from *token* on, or from the first; start again from the first if the token has expired.

        Raises:
            SourceError: A page cannot be read.
        """
        while True:
            result = self._read(token)
            if isinstance(result, Page):
                yield result
                if result.next_token is None:
                    return
                token = result.next_token
            elif self._may_have_expired(result, token):
                self.restarts += 1
                token = None
            else:
                self.failure = result
                raise SourceError(self.backend.name, f"cannot be read: {explain(result)}")

    def _may_have_expired(self, failure: Failure, token: str | None) -> bool:
        # Vendors do not document how long a token is valid, so any rejected token may have expired.
        return token is not None and isinstance(failure, Rejected) and self.restarts < MAX_RESTARTS

    def _read(self, token: str | None) -> Page | Failure:
        """Return the page of *token*, or the last failure once patience has run out."""
        failing, backoff = 0.0, Backoff(self.options.wait_initial, self.options.wait_max)
        while True:
            started = self.clock()
            result = self._request_page(token)
            if isinstance(result, Page) or not result.retryable:
                return result
            retry_after = result.retry_after if isinstance(result, Unavailable) else None
            wait = backoff.next()
            if retry_after is None:
                failing += self.clock() - started + wait
                if failing > self.options.patience:
                    return result
            self._wait(wait if retry_after is None else retry_after, explain(result))

    def _request_page(self, token: str | None) -> Page | Failure:
        quota = self.options.requests_per_minute
        if quota is not None:
            self.sleep(max(0.0, self._next_at - self.clock()))
            self._next_at = self.clock() + 60 / quota
        self.requested_at = self.now()
        result = self.transport.run(next(self.backend.pages(page_token=token)))
        if isinstance(result, Page) and token is not None and result.next_token == token:
            # Otherwise the same page would be read without end.
            return Rejected(self.backend.name, code="the vendor names the same page as the next one")
        return result

    def _wait(self, seconds: float, cause: str) -> None:
        self.on_wait(seconds, cause)
        self.sleep(seconds)
