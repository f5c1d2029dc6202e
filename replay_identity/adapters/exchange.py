"""The sans-I/O protocol between an adapter and a transport: requests, responses and sleeps."""

import re
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, Final, TypeAlias, TypeVar, cast

import attrs
import orjson

from .._records import fast_frozen

T = TypeVar("T")

# 408, 425 and 429 ask for a retry; of the 5xx, only these describe a temporary state and not the request.
RETRYABLE_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
# A gateway that lost the response behind it cannot say whether the request was applied.
UNCERTAIN_STATUSES: Final = frozenset({502, 504})


@fast_frozen
class Request:
    """One HTTP request, serialised once: every retry sends the same bytes.

    Attributes:
        operation: What the request does, for logs: ``identify``, ``delete``.
        method: HTTP method.
        url: Absolute URL, already percent-encoded. May contain a user id.
        headers: Header names, in lower case, to values. Contain the key.
        body: The bytes to send, or None.
        idempotency_header: Name of the vendor's header for an idempotency key, or None. The transport fills it with a
            random key, the same for every attempt, unless *headers* has one.
        creates: True if applying the request twice creates two things, so that its key must never change.
        spent_key_statuses: Statuses that the vendor repeats for the same idempotency key, so that the next attempt
            gets a new key.
        retry_on: Returns True if a retry may get another response, for a vendor that uses statuses in its own way; by
            default `Response.is_retryable` decides.
    """

    operation: str
    method: str
    url: str = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    body: bytes | None = attrs.field(default=None, repr=False)
    idempotency_header: str | None = None
    creates: bool = False
    spent_key_statuses: frozenset[int] = frozenset()
    retry_on: "Callable[[Response], bool] | None" = attrs.field(default=None, repr=False)

    def is_retryable(self, response: "Response") -> bool:
        """Return True if a retry of this request may get another response than *response*."""
        return response.is_retryable if self.retry_on is None else self.retry_on(response)


class NoResponse(Enum):
    """Why a request has no response."""

    NOT_SENT = "the vendor could not be reached"
    UNTRUSTED = "the server's TLS certificate is not trusted"
    CONNECTION_LOST = "the connection was lost before the response"
    TIMED_OUT = "no response in time"
    TOO_LARGE = "the response exceeded the size limit"
    UNREADABLE = "the response could not be unpacked"
    DEADLINE_PASSED = "the deadline passed before the request was sent"
    CLOSED = "the transport was closed before the request was sent"


@fast_frozen
class Response:
    """A vendor's response, or the reason why there is none.

    Attributes:
        status: HTTP status; 0 if there was no response.
        headers: Header names, in lower case, to values.
        body: The body's bytes.
        no_response: Why there was no response, or None.
        uncertain: True if this request, or an earlier attempt of it, may have been applied without a response.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    no_response: NoResponse | None = None
    uncertain: bool = False

    @property
    def cause(self) -> str:
        """Return the status, or why there is none, as a short text."""
        return f"HTTP {self.status}" if self.no_response is None else self.no_response.value

    @property
    def is_success(self) -> bool:
        """Return True if the status is 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004  # The definition of 2xx.

    @property
    def confirms(self) -> bool:
        """Return True for a 2xx with an empty body or a JSON object.

        Other text in the body may come from a proxy or a login page, whatever the status says.
        """
        return self.is_success and (not self.body.strip() or self.json_object() is not None)

    @property
    def refuses(self) -> bool:
        """Return True if the JSON object in a 2xx says that the request failed.

        Our policy "refusal-in-success": ``success`` or ``ok`` is false, or ``error`` or ``errors`` is neither empty nor
        a number, which would be a count.
        """
        content = (self.json_object() if self.is_success else None) or {}
        errors = (value for name in ("error", "errors") if (value := content.get(name)))
        return (
            content.get("success") is False
            or content.get("ok") is False
            or any(type(value) not in {int, float} for value in errors)
        )

    @property
    def is_retryable(self) -> bool:
        """Return True if the same request may get another response later."""
        if self.no_response is None:
            return self.status in RETRYABLE_STATUSES
        return self.no_response in {
            NoResponse.NOT_SENT,
            NoResponse.CONNECTION_LOST,
            NoResponse.TIMED_OUT,
            NoResponse.UNREADABLE,
        }

    @property
    def may_have_applied(self) -> bool:
        """Return True if the vendor may have applied this attempt although no response says so."""
        if self.no_response is None:
            return self.status in UNCERTAIN_STATUSES
        return self.no_response not in {
            NoResponse.NOT_SENT,
            NoResponse.UNTRUSTED,
            NoResponse.DEADLINE_PASSED,
            NoResponse.CLOSED,
        }

    @property
    def retry_after(self) -> float | None:
        """Return the seconds the vendor asks us to wait, or None if the header is missing or invalid."""
        # HTTP libraries join two headers with a comma; the longest wait satisfies all of them.
        waits = [self._wait(part) for part in _NEXT_VALUE.split(self.headers.get("retry-after", "").strip())]
        longest = max((wait for wait in waits if wait is not None), default=None)
        return None if longest is None else min(max(0.0, longest), _MAX_WAIT_S)

    def _wait(self, value: str) -> float | None:
        """Return the seconds from now that *value*, a number or a date, stands for."""
        if _SECONDS.fullmatch(value):
            return float(value)
        moment = _http_date(value)
        if moment is None:
            return None
        # A date is relative to the server's clock, which its Date header shows.
        now = _http_date(self.headers.get("date", "")) or datetime.now(UTC)
        return (moment - now).total_seconds()

    def json_object(self) -> dict[str, Any] | None:
        """Return the body as a JSON object, or None if it is anything else."""
        try:
            content = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None
        return cast("dict[str, Any]", content) if isinstance(content, dict) else None


_SECONDS: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
# A date such as "Wed, 21 Oct 2026 07:28:00 GMT" has a comma of its own, which a number and a month follow.
_NEXT_VALUE: Final = re.compile(r"\s*,\s*(?=[A-Za-z]|[0-9.]+\s*(?:,|$))")
# About 300 years, so that no wait is too long to be added to a date.
_MAX_WAIT_S: Final = 1e10


def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else None


@attrs.frozen
class Sleep:
    """Yield this to wait *seconds*, for example between two polls of a job."""

    seconds: float


# Yields requests and sleeps, receives the response to a request or AFTER_SLEEP, and returns the result.
Exchange: TypeAlias = Generator[Request | Sleep, Response, T]
AFTER_SLEEP: Final = Response(204)
