"""What a fake vendor was asked, and what it answered."""

from collections import Counter
from collections.abc import Mapping

import attrs

from .received import Received


@attrs.frozen(kw_only=True)
class RecordedRequest:
    """One request, for a test to look at; its `status` is None while, or because, it got no answer."""

    method: str
    path: str = attrs.field(repr=False)
    query: Mapping[str, str] = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
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
    """The last `keep` requests in order of arrival, and counts of all."""

    keep: int = 100_000
    total: int = attrs.field(init=False, default=0)
    by_status: Counter[int] = attrs.field(init=False, factory=Counter[int])
    _entries: dict[int, RecordedRequest] = attrs.field(init=False, factory=dict[int, RecordedRequest])

    @property
    def entries(self) -> tuple[RecordedRequest, ...]:
        """The requests as they stand now."""
        return tuple(self._entries.values())

    def arrive(self, received: Received) -> int:
        """Write down a request that has no answer yet, and return its number."""
        self.total += 1
        self._entries[self.total] = RecordedRequest(
            method=received.method,
            path=received.path,
            query=dict(received.query),
            headers=dict(received.headers),
            body=received.body,
        )
        self._entries.pop(self.total - self.keep, None)
        return self.total

    def settle(self, number: int, *, status: int | None, applied: bool) -> None:
        """Write down how request *number* ended; one that was cleared away stays away."""
        if status is not None:
            self.by_status[status] += 1

        entry = self._entries.get(number)
        if entry is not None:
            self._entries[number] = attrs.evolve(entry, status=status, applied=applied)

    def clear(self) -> None:
        """Forget all requests. Numbers go on, so that one still under way finds no stranger's entry."""
        self._entries.clear()
        self.by_status.clear()
