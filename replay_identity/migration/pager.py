"""A vendor's list of users page by page, through failures, quotas and page tokens that have expired."""

import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol, TypeAlias

import attrs

from ..adapters.protocols import Page, SupportsRead
from ..bulk.options import DeliveryOptions
from ..errors import SourceError
from ..outcomes import Failure, Rejected, Unavailable, explain
from ..transport import Transport

OnWait: TypeAlias = Callable[[float, str], None]

# So often a reading begins anew because the vendor no longer knows a page. Those who are read again are not sent again.
MOST_RESTARTS: Final = 5


class Readable(SupportsRead, Protocol):
    """A backend that shows its users."""

    @property
    def name(self) -> str:
        """Return the name that outcomes and settings carry."""
        ...


def tell_nobody(_seconds: float, _cause: str) -> None:
    """Take no note of a wait."""


@attrs.define(eq=False)
class PageReader:
    """Read all pages, with patience.

    Attributes:
        backend: Whose users.
        transport: What sends; it need not try again by itself.
        options: How fast, and how patiently.
        on_wait: Is told before each wait how many seconds it is, and why.
        clock: Seconds since some fixed moment.
        sleep: Waits so many seconds.
        now: Seconds since 1970.
        asked_at: When the last page was asked for, in seconds since 1970.
        restarts: How often the reading began anew.
        failure: What ended it before its end, or None.
    """

    backend: Readable
    transport: Transport
    options: DeliveryOptions
    on_wait: OnWait = tell_nobody
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    asked_at: float = attrs.field(default=0.0, init=False)
    restarts: int = attrs.field(default=0, init=False)
    failure: Failure | None = attrs.field(default=None, init=False)
    _next_at: float = attrs.field(default=0.0, init=False)

    def pages(self, token: str | None) -> Iterator[Page]:
        """Yield the pages from that of *token* on, or from the first; begin anew where the vendor does not know it.

        Raises:
            SourceError: A page cannot be read.
        """
        while True:
            answer = self._read(token)
            if isinstance(answer, Page):
                yield answer
                if answer.next_token is None:
                    return
                token = answer.next_token
            elif self._is_forgotten(answer, token):
                self.restarts += 1
                token = None
            else:
                self.failure = answer
                raise SourceError(self.backend.name, f"cannot be read: {explain(answer)}")

    def _is_forgotten(self, failure: Failure, token: str | None) -> bool:
        """Tell whether the vendor may only have forgotten the page: it does not say how long a token lives."""
        return token is not None and isinstance(failure, Rejected) and self.restarts < MOST_RESTARTS

    def _read(self, token: str | None) -> Page | Failure:
        """Return the page of *token*, or what is left to say once patience has ended."""
        lost, wait = 0.0, self.options.wait_initial
        while True:
            began = self.clock()
            answer = self._ask(token)
            if isinstance(answer, Page) or not answer.retryable:
                return answer
            asked = answer.retry_after if isinstance(answer, Unavailable) else None
            if asked is None:
                lost += self.clock() - began + wait
                if lost > self.options.patience:
                    return answer
            self._wait(wait if asked is None else asked, explain(answer))
            wait = min(2 * wait, self.options.wait_max)

    def _ask(self, token: str | None) -> Page | Failure:
        quota = self.options.requests_per_minute
        if quota is not None:
            self.sleep(max(0.0, self._next_at - self.clock()))
            self._next_at = self.clock() + 60 / quota
        self.asked_at = self.now()
        answer = self.transport.run(next(self.backend.pages(page_token=token)))
        if isinstance(answer, Page) and token is not None and answer.next_token == token:
            # We would read one page for ever.
            return Rejected(self.backend.name, code="the vendor names the same page as the next one")
        return answer

    def _wait(self, seconds: float, cause: str) -> None:
        self.on_wait(seconds, cause)
        self.sleep(seconds)
