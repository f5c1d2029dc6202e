"""What a fake vendor was asked, and what it answered."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence

import attrs

from .http import JsonValue, ReceivedRequest

KEEP_BYTES = 64 * 1024 * 1024


@attrs.frozen(kw_only=True)
class RecordedRequest:
    """One request, for a test to look at; its `status` is None while, or because, it got no answer.

    Bodies are heavy: when those of all requests are over the emulator's `journal_bytes`, the oldest are let go,
    and `body` is empty from then on.
    """

    method: str
    path: str = attrs.field(repr=False)
    query: Mapping[str, str] = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    body_size: int
    """Bytes of the body as it was sent."""

    is_body_kept: bool = True
    """Whether `body` is still what was sent."""

    status: int | None = None
    applied: bool = False
    """Whether the vendor's state changed for it."""

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
    """The last `keep` requests in order of arrival, at most `keep_bytes` of their bodies, and counts of all."""

    keep: int = 100_000
    keep_bytes: int = KEEP_BYTES
    total: int = attrs.field(init=False, default=0)
    by_status: Counter[int] = attrs.field(init=False, factory=Counter[int])
    _entries: dict[int, RecordedRequest] = attrs.field(init=False, factory=dict[int, RecordedRequest])
    _bytes: int = attrs.field(init=False, default=0)
    _without_body: int = attrs.field(init=False, default=0)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock, repr=False)

    @property
    def entries(self) -> tuple[RecordedRequest, ...]:
        """The requests as they stand now."""
        return tuple(self._entries.values())

    def arrive(self, received: ReceivedRequest) -> int:
        """Write down a request that has no answer yet, and return its number."""
        entry = RecordedRequest(
            method=received.method,
            path=received.path,
            query=dict(received.query),
            headers=dict(received.headers),
            body=received.body,
            body_size=len(received.body),
        )
        with self._lock:
            self.total += 1
            self._entries[self.total] = entry
            gone = self._entries.pop(self.total - self.keep, None)
            self._bytes += len(entry.body) - len(gone.body if gone else b"")
            while self._bytes > self.keep_bytes:
                self._let_go_of_oldest_body()
            return self.total

    def settle(self, number: int, *, status: int | None, applied: bool) -> None:
        """Write down how request *number* ended; one that was cleared away stays away."""
        with self._lock:
            if status is not None:
                self.by_status[status] += 1

            entry = self._entries.get(number)
            if entry is not None:
                self._entries[number] = attrs.evolve(entry, status=status, applied=applied)

    def clear(self) -> None:
        """Forget all requests. Numbers go on, so that one still under way finds no stranger's entry."""
        with self._lock:
            self._entries.clear()
            self.by_status.clear()
            self._bytes = 0

    def _let_go_of_oldest_body(self) -> None:
        self._without_body += 1
        entry = self._entries.get(self._without_body)
        if entry is not None and entry.body:
            self._bytes -= len(entry.body)
            self._entries[self._without_body] = attrs.evolve(entry, body=b"", is_body_kept=False)


class HistoryNotKeptError(RuntimeError):
    """The history was asked for, and the emulator was made without `keeps_history=True`."""

    def __str__(self) -> str:
        """Name the setting to change."""
        return "No history was kept. Make the emulator with keeps_history=True."


@attrs.define(kw_only=True)
class WriteLog:
    """Counts what was applied by user, and keeps it in its order if told to."""

    keeps_history: bool = False
    total: int = attrs.field(init=False, default=0)
    _counts: Counter[str] = attrs.field(init=False, factory=Counter[str], repr=False)
    _history: dict[str, list[JsonValue]] = attrs.field(init=False, factory=dict[str, list[JsonValue]], repr=False)

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each user was written to, as it stands now."""
        return dict(self._counts)

    def note(self, user_id: str, said: JsonValue) -> None:
        """Take note that what was *said* about a user was applied."""
        self.total += 1
        self._counts[user_id] += 1
        if self.keeps_history:
            self._history.setdefault(user_id, []).append(said)

    def history(self, user_id: str) -> Sequence[JsonValue]:
        """Return what was applied to a user, oldest first.

        Raises:
            HistoryNotKeptError: The emulator keeps none.
        """
        if not self.keeps_history:
            raise HistoryNotKeptError
        return tuple(self._history.get(user_id, ()))

    def as_json(self) -> JsonValue:
        """Return the counts for people to look at."""
        return {"total": self.total, "users": dict(self.counts)}

    def clear(self) -> None:
        """Forget everything."""
        self.total = 0
        self._counts.clear()
        self._history.clear()
