"""Answering a repeated request from memory (2026-11-21, https://developer.fullstory.com/server/idempotent-requests)."""

import hashlib

import attrs

from ..http import ReceivedRequest, VendorResponse
from ..rate_limit import Clock
from .errors import http_error

HEADER = "idempotency-key"
LIFETIME = 24 * 3600.0

# "With the exception of 429 errors or server errors above 500, which can be retried."
TOO_MANY = 429
LAST_KEPT = 500


@attrs.frozen
class _StoredResponse:
    digest: bytes = attrs.field(repr=False)
    since: float
    answer: VendorResponse | None = None
    """None while the first request is under way."""


@attrs.define
class IdempotencyCache:
    """The first answers to keyed requests."""

    clock: Clock = attrs.field(repr=False)
    _kept: dict[str, _StoredResponse] = attrs.field(init=False, factory=dict[str, _StoredResponse], repr=False)

    def claim(self, request: ReceivedRequest) -> VendorResponse | None:
        """Return the kept answer, or None for a request that is to be acted on; refuse a conflict."""
        key = request.headers.get(HEADER)
        if key is None:
            return None

        kept = self._kept.get(key)
        digest = hashlib.sha256(request.body).digest()
        if kept is None or self.clock() - kept.since >= LIFETIME:
            self._kept[key] = _StoredResponse(digest, self.clock())
            return None

        # Policy: 409 for both conflicts; the documents say that they are errors and no more.
        if kept.digest != digest:
            raise http_error(409, code="idempotency_mismatch", message="The Idempotency-Key was used with another body")
        if kept.answer is None:
            raise http_error(
                409,
                code="idempotency_conflict",
                message="The request conflicted with a concurrent one",
            )
        return attrs.evolve(kept.answer, applied=False)

    def keep(self, request: ReceivedRequest, response: VendorResponse) -> None:
        """Keep the answer of a claimed request, unless it may be retried."""
        key = request.headers.get(HEADER)
        if key is None:
            return

        if response.status == TOO_MANY or response.status > LAST_KEPT:
            self._kept.pop(key, None)
            return
        claimed = self._kept.get(key)
        digest = hashlib.sha256(request.body).digest() if claimed is None else claimed.digest
        self._kept[key] = _StoredResponse(digest, self.clock(), response)

    def release(self, request: ReceivedRequest) -> None:
        """Forget a claimed request that came to nothing."""
        self._kept.pop(request.headers.get(HEADER, ""), None)

    def knows(self, request: ReceivedRequest) -> bool:
        """Say whether the request's key was claimed before."""
        return request.headers.get(HEADER) in self._kept

    def clear(self) -> None:
        """Forget all keys."""
        self._kept.clear()
