"""Assemble Fullstory's emulator from its parts."""

from collections.abc import Mapping, Sequence

import attrs
from attrs import validators

from ..base import Emulator
from ..journal import WriteLog
from .api import FullstoryApi
from .batch import BatchEndpoints
from .batch_rules import BatchRules, JobFaults
from .exports import ExportEndpoints, ExportRules
from .idempotency import IdempotencyCache
from .jobs import BatchJob, EmulatedJobs, JobPages, JobRunner
from .properties import Oversized
from .routes import Level
from .single import DeleteResponse, StreamedImports, UserEndpoints, UserListing
from .users import FullstoryUser, FullstoryUsers, UserWriter


def _default_keys() -> Mapping[str, Level]:
    return {"na1.emulator": Level.ADMIN}


@attrs.define(kw_only=True, eq=False)
class FullstoryEmulator(Emulator):
    """A fake Fullstory: single, streamed and batched users, and exports of segments.

    See `Emulator` for the shared attributes.

    Attributes:
        api_keys: The valid keys and their levels.
        page_size: Users per page of the list.
        oversized: `reject` a request with a property value over 8192 bytes, or silently `drop` the property.
        deletion_seconds: Seconds for which a deleted user is still visible as being deleted.
        replays_faults: Whether the status of an injected fault is stored under its Idempotency-Key and replayed for
            24 h, as Fullstory documents it for its own failures except 429 and those above 500.
        organisation: The organisation's id, which GET /me reports.
        email: The e-mail address that GET /me reports; a key of the organisation has none.
        delete_response: Body of a successful delete: `object` is `{}`, `empty` no bytes, `no-content` a 204.
        stream_polls: Number of polls for which the id of a streamed user is empty.
        exports: The rules of exports of segments.
        batch: The rules of batch imports.
        job_faults: The faults to inject into batch imports after they were accepted.
    """

    api_keys: Mapping[str, Level] = attrs.field(factory=_default_keys, repr=False)
    page_size: int = 100
    oversized: Oversized = "reject"
    # Policy: the documents say that deletion is asynchronous, but not how long it takes.
    deletion_seconds: float = 30.0
    # Policy: by default a fault simulates a failure between the client and Fullstory.
    replays_faults: bool = False
    organisation: str = "EMULATOR"
    email: str = attrs.field(default="", repr=False)
    delete_response: DeleteResponse = attrs.field(
        default="object", validator=validators.in_(("object", "empty", "no-content"))
    )
    # Policy: the documents do not say how long a streamed import takes.
    stream_polls: int = attrs.field(default=0, validator=validators.ge(0))
    exports: ExportRules = attrs.field(factory=ExportRules)
    batch: BatchRules = attrs.field(factory=BatchRules)
    job_faults: JobFaults = attrs.field(init=False, factory=JobFaults)
    _users: FullstoryUsers = attrs.field(init=False, repr=False)
    _jobs: EmulatedJobs = attrs.field(init=False, repr=False)

    @property
    def users(self) -> Mapping[str, FullstoryUser]:
        """A snapshot of the users by Fullstory id."""
        return self._users.all()

    @property
    def jobs(self) -> Sequence[BatchJob]:
        """A snapshot of the batch imports in order of arrival."""
        return self._jobs.all()

    def by_uid(self, uid: str) -> FullstoryUser | None:
        """Return the user with this uid, or None if there is none or it is being deleted."""
        return self._users.by_uid(uid)

    def make_api(self, applied: WriteLog) -> FullstoryApi:
        """Return Fullstory's API, which records its writes in *applied*."""
        self._users = FullstoryUsers(clock=self.clock, deletion_seconds=self.deletion_seconds)
        writer = UserWriter(users=self._users, applied=applied, oversized=self.oversized)
        self._jobs = EmulatedJobs(rules=self.batch, clock=self.clock, write=writer.write_item, faults=self.job_faults)
        listing = UserListing(users=self._users, page_size=self.page_size, clock=self.clock)
        pages = JobPages(page_size=self.batch.page_size, last_page=self.batch.last_page)
        runner = JobRunner(self._jobs)
        streams = StreamedImports(polls=self.stream_polls)
        exports = ExportEndpoints(rules=self.exports, users=self._users, clock=self.clock)
        single = UserEndpoints(
            users=self._users, listing=listing, writer=writer, streams=streams, delete_response=self.delete_response
        )
        batch = BatchEndpoints(rules=self.batch, users=self._users, jobs=self._jobs, pages=pages, runner=runner)
        return FullstoryApi(
            api_keys=self.api_keys,
            users=self._users,
            applied=applied,
            listing=listing,
            jobs=self._jobs,
            job_pages=pages,
            runner=runner,
            exports=exports,
            streams=streams,
            idempotency=IdempotencyCache(self.clock),
            # The batch routes come first, since "batch" would match as the id of a user.
            routes=(*batch.routes(), *single.routes(), *exports.routes()),
            replays_faults=self.replays_faults,
            organisation=self.organisation,
            email=self.email,
        )
