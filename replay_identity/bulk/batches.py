"""Send users in import batches of thousands, each stored before it is sent."""

import attrs

from .._text import pluralize
from ..adapters.protocols import EncodedUser, SupportsBatch
from ..adapters.responses import adapter_error, checked_outcome
from ..ledger import Claim, JobEntry
from ..outcomes import Outcome, Rejected, lossy_adjustments
from ..router import Route
from ..traits import UserTraits
from .dispatch import Buffer, BufferedDispatcher
from .jobs import ImportJobs


@attrs.define(kw_only=True)
class BatchDispatcher(BufferedDispatcher[JobEntry, bytes]):
    """Send users in batches.

    Attributes:
        backend: The backend of the route.
        jobs: Runs the vendor's imports.
    """

    backend: SupportsBatch
    jobs: ImportJobs

    def dispatch(self, *, is_last: bool) -> None:
        """Start as many batches as the vendor allows; one that is not full only if *is_last* or it has lingered."""
        self.jobs.has_more_to_send = not is_last
        while self.jobs.has_room(self.max_users) and (
            batch := self._take_buffer(is_last=is_last, max_bytes=self.jobs.max_bytes)
        ):
            self.jobs.start(batch.entries, batch.contents)

    def status_text(self) -> str:
        """Return what jobs are running, or an empty string."""
        if not self.jobs.count:
            return ""
        return f"{pluralize(self.jobs.count, 'job')} with {pluralize(self.jobs.users, 'user')}"

    def _add(self, claim: Claim, buffer: Buffer[JobEntry, bytes]) -> None:
        encoded = encode_for_batch(self.route, self.backend, claim.user)
        if not isinstance(encoded, EncodedUser):
            self.outbox.settle(claim, encoded)
            return
        if encoded.content is None:
            self.outbox.settle(claim, Rejected(self.route.name, encoded.violations))
            return
        user = claim.user
        vendor_id = user.vendor_ids.get(self.route.name)
        losses = lossy_adjustments(encoded.adjustments)
        buffer.entries.append(JobEntry(claim.row_id, claim.version, user.user_id, vendor_id, losses))
        # What orjson returns takes 4 KiB however short it is; a copy does not.
        buffer.contents.append(memoryview(encoded.content).tobytes())
        buffer.size += len(encoded.content) + 1


def encode_for_batch(route: Route, backend: SupportsBatch, user: UserTraits) -> EncodedUser | Outcome:
    """Return *user* encoded for a batch, or the outcome if it is known without sending."""
    try:
        seen = route.apply(user)
        encoded = backend.encode_for_batch(seen) if isinstance(seen, UserTraits) else seen
        if isinstance(encoded, EncodedUser) and _is_content(encoded.content):
            return encoded
        return checked_outcome(route.name, encoded)
    except Exception as error:  # noqa: BLE001  # A bug in an adapter or a route must not stop the run.
        return adapter_error(route.name, error)


def _is_content(content: object) -> bool:
    return content is None or isinstance(content, bytes)
