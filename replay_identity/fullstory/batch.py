"""A batch import at Fullstory, once it has an id: how far it is, and what became of its users.

(https://developer.fullstory.com/server/asynchronous-workflows/, read 2026-11-21.)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import attrs

from ..backend import JobProgress, Member
from ..exchange import Exchange, Pause, Reply, Request
from ..outcome import Accepted, Failure, Misconfigured, Outcome, Unavailable, Unknown
from . import replies
from .results import Results

BATCH: Final = "/v2/users/batch"

# Policy "collect-patience": the seconds between two questions for one page of results, and how long to go on asking.
FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 15.0
PATIENCE: Final = 300.0

# Takes an operation and a path.
Ask = Callable[[str, str], Request]


@attrs.frozen
class Job:
    """One batch import.

    Attributes:
        backend: Name of the backend.
        job_id: The id that Fullstory gave to it.
        ask: Makes the request for an operation and a path.
        api_key: The key, which no message may show.
    """

    backend: str
    job_id: str = attrs.field(repr=False)
    ask: Ask = attrs.field(repr=False)
    api_key: str = attrs.field(repr=False)

    def poll(self) -> Exchange[JobProgress | Failure]:
        """Ask how far it is."""
        reply = yield self.ask("poll_job", self._path())
        return replies.read_progress(reply) or self._failure(reply)

    def collect(self, members: Sequence[Member]) -> Exchange[tuple[Outcome, ...] | Failure]:
        """Read all results, whatever the final status was: COMPLETED may hide errors and FAILED imports."""
        results = Results(self.backend, members, (self.api_key, self.job_id))
        waits = _waits()
        for kind, take in (("imports", results.take_import), ("errors", results.take_error)):
            ended = yield from self._read_pages(kind, take, waits)
            if isinstance(ended, Reply):
                return (yield from self._settle_by_counts(ended, len(members)))
            if ended is not None:
                return ended
        return results.outcomes()

    def _read_pages(
        self, kind: str, take: Callable[[Mapping[str, Any]], None], waits: Iterator[float]
    ) -> Exchange[Failure | Reply | None]:
        """Give the rows of every page to *take*; return None after the last, or the reply that forbids to see it."""
        query, tokens = "", set[str]()
        while True:
            reply = yield self.ask("collect_job", self._path(f"/{kind}{query}"))
            if reply.status == replies.NOT_YET:
                wait = next(waits, None)
                if wait is None:
                    return Unavailable(self.backend, "HTTP 202, the results of the job are not there yet")
                yield Pause(wait)
                continue
            if reply.status == replies.FORBIDDEN:
                return reply
            page = replies.read_rows(reply)
            if page is None:
                return self._failure(reply)
            for row in page.rows:
                take(row)
            if page.next_token is None:
                return None
            if page.next_token in tokens:
                # We would read the same pages for ever.
                return Unknown(self.backend, "the vendor names the same page as the next one")
            tokens.add(page.next_token)
            query = f"?page_token={quote(page.next_token, safe='')}"

    def _settle_by_counts(self, forbidden: Reply, total: int) -> Exchange[tuple[Outcome, ...] | Failure]:
        """Settle all users at once where the key may not see the results, if none was refused.

        A Standard key may create and poll a job; seeing users takes more
        (https://developer.fullstory.com/server/v2/authentication/, read 2026-11-21).
        """
        progress = yield from self.poll()
        if not isinstance(progress, JobProgress):
            return progress
        if progress == JobProgress(running=False, imported=total, refused=0):
            return (Accepted(self.backend),) * total
        problem = f"HTTP {forbidden.status}, the key may not see the results of the job"
        return Misconfigured(
            self.backend, problem, "Learning which users were refused needs an Architect or Admin key."
        )

    def _path(self, rest: str = "") -> str:
        return f"{BATCH}/{quote(self.job_id, safe='')}{rest}"

    def _failure(self, reply: Reply) -> Failure:
        return replies.read_job_failure(self.backend, reply, self.api_key, self.job_id)


def _waits() -> Iterator[float]:
    """Yield the seconds of each wait until patience is at an end."""
    wait, left = FIRST_WAIT, PATIENCE
    while left > 0:
        yield wait
        left -= wait
        wait = min(2 * wait, LONGEST_WAIT)
