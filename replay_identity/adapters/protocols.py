"""What every backend can do, and what some can do, as small protocols."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import attrs

from .._records import fast_frozen
from ..errors import printable
from ..outcomes import Adjustment, Failure, Outcome, Rejected, Skipped, SkipReason, Violation
from ..traits import UserTraits, fingerprint
from .exchange import Exchange, Request
from .limits import BatchLimits, Limit, Limits


@fast_frozen
class Plan:
    """What a backend would send for one user.

    Attributes:
        backend: Name of the backend.
        request: The request, or None if there is nothing to send or a rule is broken.
        adjustments: How what is sent differs from the user's traits.
        violations: The rules broken; with any, nothing is sent.
        fields: What the vendor holds of the user after the request, whatever the request itself holds: values as
            encoded, to be compared as JSON, by the names that the vendor knows its fields by. None if the adapter does
            not say, or a rule is broken.
    """

    backend: str
    request: Request | None
    adjustments: tuple[Adjustment, ...] = ()
    violations: tuple[Violation, ...] = ()
    fields: Mapping[str, Any] | None = attrs.field(default=None, repr=False, hash=False)

    @property
    def unsent(self) -> Rejected | Skipped:
        """Return the outcome of a plan without a request."""
        if self.violations:
            return Rejected(self.backend, self.violations)
        return Skipped(self.backend, SkipReason.NOTHING_TO_SEND)


class IdentityBackend(Protocol):
    """An adapter configured for one account; does no I/O."""

    @property
    def name(self) -> str:
        """Return the name of the backend in outcomes and settings."""
        ...

    @property
    def limits(self) -> Limits:
        """Return the vendor's published limits."""
        ...

    @property
    def account(self) -> str:
        """Return the vendor's account as a printable name without secrets: what it confirmed is true of this one."""
        ...

    @property
    def encoding(self) -> str:
        """Return a text of all that decides what is sent for a user, besides the user; no secrets."""
        ...

    def plan(self, user: UserTraits, /) -> Plan:
        """Return what would be sent for *user*; pure and deterministic."""
        ...

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send *user* unless they break a rule."""
        ...


def _names(traits: Mapping[str, Any]) -> str:
    return f"[{', '.join(printable(name) for name in traits)}]"


@attrs.frozen(kw_only=True)
class StoredUser:
    """A user as a vendor stores them.

    Attributes:
        backend: Name of the backend.
        vendor_id: The vendor's own id; a string, even if it is a number.
        user_id: Your own id of the user, or None for an anonymous user.
        name: Display name.
        email: E-mail address.
        traits: Trait names to values as in the vendor's JSON.
        types: Declared or inferred types by dotted path, if they were requested.
        type_conflicts: Types by dotted path, for traits that the vendor received with several.
        being_deleted: True while an asynchronous deletion runs.
        url: Link to the user in the vendor's application.
        created_at: When the vendor created the user, if it says so.
    """

    backend: str
    vendor_id: str = attrs.field(repr=fingerprint)
    user_id: str | None = attrs.field(default=None, repr=fingerprint)
    name: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)
    traits: Mapping[str, Any] = attrs.field(factory=dict[str, Any], repr=_names)
    types: Mapping[str, Any] = attrs.field(factory=dict[str, Any], repr=False)
    type_conflicts: Mapping[str, Any] = attrs.field(factory=dict[str, Any], repr=False)
    being_deleted: bool = False
    url: str | None = attrs.field(default=None, repr=False)
    created_at: datetime | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Page:
    """One page of a vendor's users.

    Attributes:
        users: The users, in the vendor's order.
        next_token: Token of the next page, or None on the last one.
        total: Number of users on all pages, if the vendor reports it.
    """

    users: tuple[StoredUser, ...]
    next_token: str | None = attrs.field(default=None, repr=False)
    total: int | None = None


class Operation(StrEnum):
    """Something that a key may or may not be allowed to do."""

    WRITE = "write"
    BATCH = "batch"
    READ_RESULTS = "read_results"
    LIST = "list"
    COMPARE = "compare"
    DELETE = "delete"
    EXPORT = "export"


def _token(text: str | None) -> str | None:
    return text if text is not None and re.fullmatch("(?! )[ -~]{1,100}(?<! )", text) else None


@attrs.frozen
class KeyInfo:
    """What a vendor reports about the key in use.

    Attributes:
        backend: Name of the backend.
        region: Where the vendor stores the data, if it has regions.
        level: What the key permits, as the vendor names it; None unless it is a token.
        organisation: The vendor's id of the organisation; None unless it is a token.
        operations: What the key permits, or None if that is not known.

    A token has up to 100 printable ASCII characters and no space at its ends.
    """

    backend: str
    region: str | None = None
    level: str | None = attrs.field(default=None, converter=_token)
    organisation: str | None = attrs.field(default=None, converter=_token)
    operations: tuple[Operation, ...] | None = None


@fast_frozen
class EncodedUser:
    """One user encoded for a batch.

    Attributes:
        backend: Name of the backend.
        content: The user's payload, serialised once, or None if a rule is broken.
        adjustments: How what is sent differs from the user's traits.
        violations: The rules broken.
        fields: What the vendor holds of the user after the import; see `Plan`.
    """

    backend: str
    content: bytes | None = attrs.field(repr=False)
    adjustments: tuple[Adjustment, ...] = ()
    violations: tuple[Violation, ...] = ()
    fields: Mapping[str, Any] | None = attrs.field(default=None, repr=False, hash=False)


@fast_frozen(kw_only=True)
class BatchEntry:
    """One user of a batch, with everything by which the vendor's results may identify them.

    Attributes:
        user_id: Your own id of the user.
        vendor_id: The vendor's own id that was sent.
        content: The payload that was sent; needed only if there is no id.
    """

    user_id: str | None = attrs.field(default=None, repr=fingerprint)
    vendor_id: str | None = attrs.field(default=None, repr=fingerprint)
    content: bytes | None = attrs.field(default=None, repr=False)


def _enum_text(status: str | None) -> str | None:
    return status if status is not None and re.fullmatch("[A-Z_]{1,32}", status) else None


@attrs.frozen
class JobProgress:
    """Progress of a batch job.

    Attributes:
        running: True until the job has finished.
        imported: Users imported so far.
        rejected: Users rejected so far.
        status: The vendor's status if the adapter does not know it, to be shown to people. A text other than up to 32
            capital letters and underscores becomes None.
    """

    running: bool
    imported: int = 0
    rejected: int = 0
    status: str | None = attrs.field(default=None, converter=_enum_text)


@attrs.frozen
class ExportProgress:
    """Progress of an export.

    Attributes:
        file_id: The vendor's id of the file, or None while the export runs.
        makes_progress: False if the vendor does not say that the export runs.
    """

    file_id: str | None = attrs.field(default=None, repr=False)
    makes_progress: bool = True


@attrs.frozen
class ExportLink:
    """A link to the file of an export, from which anybody can download it.

    Attributes:
        url: The link, a secret.
        expires_at: When it expires, if the vendor says so.
    """

    url: str = attrs.field(repr=False)
    expires_at: datetime | None = None


@attrs.frozen
class BatchTooLarge:
    """The vendor rejected a batch for its size in bytes."""

    backend: str


@attrs.frozen
class Comparison:
    """How a user stored by a vendor differs from what would be sent, by dotted paths and never by values.

    Attributes:
        backend: Name of the backend.
        missing: True if the vendor has no such user.
        differing: Paths at which the vendor has another value.
        absent: Paths at which the vendor has no value.
        extra: Paths at which the vendor has a value and the user has none.
    """

    backend: str
    missing: bool = False
    differing: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Return True if the vendor has the user and nothing differs."""
        return not (self.missing or self.differing or self.absent or self.extra)


@runtime_checkable
class SupportsRead(Protocol):
    """A backend that reads users."""

    def get(self, user_id: str, /) -> Exchange[StoredUser | Failure | None]:
        """Return the user with that id, or None if the vendor has none."""
        ...

    def pages(self, *, page_token: str | None = None) -> Iterator[Exchange[Page | Failure]]:
        """Yield one exchange per page, starting at *page_token*; run each before you ask for the next.

        A Failure ends the iteration.
        """
        ...


@runtime_checkable
class SupportsExport(Protocol):
    """A backend that exports all users to one file, with one user per line."""

    def start_export(self) -> Exchange[str | Failure]:
        """Start an export and return the id of its operation."""
        ...

    def poll_export(self, operation: str, /) -> Exchange[ExportProgress | Failure]:
        """Return the progress of an *operation*; `Rejected` if it has failed or the vendor no longer knows it."""
        ...

    def link_export(self, file_id: str, /) -> Exchange[ExportLink | Failure]:
        """Return a new link to a file; `Rejected` if the vendor no longer has it."""
        ...

    def read_exported(self, line: bytes, /) -> StoredUser | None:
        """Return the user in one *line* of the file, or None if there is none; pure."""
        ...


@runtime_checkable
class SupportsDelete(Protocol):
    """A backend that deletes users."""

    def delete(self, user_id: str, /) -> Exchange[Outcome]:
        """Ask the vendor to delete the user with that id and everything recorded of them."""
        ...


@runtime_checkable
class SupportsExclude(Protocol):
    """A backend that deletes the recordings of a user and never records them again."""

    def exclude(self, *, user_id: str | None = None, email: str | None = None) -> Exchange[Outcome]:
        """Ask the vendor to delete everything recorded of the user and to stop recording them."""
        ...


@runtime_checkable
class SupportsCompare(Protocol):
    """A backend that compares the user stored by the vendor with what it would send."""

    @property
    def compare_writes(self) -> bool:
        """Return True if the vendor shows a user only in response to a write, which may create them."""
        ...

    def compare(self, user: UserTraits, /) -> Exchange[Comparison | Failure]:
        """Compare what the vendor stores with what `identify` would send for *user*."""
        ...


@runtime_checkable
class SupportsPartialUpdate(Protocol):
    """A backend whose plans have fields, and that can send some of them."""

    def plan(self, user: UserTraits, /, *, only: Container[str] | None = None) -> Plan:
        """Return a plan whose request holds the fields named in *only*, or all of them if it is None.

        The fields, the adjustments and the violations of the plan are those of the whole user.
        """
        ...

    def send(self, user: UserTraits, plan: Plan, /) -> Exchange[Outcome]:
        """Send a *plan* of *user*, and return `Plan.unsent` if it has no request."""
        ...


@runtime_checkable
class SupportsVerify(Protocol):
    """A backend that can verify its key."""

    def verify(self) -> Exchange[KeyInfo | Failure]:
        """Ask the vendor which organisation the key belongs to and what it permits."""
        ...


@runtime_checkable
class SupportsMultiIdentify(Protocol):
    """A backend that sends several users in one request, with a response for each."""

    @property
    def max_users(self) -> Limit:
        """Return the limit on users in one request."""
        ...

    def identify_many(self, users: Sequence[UserTraits], /) -> Exchange[tuple[Outcome, ...]]:
        """Send *users*, at most `max_users` of them, and return one outcome each, in their order.

        No user is rejected because of another: a rejected request is sent again in parts.
        """
        ...


@runtime_checkable
class SupportsBatch(Protocol):
    """A backend that imports many users as an asynchronous job, with an outcome for each at its end.

    Creating, polling and collecting are three exchanges, so that a caller can store the idempotency key before the
    first and the job's id after it, and resume after a crash.
    """

    @property
    def batch_limits(self) -> BatchLimits:
        """Return the vendor's published limits on batches."""
        ...

    @property
    def spent_key_statuses(self) -> frozenset[int]:
        """Return the statuses that the vendor repeats for as long as it remembers an idempotency key."""
        ...

    def encode_for_batch(self, user: UserTraits, /, *, only: Container[str] | None = None) -> EncodedUser:
        """Return *user* encoded for a batch; pure and deterministic.

        *only* is as for `SupportsPartialUpdate`; a backend that returns no fields is never passed it.
        """
        ...

    def batch_body(self, contents: Iterable[bytes], /) -> bytes:
        """Return the body of a batch with the `EncodedUser.content` of each user."""
        ...

    def batch_contents(self, body: bytes, /) -> Sequence[bytes]:
        """Return the contents passed to `batch_body`, or equivalent ones, in their order."""
        ...

    def create_job(self, body: bytes, /, *, idempotency_key: str) -> Exchange[str | BatchTooLarge | Failure]:
        """Send the batch and return the id of its job; the same *body* and key return the same job again."""
        ...

    def poll_job(self, job_id: str, /) -> Exchange[JobProgress | Failure]:
        """Return the progress of the job."""
        ...

    def collect_job(self, job_id: str, entries: Sequence[BatchEntry], /) -> Exchange[tuple[Outcome, ...] | Failure]:
        """Return one outcome for each of the *entries*, in their order, once the job has finished."""
        ...
