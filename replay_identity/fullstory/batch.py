"""A batch import at Fullstory after it was created: poll its job, read the results, and match them with the users.

Sources: https://developer.fullstory.com/server/asynchronous-workflows/, read 2026-11-21, and the contracts of 2026-09
in github.com/fullstorydev/sekizui at 8f3699a, read 2026-11-30.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast
from urllib.parse import quote

import attrs
import orjson

from ..adapters.exchange import Exchange, Request, Response, Sleep
from ..adapters.protocols import BatchEntry, JobProgress
from ..outcomes import Accepted, Failure, Misconfigured, Outcome, Rejected, Unavailable, Unknown
from . import responses

BATCH_PATH: Final = "/v2/users/batch"

# Policy "collect-patience": seconds between two requests for one page of results, and seconds of such pauses in all.
_POLL_INITIAL_S: Final = 1.0
_POLL_MAX_S: Final = 15.0
_POLL_TOTAL_S: Final = 300.0

# Policy "endless-pages": results have at most one page for each user, and empty pages are rare.
_MIN_PAGES: Final = 100

# Policy "vendor-errors-retried": codes that do not mean that the user is invalid.
_VENDOR_ERROR_CODES: Final = frozenset({"server_error", "too_many_requests"})
_VENDOR_ERROR: Final = "the vendor had an internal problem with this user"
_NOT_IN_RESULTS: Final = "the results of the job do not show this user"
_Rows: TypeAlias = Sequence[Mapping[str, Any]]
# Traits nest at most 32 levels deep; anything deeper was not sent by us.
_MAX_DEPTH: Final = 40


@attrs.frozen
class FullstoryJob:
    """The job of one batch import.

    Attributes:
        backend: Name of the backend.
        job_id: Fullstory's id of the job.
        make_request: Returns the request for an operation and a path.
        api_key: The key, to be redacted from messages.
    """

    backend: str
    job_id: str = attrs.field(repr=False)
    make_request: Callable[[str, str], Request] = attrs.field(repr=False)
    api_key: str = attrs.field(repr=False)

    def poll(self) -> Exchange[JobProgress | Failure]:
        """Request the progress of the job."""
        response = yield self.make_request("poll_job", self._path())
        return responses.read_progress(response) or self._failure(response)

    def collect(self, entries: Sequence[BatchEntry]) -> Exchange[tuple[Outcome, ...] | Failure]:
        """Return the outcome of each of the *entries*, in their order."""
        # All results are read even if the status is COMPLETED or FAILED: the first may hide errors, the second imports.
        results = _BatchResults(self.backend, entries, (self.api_key, self.job_id))
        delays = _poll_delays()
        for kind, add_rows in (("imports", results.add_imports), ("errors", results.add_errors)):
            obstacle = yield from self._read_pages(kind, add_rows, delays, max_pages=max(len(entries), _MIN_PAGES))
            if isinstance(obstacle, Response):
                return (yield from self._outcomes_by_counts(obstacle, len(entries)))
            if obstacle is not None:
                return obstacle
        return results.outcomes()

    def _read_pages(
        self, kind: str, add_rows: Callable[[_Rows], None], delays: Iterator[float], *, max_pages: int
    ) -> Exchange[Failure | Response | None]:
        """Pass the rows of every page to *add_rows*; return a failure, or the 403 response to a key without access."""
        query, tokens = "", set[str]()
        while True:
            response = yield from self._get_page(f"/{kind}{query}", delays)
            if response.status == responses.NOT_READY:
                cause = "HTTP 202, the results of the job are not ready"
                return Unavailable(self.backend, cause, status=response.status)
            if response.status == responses.FORBIDDEN:
                return response
            page = responses.read_result_page(response)
            if page is None:
                return self._failure(response)
            add_rows(page.rows)
            if page.next_token is None:
                return None
            if page.next_token in tokens:
                # Otherwise the same pages would be read forever.
                return Unknown(self.backend, "the vendor names the same page as the next one")
            if len(tokens) >= max_pages:
                return Unknown(self.backend, "the vendor has more pages of results than the batch has users")
            tokens.add(page.next_token)
            query = f"?page_token={quote(page.next_token, safe='')}"

    def _get_page(self, path: str, delays: Iterator[float]) -> Exchange[Response]:
        """Request one page again until it is ready or *delays* end."""
        while True:
            response = yield self.make_request("collect_job", self._path(path))
            delay = next(delays, None) if response.status == responses.NOT_READY else None
            if delay is None:
                return response
            yield Sleep(delay)

    def _outcomes_by_counts(self, forbidden: Response, total: int) -> Exchange[tuple[Outcome, ...] | Failure]:
        """Accept all users if the counts show no error, for a key that may not see the results.

        A Standard key may create and poll a job; its imports and errors take an Architect key.
        """
        progress = yield from self.poll()
        if not isinstance(progress, JobProgress):
            return progress
        if progress == JobProgress(running=False, imported=total, rejected=0):
            return (Accepted(self.backend),) * total
        problem = f"HTTP {forbidden.status}, the key may not see the results of the job"
        return Misconfigured(
            self.backend, problem, "Learning which users were rejected needs an Architect or Admin key."
        )

    def _path(self, rest: str = "") -> str:
        return f"{BATCH_PATH}/{quote(self.job_id, safe='')}{rest}"

    def _failure(self, response: Response) -> Failure:
        return responses.read_job_failure(self.backend, response, secrets=(self.api_key, self.job_id))


def _poll_delays() -> Iterator[float]:
    delay, left = _POLL_INITIAL_S, _POLL_TOTAL_S
    while left > 0:
        yield delay
        left -= delay
        delay = min(2 * delay, _POLL_MAX_S)


@attrs.define(repr=False)
class _BatchResults:
    """Match the rows of a job's results with the entries of its batch: all imports first, then all errors.

    Attributes:
        backend: Name of the backend.
        entries: The users of the batch.
        secrets: Texts to redact from messages, in addition to what was sent.
    """

    backend: str
    entries: Sequence[BatchEntry]
    secrets: Sequence[str]
    # By the index of the entry, here and below.
    _outcomes: list[Outcome | None] = attrs.field(init=False)
    # If every entry has an id of its own and none has a Fullstory id; else empty.
    _index_of: Mapping[str, int] = attrs.field(init=False)
    _by_user_id: dict[str, list[int]] = attrs.field(init=False, factory=dict[str, list[int]])
    _by_vendor_id: dict[str, list[int]] = attrs.field(init=False, factory=dict[str, list[int]])
    _by_content: dict[Hashable, "_ContentMatches"] = attrs.field(init=False, factory=dict[Hashable, "_ContentMatches"])
    # Fullstory ids of imported users that no entry has.
    _new_ids: set[str] = attrs.field(init=False, factory=set[str])
    # Rows that match no entry.
    _stray_imports: int = attrs.field(init=False, default=0)
    _stray_rejections: Counter[Rejected] = attrs.field(init=False, factory=Counter[Rejected])
    _stray_vendor_errors: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._outcomes = [None] * len(self.entries)
        self._index_of = _distinct_ids(self.entries)
        if self._index_of:
            return
        self._by_user_id = _index_by([entry.user_id for entry in self.entries])
        self._by_vendor_id = _index_by([entry.vendor_id for entry in self.entries])
        by_content = _index_by(map(_anonymous_content, self.entries))
        self._by_content = {content: _ContentMatches(indexes) for content, indexes in by_content.items()}

    def add_imports(self, rows: _Rows) -> None:
        """Accept the entries that match import *rows*."""
        for row in rows:
            user_id = row.get("uid")
            index = self._index_of.get(user_id) if type(user_id) is str else None
            if index is None:
                self._add_import(row)
            else:
                # Nearly every row: what `_add_import` does, at a third of the time
                # (`benchmarks/run.py --only fullstory`).
                self._outcomes[index] = Accepted(self.backend, _text(row, "id"))

    def _add_import(self, row: Mapping[str, Any]) -> None:
        vendor_id = _text(row, "id")
        indexes = self._match_by_ids(_text(row, "uid"), vendor_id)
        if not indexes:
            if vendor_id in self._new_ids:
                return  # The same row was on another page.
            if vendor_id is not None:
                self._new_ids.add(vendor_id)
            matches = self._match_by_content(row)
            indexes = matches.take_imported() if matches else []
        self._stray_imports += not indexes
        for index in indexes:
            self._outcomes[index] = Accepted(self.backend, vendor_id)

    def add_errors(self, rows: _Rows) -> None:
        """Reject the entries that match error *rows*, even if they were imported as well.

        After an internal error of the vendor, it is unknown whether they were imported.
        """
        for row in rows:
            self._add_error(row)

    def _add_error(self, row: Mapping[str, Any]) -> None:
        user = row.get("user")
        item = cast("dict[str, Any]", user) if isinstance(user, dict) else {}
        indexes = self._match_by_ids(_text(item, "uid"), _text(item, "id"))
        if not indexes:
            matches = self._match_by_content(item)
            indexes = matches.take_rejected() if matches else []
        if _text(row, "code") in _VENDOR_ERROR_CODES:
            self._stray_vendor_errors += not indexes
            for index in indexes:
                self._outcomes[index] = _unknown(self.backend, self.entries[index], _VENDOR_ERROR)
            return
        rejection = self._rejection(row, item, indexes)
        self._stray_rejections[rejection] += not indexes
        for index in indexes:
            # A user may be imported without a property that was rejected, which has to be reported.
            self._outcomes[index] = rejection

    def outcomes(self) -> tuple[Outcome, ...]:
        """Return the outcome of each entry, in their order."""
        inferred = self._infer_remaining()
        pairs = zip(self._outcomes, self.entries, strict=True)
        return tuple(outcome or inferred or _unknown(self.backend, entry, _NOT_IN_RESULTS) for outcome, entry in pairs)

    def _infer_remaining(self) -> Outcome | None:
        """Return the outcome of all unmatched entries, if the unmatched rows allow only one."""
        unmatched, rejected = self._outcomes.count(None), self._stray_rejections.total()
        if self._stray_vendor_errors:
            return None
        if self._stray_imports == unmatched and not rejected:
            # Without an id: it might be another user's, and a later update would overwrite that user.
            return Accepted(self.backend)
        if rejected == unmatched and not self._stray_imports:
            rejections = set(+self._stray_rejections)
            return rejections.pop() if len(rejections) == 1 else Rejected(self.backend, code=responses.REJECTED)
        return None

    def _match_by_ids(self, user_id: str | None, vendor_id: str | None) -> list[int]:
        if self._index_of:
            return [self._index_of[user_id]] if user_id and user_id in self._index_of else []
        by_user_id = self._by_user_id.get(user_id, []) if user_id else []
        by_vendor_id = self._by_vendor_id.get(vendor_id) if vendor_id else None
        if by_vendor_id is None:
            return by_user_id
        # A different uid means a different user, even if the Fullstory id is the same.
        return by_user_id + [index for index in by_vendor_id if user_id is None or self.entries[index].user_id is None]

    def _match_by_content(self, user: Mapping[str, Any]) -> "_ContentMatches | None":
        if not self._by_content or _text(user, "uid"):
            return None
        return self._by_content.get(_content(user))

    def _rejection(self, row: Mapping[str, Any], item: dict[str, Any], indexes: list[int]) -> Rejected:
        entries = [self.entries[index] for index in indexes]
        ids = [each for entry in entries for each in (entry.user_id, entry.vendor_id) if each]
        sent = [orjson.loads(entry.content) for entry in entries if entry.content]
        return responses.read_row_rejection(self.backend, row, [item, *sent], secrets=(*self.secrets, *ids))


def _distinct_ids(entries: Sequence[BatchEntry]) -> Mapping[str, int]:
    """Return the index of each of *entries* by its own id, or nothing if that does not identify all of them."""
    if any(entry.user_id is None or entry.vendor_id is not None for entry in entries):
        return {}
    index_of = {entry.user_id: index for index, entry in enumerate(entries) if entry.user_id is not None}
    return index_of if len(index_of) == len(entries) else {}


def _index_by(keys: Iterable[Any]) -> dict[Any, list[int]]:
    """Return the indexes of the *keys* by key, without those that are None."""
    indexes: dict[Any, list[int]] = {}
    for index, key in enumerate(keys):
        if key is not None:
            indexes.setdefault(key, []).append(index)
    return indexes


@attrs.define
class _ContentMatches:
    """Indexes of anonymous users with the same content; it makes no difference which of them a row is matched with."""

    unmatched: list[int]
    imported: list[int] = attrs.field(factory=list[int])

    def take_imported(self) -> list[int]:
        taken = [self.unmatched.pop()] if self.unmatched else []
        self.imported += taken
        return taken

    def take_rejected(self) -> list[int]:
        left = self.unmatched or self.imported
        return [left.pop()] if left else []


def _unknown(backend: str, entry: BatchEntry, cause: str) -> Unknown:
    # An anonymous user has no id to upsert by: sent again, they could become two.
    return Unknown(backend, cause, retryable=not _is_anonymous(entry))


def _is_anonymous(entry: BatchEntry) -> bool:
    return entry.user_id is None and entry.vendor_id is None


def _anonymous_content(entry: BatchEntry) -> Hashable | None:
    return _content(orjson.loads(entry.content)) if entry.content and _is_anonymous(entry) else None


def _content(user: Mapping[str, Any]) -> Hashable:
    """Return what distinguishes users without an id; absent, null and empty values are the same."""
    return _text(user, "display_name"), _text(user, "email"), _hashable(user.get("properties") or {})


def _hashable(value: Any, depth: int = 0) -> Hashable:  # noqa: ANN401  # JSON.
    """Return a hashable form of *value* in which, as in JSON, 2 equals 2.0 but 1 does not equal true."""
    if depth > _MAX_DEPTH:
        return object()
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return frozenset((name, _hashable(item, depth + 1)) for name, item in items if item is not None)
    if isinstance(value, list):
        return tuple(_hashable(item, depth + 1) for item in cast("list[object]", value))
    return (bool, value) if isinstance(value, bool) else cast("Hashable", value)


def _text(user: Mapping[str, Any], name: str) -> str | None:
    text = user.get(name)
    return text if isinstance(text, str) and text else None
