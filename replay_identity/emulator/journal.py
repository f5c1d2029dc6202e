"""What an emulator records: the requests it received and the writes it applied."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from .http import JsonValue, ReceivedRequest

MAX_JOURNAL_BYTES: Final = 64 * 1024 * 1024


@attrs.frozen(kw_only=True)
class RecordedRequest:
    """One request, for tests to look at.

    When the bodies of all requests exceed the emulator's `journal_bytes`, the oldest bodies are dropped.

    Attributes:
        method: The HTTP method.
        path: The path as sent.
        query: The query parameters.
        headers: The headers, with names in lower case.
        body: The body, or nothing after it was dropped.
        body_size: Size of the body in bytes, as sent.
        is_body_kept: Whether `body` is still what was sent.
        status: The status of the response, or None while or because there is none.
        applied: Whether the request changed the vendor's state.
    """

    method: str
    path: str = attrs.field(repr=False)
    query: Mapping[str, str] = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    body_size: int
    is_body_kept: bool = True
    status: int | None = None
    applied: bool = False

    @property
    def idempotency_key(self) -> str | None:
        """The Idempotency-Key header."""
        return self.headers.get("idempotency-key")

    @property
    def integration_source(self) -> str | None:
        """The Integration-Source header."""
        return self.headers.get("integration-source")


@attrs.define(kw_only=True)
class Journal:
    """The most recent requests in order of arrival, and counts of all requests.

    Attributes:
        max_entries: Maximum number of requests that are kept.
        max_bytes: Maximum bytes of bodies that are kept.
        total: Number of requests that ever arrived.
        by_status: Number of responses by status.
    """

    max_entries: int = 100_000
    max_bytes: int = MAX_JOURNAL_BYTES
    total: int = attrs.field(init=False, default=0)
    by_status: Counter[int] = attrs.field(init=False, factory=Counter[int])
    _entries: dict[int, RecordedRequest] = attrs.field(init=False, factory=dict[int, RecordedRequest])
    _bytes: int = attrs.field(init=False, default=0)
    _last_dropped: int = attrs.field(init=False, default=0)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock, repr=False)

    @property
    def entries(self) -> tuple[RecordedRequest, ...]:
        """A snapshot of the requests."""
        return tuple(self._entries.values())

    def add(self, request: ReceivedRequest) -> int:
        """Record a request that has no response yet, and return its number."""
        entry = RecordedRequest(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers=dict(request.headers),
            body=request.body,
            body_size=len(request.body),
        )
        with self._lock:
            self.total += 1
            self._entries[self.total] = entry
            removed = self._entries.pop(self.total - self.max_entries, None)
            self._bytes += len(entry.body) - len(removed.body if removed else b"")
            while self._bytes > self.max_bytes:
                self._drop_oldest_body()
            return self.total

    def complete(self, number: int, *, status: int | None, applied: bool) -> None:
        """Record how request *number* ended, unless it was cleared meanwhile."""
        with self._lock:
            if status is not None:
                self.by_status[status] += 1

            entry = self._entries.get(number)
            if entry is not None:
                self._entries[number] = attrs.evolve(entry, status=status, applied=applied)

    def clear(self) -> None:
        """Delete all requests.

        Numbers continue, so that a request in flight cannot be completed as a newer one.
        """
        with self._lock:
            self._entries.clear()
            self.by_status.clear()
            self._bytes = 0

    def _drop_oldest_body(self) -> None:
        self._last_dropped += 1
        entry = self._entries.get(self._last_dropped)
        if entry is not None and entry.body:
            self._bytes -= len(entry.body)
            self._entries[self._last_dropped] = attrs.evolve(entry, body=b"", is_body_kept=False)


class HistoryNotKeptError(RuntimeError):
    """The history was read from an emulator that was made without `keeps_history=True`."""

    def __str__(self) -> str:
        """Return which setting to change."""
        return "the emulator keeps no history; make it with keeps_history=True"


@attrs.define(kw_only=True)
class WriteLog:
    """Counts the writes to each user, and records them if `keeps_history`."""

    keeps_history: bool = False
    total: int = attrs.field(init=False, default=0)
    _counts: Counter[str] = attrs.field(init=False, factory=Counter[str], repr=False)
    _history: dict[str, list[JsonValue]] = attrs.field(init=False, factory=dict[str, list[JsonValue]], repr=False)

    @property
    def counts(self) -> Mapping[str, int]:
        """A snapshot of the number of writes per user."""
        return dict(self._counts)

    def record(self, user_id: str, payload: JsonValue) -> None:
        """Record that *payload* was written to a user."""
        self.total += 1
        self._counts[user_id] += 1
        if self.keeps_history:
            self._history.setdefault(user_id, []).append(payload)

    def history(self, user_id: str) -> Sequence[JsonValue]:
        """Return the payloads that were written to a user, oldest first.

        Raises:
            HistoryNotKeptError: `keeps_history` is false.
        """
        if not self.keeps_history:
            raise HistoryNotKeptError
        return tuple(self._history.get(user_id, ()))

    def as_json(self) -> JsonValue:
        """Return the counts as JSON."""
        return {"total": self.total, "users": dict(self.counts)}

    def clear(self) -> None:
        """Delete all counts and records."""
        self.total = 0
        self._counts.clear()
        self._history.clear()
