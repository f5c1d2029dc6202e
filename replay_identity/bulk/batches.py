"""Send users in import batches of thousands, each stored before it is sent."""

import attrs

from .._text import pluralize
from ..adapters.protocols import SupportsBatch
from ..ledger import Claim, JobEntry
from ..outcomes import lossy_adjustments
from .changes import Unsent
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
        change = self.planner.encoded_change(claim, self.backend)
        if isinstance(change, Unsent):
            self.outbox.settle(change.claim, change.outcome, lost=change.lost)
            return
        user, compared = claim.user, change.claim
        vendor_id = user.vendor_ids.get(self.route.name)
        losses = lossy_adjustments(change.adjustments)
        buffer.entries.append(
            JobEntry(claim.row_id, claim.version, user.user_id, vendor_id, losses, compared.fields, compared.in_doubt)
        )
        # What orjson returns takes 4 KiB however short it is; a copy does not.
        buffer.contents.append(memoryview(change.content).tobytes())
        buffer.size += len(change.content) + 1
