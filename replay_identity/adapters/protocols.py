"""What every backend can do, and what only some can, as small protocols."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """What a backend would send for one user: a dry run.

    Attributes:
        backend: Name of the backend.
        request: The request, or None when there is nothing to send or something keeps the user from being sent.
        adjustments: How what is sent differs from what was given.
        violations: The rules broken; with any, nothing is sent.
    """

    backend: str
    request: Request | None
    adjustments: tuple[Adjustment, ...] = ()
    violations: tuple[Violation, ...] = ()

    @property
    def unsent(self) -> Rejected | Skipped:
        """Return the outcome of a plan without a request."""
        if self.violations:
            return Rejected(self.backend, self.violations)
        return Skipped(self.backend, SkipReason.NOTHING_TO_SEND)


class IdentityBackend(Protocol):
    """A vendor's words for identifying users; does no I/O."""

    @property
    def name(self) -> str:
        """Return the name that outcomes and settings carry."""
        ...

    @property
    def limits(self) -> Limits:
        """Return the vendor's published limits."""
        ...

    def plan(self, user: UserTraits, /) -> Plan:
        """Return what would be sent for *user*; pure and deterministic."""
        ...

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send *user* unless a rule is broken."""
        ...


def _names(traits: Mapping[str, Any]) -> str:
    return f"[{', '.join(printable(name) for name in traits)}]"


@attrs.frozen(kw_only=True)
class StoredUser:
    """A user as a vendor holds them.

    Attributes:
        backend: Name of the backend.
        vendor_id: The vendor's own id, a string however many digits it has.
        user_id: The application's id, or None for an anonymous user.
        name: The name shown.
        email: The e-mail address.
        traits: Trait names to values as the vendor's JSON has them.
        types: Declared or inferred types by dotted path, where they were asked for.
        type_conflicts: Types by dotted path of traits that were seen with several.
        being_deleted: True while an asynchronous deletion runs.
        url: Link to the user in the vendor's application.
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


@attrs.frozen
class Page:
    """Some of a vendor's users.

    Attributes:
        users: The users, in the vendor's order.
        next_token: What to ask the next page with, or None on the last one.
        total: How many users match on all pages, where the vendor says so.
    """

    users: tuple[StoredUser, ...]
    next_token: str | None = attrs.field(default=None, repr=False)
    total: int | None = None


@attrs.frozen
class KeyInfo:
    """What a vendor says of the key it was asked with.

    Attributes:
        backend: Name of the backend.
        region: Where the vendor keeps the data, where it has regions.
        level: What the key may do, in the vendor's word.
        organisation: The vendor's id of the organisation.
    """

    backend: str
    region: str | None = None
    level: str | None = None
    organisation: str | None = None


@fast_frozen
class EncodedUser:
    """What a backend would put into a batch for one user.

    Attributes:
        backend: Name of the backend.
        content: The user in the vendor's words, serialised once, or None when a rule keeps them from being sent.
        adjustments: How what is sent differs from what was given.
        violations: The rules broken.
    """

    backend: str
    content: bytes | None = attrs.field(repr=False)
    adjustments: tuple[Adjustment, ...] = ()
    violations: tuple[Violation, ...] = ()


@fast_frozen(kw_only=True)
class BatchEntry:
    """One user of a batch, by all that the vendor's results may name them with.

    Attributes:
        user_id: The application's id.
        vendor_id: The vendor's own id that the item was sent with.
        content: The item as it was sent; needed only where there is no id at all.
    """

    user_id: str | None = attrs.field(default=None, repr=fingerprint)
    vendor_id: str | None = attrs.field(default=None, repr=fingerprint)
    content: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen
class JobProgress:
    """How far a vendor is with a batch.

    Attributes:
        running: Whether it still works on it.
        imported: Users it has taken so far.
        rejected: Users it has refused so far.
    """

    running: bool
    imported: int = 0
    rejected: int = 0


@attrs.frozen
class BatchTooLarge:
    """The vendor takes no batch of so many bytes, at the backend of that name."""

    backend: str


@attrs.frozen
class Comparison:
    """How what a vendor holds of one user differs from what it would be sent, by dotted paths and never by values.

    Attributes:
        backend: Name of the backend.
        missing: Whether the vendor has no such user.
        differing: Paths at which the vendor holds another value.
        absent: Paths at which it holds none.
        extra: Paths at which it holds a value that the user does not have.
    """

    backend: str
    missing: bool = False
    differing: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Tell whether the vendor holds the user, and nothing else of them."""
        return not (self.missing or self.differing or self.absent or self.extra)


@runtime_checkable
class SupportsRead(Protocol):
    """A backend that shows users back."""

    def get(self, user_id: str, /) -> Exchange[StoredUser | Failure | None]:
        """Return the user of the application's id, or None if the vendor has none."""
        ...

    def pages(self, *, page_token: str | None = None) -> Iterator[Exchange[Page | Failure]]:
        """Yield one exchange per page, from that of *page_token* on; run each before asking for the next.

        A Failure ends it.
        """
        ...


@runtime_checkable
class SupportsDelete(Protocol):
    """A backend that deletes users."""

    def delete(self, user_id: str, /) -> Exchange[Outcome]:
        """Ask the vendor to delete the user of the application's id, and all that was recorded of them."""
        ...


@runtime_checkable
class SupportsExclude(Protocol):
    """A backend that deletes what it recorded of a user and never records them again."""

    def exclude(self, *, user_id: str | None = None, email: str | None = None) -> Exchange[Outcome]:
        """Have the vendor delete all that it recorded of the user, and record no more of them."""
        ...


@runtime_checkable
class SupportsCompare(Protocol):
    """A backend that can tell how what its vendor holds of a user differs from what it would send."""

    @property
    def compare_writes(self) -> bool:
        """Tell whether the vendor shows a user only in reply to a write, which may create them."""
        ...

    def compare(self, user: UserTraits, /) -> Exchange[Comparison | Failure]:
        """Compare what the vendor holds with what `identify` would send for *user*."""
        ...


@runtime_checkable
class SupportsVerify(Protocol):
    """A backend that can tell whether its key is good."""

    def verify(self) -> Exchange[KeyInfo | Failure]:
        """Ask the vendor who the key belongs to and what it may do."""
        ...


@runtime_checkable
class SupportsMultiIdentify(Protocol):
    """A backend that takes several users in one request and answers at once what became of each."""

    @property
    def max_users(self) -> Limit:
        """Return how many users one request takes."""
        ...

    def identify_many(self, users: Sequence[UserTraits], /) -> Exchange[tuple[Outcome, ...]]:
        """Send *users*, at most `max_users` of them, and return what became of each, in their order.

        Nobody is refused for another's sake: what one of them spoils is sent again in parts.
        """
        ...


@runtime_checkable
class SupportsBatch(Protocol):
    """A backend that takes many users at once as a job, and tells later what became of each.

    Creating, polling and collecting are three exchanges, so that a caller can store the idempotency key before the
    first and the job's id after it, and go on after a crash.
    """

    @property
    def batch_limits(self) -> BatchLimits:
        """Return the vendor's published limits on batches."""
        ...

    @property
    def spent_key_statuses(self) -> frozenset[int]:
        """Return the statuses that the vendor repeats for as long as it keeps an idempotency key."""
        ...

    def encode_for_batch(self, user: UserTraits, /) -> EncodedUser:
        """Return what a batch would hold for *user*; pure and deterministic."""
        ...

    def batch_body(self, contents: Iterable[bytes], /) -> bytes:
        """Return the body of the batch that holds the `EncodedUser.content` of each user."""
        ...

    def batch_contents(self, body: bytes, /) -> Sequence[bytes]:
        """Return the contents that `batch_body` was given, or others of the same meaning, in their order."""
        ...

    def create_job(self, body: bytes, /, *, idempotency_key: str) -> Exchange[str | BatchTooLarge | Failure]:
        """Send the batch and return the id of its job; the same *body* and key again return the same job."""
        ...

    def poll_job(self, job_id: str, /) -> Exchange[JobProgress | Failure]:
        """Ask how far the job is."""
        ...

    def collect_job(self, job_id: str, entries: Sequence[BatchEntry], /) -> Exchange[tuple[Outcome, ...] | Failure]:
        """Return what became of each of the *entries*, in their order, once the job no longer runs."""
        ...
