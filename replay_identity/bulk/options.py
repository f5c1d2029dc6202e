"""Delivery settings of one backend."""

from typing import Final

import attrs

from ..adapters.limits import BatchLimits
from ..errors import check_positive

_MEBIBYTE: Final = 2**20
# Without a ledger, the users of unfinished jobs are in memory, at about 1.5 KB each.
_MAX_USERS_IN_MEMORY: Final = 50_000
_MAX_BATCH_IN_MEMORY: Final = 10_000


@attrs.frozen(kw_only=True)
class DeliveryOptions:
    """How fast and how patiently users are delivered to one backend.

    Attributes:
        connections: Maximum number of requests in flight.
        requests_per_minute: Maximum number of requests in any minute, polls included; None if no quota is known.
        batch_users: Maximum number of users in one batch or request; the vendor's limit by default.
        batch_bytes: Maximum size of a batch in bytes; halved for the rest of a run if the vendor finds it too large.
        max_jobs: Maximum number of unfinished jobs; the vendor's limit by default. Set it if others share that limit.
        max_open_users: Maximum number of users in unfinished jobs; the vendor's limit by default.
        timeout: Timeout of one request in seconds.
        patience: Seconds of nothing but failures, or of jobs without progress, after which a run gives up on the
            backend.
        job_patience: Seconds after which a job that has not ended is abandoned, and its users are sent again.
        wait_initial: Maximum delay after a first failure in seconds; it doubles with each further failure.
        wait_max: Maximum delay after any failure in seconds, unless the vendor asks for more.
        poll_initial: Delay before the first poll of a job in seconds; it doubles with each poll. A job of more than
            1,000 users waits up to *poll_max* before its first poll, while there are other users to send.
        poll_max: Maximum delay between two polls of a job in seconds.
        download_bytes: Maximum size of the file of an export in bytes, packed and unpacked.
        download_timeout: Timeout of the whole download of an export in seconds; *timeout* limits each pause in it.
    """

    connections: int = attrs.field(default=64, validator=check_positive)
    requests_per_minute: float | None = attrs.field(default=None, validator=check_positive)
    batch_users: int | None = attrs.field(default=None, validator=check_positive)
    batch_bytes: int = attrs.field(default=8 * _MEBIBYTE, validator=check_positive)
    max_jobs: int | None = attrs.field(default=None, validator=check_positive)
    max_open_users: int | None = attrs.field(default=None, validator=check_positive)
    timeout: float = attrs.field(default=60.0, validator=check_positive)
    patience: float = attrs.field(default=300.0, validator=check_positive)
    job_patience: float = attrs.field(default=86_400.0, validator=check_positive)
    wait_initial: float = attrs.field(default=0.5, validator=check_positive)
    wait_max: float = attrs.field(default=30.0, validator=check_positive)
    poll_initial: float = attrs.field(default=0.1, validator=check_positive)
    poll_max: float = attrs.field(default=15.0, validator=check_positive)
    download_bytes: int = attrs.field(default=64 * 2**30, validator=check_positive)
    download_timeout: float = attrs.field(default=14_400.0, validator=check_positive)

    def max_users(self, vendor_limit: int) -> int:
        """Return the maximum number of users in one batch or request, where the vendor allows *vendor_limit*."""
        return _smaller(vendor_limit, self.batch_users)

    def max_batch_users(self, limits: BatchLimits) -> int:
        """Return the maximum number of users in one batch."""
        return min(self.max_users(limits.users.maximum), self.max_users_in_jobs(limits))

    def max_open_jobs(self, limits: BatchLimits) -> int:
        """Return the maximum number of unfinished jobs."""
        return _smaller(limits.running_jobs.maximum, self.max_jobs)

    def max_users_in_jobs(self, limits: BatchLimits) -> int:
        """Return the maximum number of users in unfinished jobs."""
        return _smaller(limits.open_users.maximum, self.max_open_users)

    def within_memory(self) -> "DeliveryOptions":
        """Return the options for a run without a ledger, in which the users of unfinished jobs are in memory."""
        return attrs.evolve(
            self,
            batch_users=_smaller(_MAX_BATCH_IN_MEMORY, self.batch_users),
            max_open_users=_smaller(_MAX_USERS_IN_MEMORY, self.max_open_users),
        )


def _smaller(vendor_limit: int, own_limit: int | None) -> int:
    return vendor_limit if own_limit is None else min(vendor_limit, own_limit)
