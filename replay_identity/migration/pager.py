"""Read a vendor patiently, and its list of users page by page, through failures, quotas and expired page tokens."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

import attrs

from ..adapters.exchange import Exchange, T
from ..adapters.protocols import Page, StoredUser, SupportsRead
from ..bulk.options import DeliveryOptions
from ..errors import SourceError
from ..outcomes import Failure, Rejected, Unavailable, explain
from ..retry import Backoff
from ..transport import Transport

OnWait: TypeAlias = Callable[[float, str], None]

# Restarts from the first page after an expired token. Users who are read again unchanged are not sent again.
MAX_RESTARTS: Final = 5


class NamedBackend(Protocol):
    """A backend with its name."""

    @property
    def name(self) -> str:
        """The name used in outcomes and settings."""
        ...


class ReadableBackend(NamedBackend, SupportsRead, Protocol):
    """A backend that can list its users."""


B = TypeVar("B", bound=NamedBackend)


def ignore_wait(_seconds: float, _cause: str) -> None:
    """Do nothing before a wait."""


@attrs.define(eq=False)
class PatientReader(Generic[B]):
    """Runs the requests that read a vendor, within its quota and through its failures.

    Attributes:
        backend: The backend.
        transport: Sends each request once.
        options: Quota, backoff and patience.
        on_wait: Called before each wait with its seconds and cause.
        clock: Returns seconds since a fixed time.
        sleep: Waits for a number of seconds.
        now: Returns seconds since 1970.
        requested_at: The time for which what was read last is true, in seconds since 1970.
        restarts: How often reading started again from the first user.
        failure: The failure that stopped reading before the last user, or None.
    """

    backend: B
    transport: Transport
    options: DeliveryOptions
    on_wait: OnWait = ignore_wait
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    requested_at: float = attrs.field(default=0.0, init=False)
    restarts: int = attrs.field(default=0, init=False)
    failure: Failure | None = attrs.field(default=None, init=False)
    _sent_at: float = attrs.field(default=0.0, init=False)
    _next_at: float = attrs.field(default=0.0, init=False)

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def _patiently(self, attempt: Callable[[], T | Failure], progress: Callable[[], int] = lambda: 0) -> T | Failure:
        """Return the result of *attempt*, or the last failure once patience has run out.

        Args:
            attempt: Makes one attempt.
            progress: Returns a number that grows if a failed attempt was of use; then patience starts again.
        """
        failing, reached, backoff = 0.0, progress(), Backoff(self.options.wait_initial, self.options.wait_max)
        while True:
            started = self.clock()
            result = attempt()
            if not isinstance(result, Failure) or not result.retryable:
                return result
            if progress() > reached:
                failing, reached, started = 0.0, progress(), self.clock()
                backoff.reset()
            retry_after = result.retry_after if isinstance(result, Unavailable) else None
            wait = backoff.next()
            if retry_after is None:
                failing += self.clock() - started + wait
                if failing > self.options.patience:
                    return result
            self._wait(wait if retry_after is None else retry_after, explain(result))

    def _request(self, exchange: Exchange[T]) -> T:
        """Run *exchange*, which sends one request, once the quota allows it."""
        quota = self.options.requests_per_minute
        if quota is not None:
            self.sleep(max(0.0, self._next_at - self.clock()))
            self._next_at = self.clock() + 60 / quota
        self._sent_at = self.now()
        return self.transport.run(exchange)

    def _wait(self, seconds: float, cause: str) -> None:
        self.on_wait(seconds, cause)
        self.sleep(seconds)

    def _stop(self, failure: Failure) -> SourceError:
        """Keep *failure* and return the error to raise."""
        self.failure = failure
        return SourceError(self.backend.name, f"cannot be read: {explain(failure)}")


@attrs.define(eq=False)
class PageReader(PatientReader[ReadableBackend]):
    """Reads all pages of a backend's users."""

    def users_ahead(self, token: str | None) -> Iterator[StoredUser]:  # noqa: ARG002  # As in `ExportReader`.
        """Return no users: pages are read once."""
        return iter(())

    def pages(self, token: str | None) -> Iterator[Page]:
        """Yield the pages from *token* on, or from the first; start again from the first if the token has expired.

        Raises:
            SourceError: A page cannot be read.
        """
        while True:
            result = self._patiently(partial(self._request_page, token))
            if isinstance(result, Page):
                yield result
                if result.next_token is None:
                    return
                token = result.next_token
            elif self._may_have_expired(result, token):
                self.restarts += 1
                token = None
            else:
                raise self._stop(result)

    def _may_have_expired(self, failure: Failure, token: str | None) -> bool:
        # Vendors do not document how long a token is valid, so any rejected token may have expired.
        return token is not None and isinstance(failure, Rejected) and self.restarts < MAX_RESTARTS

    def _request_page(self, token: str | None) -> Page | Failure:
        result = self._request(next(self.backend.pages(page_token=token)))
        self.requested_at = self._sent_at
        if isinstance(result, Page) and token is not None and result.next_token == token:
            # Otherwise the same page would be read without end.
            return Rejected(self.backend.name, code="the vendor names the same page as the next one")
        return result
