"""What an adapter and a transport say to each other: requests, replies and pauses, with no HTTP library in sight."""

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

# 408, 425 and 429 ask for another try; of the 5xx only these are about now and not about the request.
RETRYABLE_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
# A gateway that lost the answer behind it cannot say whether the request was applied.
UNCERTAIN_STATUSES: Final = frozenset({502, 504})


@fast_frozen
class Request:
    """One HTTP request, serialised once: every retry sends the same bytes.

    Attributes:
        operation: What it does, in the adapter's words, for logs: ``identify``, ``delete``.
        method: HTTP method.
        url: Absolute URL, already percent-encoded. May hold a user id.
        headers: Header names, in lower case, to values. Hold the key.
        body: The bytes to send, or None.
        idempotency_header: Name of the header in which this vendor takes an idempotency key, or None. The transport
            fills it with a random key, the same for every attempt, unless *headers* has one.
        creates: Whether the request applied twice makes two things, so that its key may never change.
        spent_key_statuses: Statuses that the vendor would repeat for the same idempotency key, so that the next
            attempt gets a new key.
        retry_on: Tells whether another try may be answered otherwise, where the vendor means something else by a status
            than others do; by default `Response.is_retryable` tells.
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
        """Tell whether another try of this request may be answered otherwise than by *response*."""
        return response.is_retryable if self.retry_on is None else self.retry_on(response)


class NoResponse(Enum):
    """Why there is no answer to a request."""

    NOT_SENT = "the vendor could not be reached"
    UNTRUSTED = "the server's TLS certificate is not trusted"
    CONNECTION_LOST = "the connection was lost before the response"
    TIMED_OUT = "no response in time"
    TOO_LARGE = "the response exceeded the size limit"
    DEADLINE_PASSED = "the deadline passed before the request was sent"
    CLOSED = "the transport was closed before the request was sent"


@fast_frozen
class Response:
    """A vendor's answer, or the lack of one.

    Attributes:
        status: HTTP status; 0 when there was no answer.
        headers: Header names, in lower case, to values.
        body: The answer's bytes.
        no_response: Why there was no answer, or None.
        uncertain: True when this request, or an earlier attempt of it, may have been applied unseen.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    no_response: NoResponse | None = None
    uncertain: bool = False

    @property
    def cause(self) -> str:
        """Return the status, or why there is none, in a few words."""
        return f"HTTP {self.status}" if self.no_response is None else self.no_response.value

    @property
    def is_success(self) -> bool:
        """Tell whether the vendor answered 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004  # The definition of 2xx.

    @property
    def is_retryable(self) -> bool:
        """Tell whether the same request may be answered otherwise later."""
        if self.no_response is None:
            return self.status in RETRYABLE_STATUSES
        return self.no_response in {NoResponse.NOT_SENT, NoResponse.CONNECTION_LOST, NoResponse.TIMED_OUT}

    @property
    def may_have_applied(self) -> bool:
        """Tell whether the vendor may have applied this very request without our knowing."""
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
        """Return the seconds the vendor asks us to wait, or None if it does not say or says nonsense."""
        value = self.headers.get("retry-after", "").strip()
        # Two headers come as one with a comma; the longer wait satisfies both.
        if numbers := _SECONDS.fullmatch(value) and [float(part) for part in value.split(",")]:
            return min(max(numbers), _FOR_EVER)
        moment = _http_date(value)
        if moment is None:
            return None
        # A date is read against the server's own clock, which its Date header shows.
        now = _http_date(self.headers.get("date", "")) or datetime.now(UTC)
        return max(0.0, (moment - now).total_seconds())

    def json_object(self) -> dict[str, Any] | None:
        """Return the body as a JSON object, or None if it is anything else."""
        try:
            content = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None
        return cast("dict[str, Any]", content) if isinstance(content, dict) else None


_SECONDS: Final = re.compile(r"[0-9]+(\.[0-9]+)?(\s*,\s*[0-9]+(\.[0-9]+)?)*")
_FOR_EVER: Final = 1e10


def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else None


@attrs.frozen
class Sleep:
    """A wish of the adapter's to go on only after so many *seconds*, for example between two polls of a job."""

    seconds: float


# Yields requests and pauses; is sent the reply to a request, and PAUSED after a pause; returns the result.
Exchange: TypeAlias = Generator[Request | Sleep, Response, T]
AFTER_SLEEP: Final = Response(204)
