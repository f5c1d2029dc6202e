"""Idempotency keys (2026-11-21, https://developer.fullstory.com/server/idempotent-requests)."""

import hashlib
from typing import Final

import attrs

from ..http import ReceivedRequest, VendorResponse
from ..rate_limit import Clock
from .errors import http_error

HEADER: Final = "idempotency-key"
LIFETIME: Final = 24 * 3600.0

# "With the exception of 429 errors or server errors above 500, which can be retried."
TOO_MANY: Final = 429
LAST_STORED: Final = 500


@attrs.frozen
class _StoredResponse:
    """The first response to a key; None while its request is in flight."""

    body_hash: bytes = attrs.field(repr=False)
    stored_at: float
    response: VendorResponse | None = None


@attrs.define
class IdempotencyCache:
    """The first response to each idempotency key."""

    clock: Clock = attrs.field(repr=False)
    _stored: dict[str, _StoredResponse] = attrs.field(init=False, factory=dict[str, _StoredResponse], repr=False)

    def claim(self, request: ReceivedRequest) -> VendorResponse | None:
        """Return the stored response, or claim the key and return None.

        Raises:
            FullstoryHttpError: The key was used with another body, or its request is still in flight.
        """
        key = request.headers.get(HEADER)
        if key is None:
            return None

        stored = self._stored.get(key)
        body_hash = hashlib.sha256(request.body).digest()
        if stored is None or self.clock() - stored.stored_at >= LIFETIME:
            self._stored[key] = _StoredResponse(body_hash, self.clock())
            return None

        # Policy: both conflicts are 409; the documents only say that they are errors.
        if stored.body_hash != body_hash:
            raise http_error(409, code="idempotency_mismatch", message="The Idempotency-Key was used with another body")
        if stored.response is None:
            raise http_error(
                409,
                code="idempotency_conflict",
                message="The request conflicted with a concurrent one",
            )
        return attrs.evolve(stored.response, applied=False)

    def store(self, request: ReceivedRequest, response: VendorResponse) -> None:
        """Store the response to a claimed key, or release the key if the request may be retried."""
        key = request.headers.get(HEADER)
        if key is None:
            return

        if response.status == TOO_MANY or response.status > LAST_STORED:
            self._stored.pop(key, None)
            return
        claimed = self._stored.get(key)
        body_hash = hashlib.sha256(request.body).digest() if claimed is None else claimed.body_hash
        self._stored[key] = _StoredResponse(body_hash, self.clock(), response)

    def release(self, request: ReceivedRequest) -> None:
        """Release a claimed key whose request was not applied."""
        self._stored.pop(request.headers.get(HEADER, ""), None)

    def has_key(self, request: ReceivedRequest) -> bool:
        """Return True if the request's key is claimed or has a stored response."""
        return request.headers.get(HEADER) in self._stored

    def clear(self) -> None:
        """Delete all keys."""
        self._stored.clear()
