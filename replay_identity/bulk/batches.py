"""Users in jobs of thousands, each stored before it is sent, so that a crash neither loses nor doubles one."""

import time
from collections.abc import Callable
from typing import Final

import attrs

from .._text import pluralize
from ..adapters.protocols import EncodedUser, SupportsBatch
from ..adapters.responses import adapter_error, checked_outcome
from ..ledger import Claim, JobEntry
from ..outcomes import Outcome, Rejected, lossy_adjustments
from ..router import Route
from ..traits import UserTraits
from ..transport import ConcurrentTransport
from .jobs import ImportJobs
from .options import DeliveryOptions
from .outbox import LedgerOutbox

# Seconds that a batch which is not full waits for more users.
_LINGER: Final = 0.5


@attrs.define
class _OpenBatch:
    """A batch while it fills up."""

    entries: list[JobEntry] = attrs.field(factory=list[JobEntry])
    contents: list[bytes] = attrs.field(factory=list[bytes], repr=False)
    size: int = 0
    since: float = 0.0


@attrs.define
class BatchDispatcher:
    """Send users in batches.

    Attributes:
        route: The backend, and what it may see.
        backend: The same backend, as one that takes batches.
        outbox: Who is to be sent.
        jobs: The batches that are full.
        options: How large batches are.
        clock: Seconds since some fixed moment.
    """

    route: Route
    backend: SupportsBatch
    outbox: LedgerOutbox
    jobs: ImportJobs
    options: DeliveryOptions
    clock: Callable[[], float] = time.monotonic
    _max_users: int = attrs.field(init=False)
    _open: _OpenBatch = attrs.field(factory=_OpenBatch, init=False)

    def __attrs_post_init__(self) -> None:
        self._max_users = self.options.users_at_once(self.backend.batch_limits.users.maximum)

    @property
    def transport(self) -> ConcurrentTransport:
        """Return what sends."""
        return self.jobs.transport

    def dispatch(self, *, is_last: bool) -> None:
        """Start as many batches as the vendor allows; one that is not full only if *is_last* or it waited a while."""
        self.jobs.has_more_to_send = not is_last
        while self.jobs.have_room(self._max_users) and self._fill(is_last=is_last):
            filling, self._open = self._open, _OpenBatch()
            self.jobs.start(filling.entries, filling.contents)

    def status_text(self) -> str:
        """Say what is being waited for, if it is worth saying."""
        if not self.jobs.count:
            return ""
        return f"{pluralize(self.jobs.count, 'job')} with {pluralize(self.jobs.users, 'user')}"

    def _fill(self, *, is_last: bool) -> bool:
        """Take users into the next batch, and tell whether it is to be sent now."""
        filling = self._open
        while len(filling.entries) < self._max_users and filling.size < self.jobs.most_bytes:
            claim = self.outbox.next()
            if claim is None:
                return bool(filling.entries) and (is_last or self.clock() - filling.since >= _LINGER)
            if not filling.entries:
                filling.since = self.clock()
            self._add(claim, filling)
        return True

    def _add(self, claim: Claim, filling: _OpenBatch) -> None:
        """Add one user to a batch, unless it is known already what becomes of them."""
        item = word(self.route, self.backend, claim.user)
        if not isinstance(item, EncodedUser):
            self.outbox.settle(claim, item)
            return
        if item.content is None:
            self.outbox.settle(claim, Rejected(self.route.name, item.violations))
            return
        user = claim.user
        vendor_id = user.vendor_ids.get(self.route.name)
        lost = lossy_adjustments(item.adjustments)
        filling.entries.append(JobEntry(claim.row_id, claim.version, user.user_id, vendor_id, lost))
        # What orjson returns takes up 4 KiB however short it is; a copy does not.
        filling.contents.append(memoryview(item.content).tobytes())
        filling.size += len(item.content) + 1


def word(route: Route, backend: SupportsBatch, user: UserTraits) -> EncodedUser | Outcome:
    """Return *user* in the vendor's words, or what becomes of them without being sent."""
    try:
        seen = route.apply(user)
        item = backend.encode_for_batch(seen) if isinstance(seen, UserTraits) else seen
        if isinstance(item, EncodedUser) and _is_content(item.content):
            return item
        return checked_outcome(route.name, item)
    except Exception as error:  # noqa: BLE001  # A bug of an adapter's, or of a route's, must not stop the run.
        return adapter_error(route.name, error)


def _is_content(content: object) -> bool:
    return content is None or isinstance(content, bytes)
