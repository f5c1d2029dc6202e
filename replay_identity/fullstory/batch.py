"""A batch import at Fullstory, once it has an id: how far it is, and what became of its users.

(https://developer.fullstory.com/server/asynchronous-workflows/, read 2026-11-21.)
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import quote

import attrs
import orjson

from ..adapters.exchange import Exchange, Request, Response, Sleep
from ..adapters.protocols import BatchEntry, JobProgress
from ..outcomes import Accepted, Failure, Misconfigured, Outcome, Rejected, Unavailable, Unknown
from . import responses
from .responses import REJECTED, read_row_rejection

# Policy "vendor-trouble-in-a-row": codes that say nothing against the user.
_TROUBLE: Final = frozenset({"server_error", "too_many_requests"})
_TROUBLED: Final = "the vendor had trouble of its own with this user"
_UNSHOWN: Final = "the results of the job do not show this user"
# Traits nest no deeper than 32; what does is no content of ours.
_MOST_NESTED: Final = 40


@attrs.define(repr=False)
class Results:
    """Settle the members of one batch, row by row: first the rows of `/imports`, then those of `/errors`.

    Attributes:
        backend: Name of the backend.
        entries: The users of the batch.
        secrets: What no message may show, beside what was sent.
    """

    backend: str
    entries: Sequence[BatchEntry]
    secrets: Sequence[str]
    _outcomes: list[Outcome | None] = attrs.field(init=False)
    _by_uid: dict[str, list[int]] = attrs.field(init=False)
    _by_id: dict[str, list[int]] = attrs.field(init=False)
    _by_content: dict[Hashable, "_ContentMatches"] = attrs.field(init=False)
    # Fullstory ids of imported users whom no member's own id names.
    _new_ids: set[str] = attrs.field(init=False, factory=set[str])
    _stray_imports: int = attrs.field(init=False, default=0)
    _stray_rejections: Counter[Rejected] = attrs.field(init=False, factory=Counter[Rejected])
    _stray_trouble: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._outcomes = [None] * len(self.entries)
        self._by_uid = self._places(lambda entry: entry.user_id)
        self._by_id = self._places(lambda entry: entry.vendor_id)
        by_content = self._places(_own_content)
        self._by_content = {key: _ContentMatches(waiting) for key, waiting in by_content.items()}

    def add_import(self, row: Mapping[str, Any]) -> None:
        """Settle the members whom *row* says are imported."""
        vendor_id = _text(row, "id")
        places = self._named_by(row)
        if not places:
            if vendor_id in self._new_ids:
                return  # The same row has been on another page.
            if vendor_id is not None:
                self._new_ids.add(vendor_id)
            alike = self._match_by_content(row)
            places = alike.take_imported() if alike else []
        self._stray_imports += not places
        for place in places:
            self._outcomes[place] = Accepted(self.backend, vendor_id)

    def add_error(self, row: Mapping[str, Any]) -> None:
        """Settle the members whom *row* says are refused, even those who are imported as well.

        Where the vendor had trouble of its own, nobody knows how far it got with them.
        """
        user = row.get("user")
        item = cast("dict[str, Any]", user) if isinstance(user, dict) else {}
        places = self._named_by(item)
        if not places:
            alike = self._match_by_content(item)
            places = alike.take_rejected() if alike else []
        if row.get("code") in _TROUBLE:
            self._stray_trouble += not places
            for place in places:
                self._outcomes[place] = _unknown(self.backend, self.entries[place], _TROUBLED)
            return
        rejection = self._rejection(row, item, places)
        self._stray_rejections[rejection] += not places
        for place in places:
            # A user may be taken and one of the properties refused, and that has to be on record.
            self._outcomes[place] = rejection

    def outcomes(self) -> tuple[Outcome, ...]:
        """Return what became of each member, in their order."""
        eliminated = self._infer_remaining()
        found = zip(self._outcomes, self.entries, strict=True)
        return tuple(outcome or eliminated or _unknown(self.backend, entry, _UNSHOWN) for outcome, entry in found)

    def _infer_remaining(self) -> Outcome | None:
        """Return what became of the members whom no row names, if the rows that name no member leave one reading."""
        unsettled, rejected = self._outcomes.count(None), self._stray_rejections.total()
        if self._stray_trouble:
            return None
        if self._stray_imports == unsettled and not rejected:
            # Without the row's id: it might be that of another user, whom a later update would then overwrite.
            return Accepted(self.backend)
        if rejected == unsettled and not self._stray_imports:
            rejections = set(+self._stray_rejections)
            return rejections.pop() if len(rejections) == 1 else Rejected(self.backend, code=REJECTED)
        return None

    def _places(self, name: Callable[[BatchEntry], Any]) -> dict[Any, list[int]]:
        """Return the places of the members by what *name* says of them, without those of whom it says None."""
        places: dict[Any, list[int]] = {}
        for place, entry in enumerate(self.entries):
            key = name(entry)
            if key is not None:
                places.setdefault(key, []).append(place)
        return places

    def _named_by(self, user: Mapping[str, Any]) -> list[int]:
        """Return the places of the members whom *user* names by an id."""
        uid, vendor_id = _text(user, "uid"), _text(user, "id")
        by_uid = self._by_uid.get(uid, []) if uid else []
        by_id = self._by_id.get(vendor_id, []) if vendor_id else []
        # One uid that differs from another is another user, whatever the id.
        return by_uid + [place for place in by_id if uid is None or self.entries[place].user_id is None]

    def _match_by_content(self, user: Mapping[str, Any]) -> "_ContentMatches | None":
        if not self._by_content or _text(user, "uid"):
            return None
        return self._by_content.get(_content(user))

    def _rejection(self, row: Mapping[str, Any], item: dict[str, Any], places: list[int]) -> Rejected:
        entries = [self.entries[place] for place in places]
        ids = [each for entry in entries for each in (entry.user_id, entry.vendor_id) if each]
        sent = [orjson.loads(entry.content) for entry in entries if entry.content]
        return read_row_rejection(self.backend, row, [item, *sent], *self.secrets, *ids)


@attrs.define
class _ContentMatches:
    """The places of anonymous users of the same content, for whom it makes no difference which a row is about."""

    waiting: list[int]
    imported: list[int] = attrs.field(factory=list[int])

    def take_imported(self) -> list[int]:
        taken = [self.waiting.pop()] if self.waiting else []
        self.imported += taken
        return taken

    def take_rejected(self) -> list[int]:
        left = self.waiting or self.imported
        return [left.pop()] if left else []


def _unknown(backend: str, entry: BatchEntry, cause: str) -> Unknown:
    # There is nothing to upsert an anonymous user by: sent again, they could become two.
    return Unknown(backend, cause, retryable=not _is_anonymous(entry))


def _is_anonymous(entry: BatchEntry) -> bool:
    return entry.user_id is None and entry.vendor_id is None


def _own_content(entry: BatchEntry) -> Hashable | None:
    return _content(orjson.loads(entry.content)) if _is_anonymous(entry) and entry.content else None


def _content(user: Mapping[str, Any]) -> Hashable:
    """Return what tells users without an id apart; what is absent, null or empty is the same."""
    return _text(user, "display_name"), _text(user, "email"), _frozen(user.get("properties") or {})


def _frozen(value: Any, depth: int = 0) -> Hashable:  # noqa: ANN401  # JSON.
    """Return a hashable stand-in for *value* in which 2 and 2.0 are equal, as in JSON, but 1 and true are not."""
    if depth > _MOST_NESTED:
        return object()
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return frozenset((name, _frozen(item, depth + 1)) for name, item in items if item is not None)
    if isinstance(value, list):
        return tuple(_frozen(item, depth + 1) for item in cast("list[object]", value))
    return (bool, value) if isinstance(value, bool) else cast("Hashable", value)


def _text(user: Mapping[str, Any], name: str) -> str | None:
    text = user.get(name)
    return text if isinstance(text, str) and text else None


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
        response = yield self.ask("poll_job", self._path())
        return responses.read_progress(response) or self._failure(response)

    def collect(self, entries: Sequence[BatchEntry]) -> Exchange[tuple[Outcome, ...] | Failure]:
        """Read all results, whatever the final status was: COMPLETED may hide errors and FAILED imports."""
        results = Results(self.backend, entries, (self.api_key, self.job_id))
        waits = _waits()
        for kind, take in (("imports", results.add_import), ("errors", results.add_error)):
            ended = yield from self._read_pages(kind, take, waits)
            if isinstance(ended, Response):
                return (yield from self._settle_by_counts(ended, len(entries)))
            if ended is not None:
                return ended
        return results.outcomes()

    def _read_pages(
        self, kind: str, take: Callable[[Mapping[str, Any]], None], waits: Iterator[float]
    ) -> Exchange[Failure | Response | None]:
        """Give the rows of every page to *take*; return None after the last, or the reply that forbids to see it."""
        query, tokens = "", set[str]()
        while True:
            response = yield self.ask("collect_job", self._path(f"/{kind}{query}"))
            if response.status == responses.NOT_YET:
                wait = next(waits, None)
                if wait is None:
                    return Unavailable(self.backend, "HTTP 202, the results of the job are not there yet")
                yield Sleep(wait)
                continue
            if response.status == responses.FORBIDDEN:
                return response
            page = responses.read_rows(response)
            if page is None:
                return self._failure(response)
            for row in page.rows:
                take(row)
            if page.next_token is None:
                return None
            if page.next_token in tokens:
                # We would read the same pages for ever.
                return Unknown(self.backend, "the vendor names the same page as the next one")
            tokens.add(page.next_token)
            query = f"?page_token={quote(page.next_token, safe='')}"

    def _settle_by_counts(self, forbidden: Response, total: int) -> Exchange[tuple[Outcome, ...] | Failure]:
        """Settle all users at once where the key may not see the results, if none was refused.

        A Standard key may create and poll a job; seeing users takes more
        (https://developer.fullstory.com/server/v2/authentication/, read 2026-11-21).
        """
        progress = yield from self.poll()
        if not isinstance(progress, JobProgress):
            return progress
        if progress == JobProgress(running=False, imported=total, rejected=0):
            return (Accepted(self.backend),) * total
        problem = f"HTTP {forbidden.status}, the key may not see the results of the job"
        return Misconfigured(
            self.backend, problem, "Learning which users were refused needs an Architect or Admin key."
        )

    def _path(self, rest: str = "") -> str:
        return f"{BATCH}/{quote(self.job_id, safe='')}{rest}"

    def _failure(self, response: Response) -> Failure:
        return responses.read_job_failure(self.backend, response, self.api_key, self.job_id)


def _waits() -> Iterator[float]:
    """Yield the seconds of each wait until patience is at an end."""
    wait, left = FIRST_WAIT, PATIENCE
    while left > 0:
        yield wait
        left -= wait
        wait = min(2 * wait, LONGEST_WAIT)
