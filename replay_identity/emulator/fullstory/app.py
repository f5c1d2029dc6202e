"""Fullstory as an ASGI app."""

from collections.abc import Mapping, Sequence

import attrs

from ..base import Emulator
from ..journal import WriteLog
from .api import FullstoryApi
from .batch import BatchEndpoints
from .batch_rules import BatchRules, JobFaults
from .idempotency import IdempotencyCache
from .jobs import BatchJob, EmulatedJobs, JobPages, JobRunner
from .properties import Oversized
from .routes import Level
from .single import UserEndpoints, UserListing
from .users import FullstoryUser, FullstoryUsers, UserWriter


def _default_keys() -> Mapping[str, Level]:
    return {"na1.emulator": Level.ADMIN}


@attrs.define(kw_only=True, eq=False)
class FullstoryEmulator(Emulator):
    """A fake Fullstory, server API v2 for users, one by one and in batches; see `Emulator` for what it shares.

    Attributes:
        api_keys: The keys it knows, and what each may do.
        page_size: Users on a page of the list.
        oversized: Whether a property value over 8192 bytes fails the request or is dropped without a word.
        deletion_seconds: How long a deleted user stays visible as being deleted.
        replays_faults: Whether a status answered by a fault is kept under its Idempotency-Key and replayed
            for 24 h, as Fullstory documents it for its own, all but 429 and those above 500.
        batch: How batch imports run, and their limits.
        job_faults: What is to go wrong with batch imports after they were accepted.
    """

    api_keys: Mapping[str, Level] = attrs.field(factory=_default_keys, repr=False)
    page_size: int = 100
    oversized: Oversized = "refuse"
    # Policy: the documents say that deletion is asynchronous, and not how long it takes.
    deletion_seconds: float = 30.0
    # Policy: a fault stands for something between the client and Fullstory, unless told otherwise.
    replays_faults: bool = False
    batch: BatchRules = attrs.field(factory=BatchRules)
    job_faults: JobFaults = attrs.field(init=False, factory=JobFaults)
    _users: FullstoryUsers = attrs.field(init=False, repr=False)
    _jobs: EmulatedJobs = attrs.field(init=False, repr=False)

    @property
    def users(self) -> Mapping[str, FullstoryUser]:
        """The users by Fullstory id, as they stand now."""
        return self._users.all()

    @property
    def jobs(self) -> Sequence[BatchJob]:
        """The batch imports in order of arrival, as they stand now."""
        return self._jobs.all()

    def by_uid(self, uid: str) -> FullstoryUser | None:
        """Return the user with that uid, unless it is being deleted."""
        return self._users.by_uid(uid)

    def make_api(self, applied: WriteLog) -> FullstoryApi:
        """Return Fullstory's rules and state."""
        self._users = FullstoryUsers(clock=self.clock, deletion_seconds=self.deletion_seconds)
        writer = UserWriter(users=self._users, applied=applied, oversized=self.oversized)
        self._jobs = EmulatedJobs(rules=self.batch, clock=self.clock, write=writer.write_item, faults=self.job_faults)
        listing = UserListing(users=self._users, page_size=self.page_size, clock=self.clock)
        pages = JobPages(page_size=self.batch.page_size, last_page=self.batch.last_page)
        worker = JobRunner(self._jobs)
        single = UserEndpoints(users=self._users, listing=listing, writer=writer)
        batch = BatchEndpoints(rules=self.batch, users=self._users, jobs=self._jobs, pages=pages, worker=worker)
        return FullstoryApi(
            api_keys=self.api_keys,
            users=self._users,
            applied=applied,
            listing=listing,
            jobs=self._jobs,
            job_pages=pages,
            worker=worker,
            replays=IdempotencyCache(self.clock),
            # "batch" would be taken for the id of a user.
            routes=(*batch.routes(), *single.routes()),
            replays_faults=self.replays_faults,
        )
