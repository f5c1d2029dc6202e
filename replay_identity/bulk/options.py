"""How one backend is delivered to in bulk."""

import attrs

from ..errors import check_positive

MEBIBYTE = 2**20


@attrs.frozen(kw_only=True)
class DeliveryOptions:
    """How one backend is delivered to in bulk.

    Attributes:
        connections: Most requests in flight.
        requests_per_minute: Most requests in any minute, polls included; None where no quota is known.
        batch_users: Most users in one batch, or in one request; by default as many as the vendor allows.
        batch_bytes: Most bytes in one batch; halved for the rest of a run where the vendor finds it too large.
        timeout: Seconds that one request may take.
        patience: Seconds of nothing but failures after which a backend is given up on for this run.
        wait_initial: Seconds to wait after a first failure; it doubles with each.
        wait_max: Most seconds to wait on our own accord; what a vendor asks for is waited for however long it is.
        poll_initial: Seconds before a job of up to 1,000 users is first asked after, and so many times more for so
            many times more users; it waits up to *poll_max* while there are others to send. Then the waits double.
        poll_max: Most seconds between two polls of a job.
    """

    connections: int = attrs.field(default=64, validator=check_positive)
    requests_per_minute: float | None = attrs.field(default=None, validator=check_positive)
    batch_users: int | None = attrs.field(default=None, validator=check_positive)
    batch_bytes: int = attrs.field(default=8 * MEBIBYTE, validator=check_positive)
    timeout: float = attrs.field(default=60.0, validator=check_positive)
    patience: float = attrs.field(default=300.0, validator=check_positive)
    wait_initial: float = attrs.field(default=0.5, validator=check_positive)
    wait_max: float = attrs.field(default=30.0, validator=check_positive)
    poll_initial: float = attrs.field(default=0.5, validator=check_positive)
    poll_max: float = attrs.field(default=15.0, validator=check_positive)

    def users_at_once(self, allowed: int) -> int:
        """Return how many users go into one batch, or one request, where the vendor takes so many."""
        return allowed if self.batch_users is None else min(allowed, self.batch_users)
