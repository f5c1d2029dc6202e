"""Fullstory as an ASGI app."""

import random
import time
from collections.abc import Callable, Mapping, Sequence

import attrs
from starlette.types import Receive, Scope, Send

from ..answer import JsonValue
from ..applied import Applied
from ..faults import Faults
from ..front import Front
from ..journal import KEEP_BYTES, Journal, RecordedRequest
from ..rate_limit import Clock, Limiter, RateLimit
from ..vendor import Backstage
from .access import Level
from .api import Api
from .batch import BatchImports
from .batch_rules import BatchRules
from .idempotency import Replays
from .job import BatchJob
from .job_faults import JobFaults
from .job_pages import JobPages
from .jobs import Jobs
from .listing import Listing
from .properties import Oversized
from .single import SingleUsers
from .users import FullstoryUser, Users
from .worker import Worker
from .writer import Writer


def _default_keys() -> Mapping[str, Level]:
    return {"na1.emulator": Level.ADMIN}


@attrs.define(kw_only=True, eq=False)
class FullstoryEmulator:
    """A fake Fullstory, server API v2 for users, one by one and in batches.

    Attributes:
        api_keys: The keys it knows, and what each may do.
        page_size: Users on a page of the list.
        clock: Seconds since the epoch.
        oversized: Whether a property value over 8192 bytes fails the request or is dropped without a word.
        deletion_seconds: How long a deleted user stays visible as being deleted.
        remembers_faults: Whether a status answered by a fault is kept under its Idempotency-Key and replayed
            for 24 h, as Fullstory documents it for its own, all but 429 and those above 500.
        rate_limit: When to answer 429.
        max_body: Bytes of a request body, over which 413 is answered.
        batch: How batch imports run, and their limits.
        journal_bytes: Bytes of request bodies kept in `requests`; over it, the oldest are let go.
        keeps_history: Whether `history` keeps what was applied to each user.
        draw: Gives a number in [0, 1) for faults with a probability.
        faults: What is to go wrong with requests.
        job_faults: What is to go wrong with batch imports after they were accepted.
    """

    api_keys: Mapping[str, Level] = attrs.field(factory=_default_keys, repr=False)
    page_size: int = 100
    clock: Clock = attrs.field(default=time.time, repr=False)
    oversized: Oversized = "refuse"
    # Policy: the documents say that deletion is asynchronous, and not how long it takes.
    deletion_seconds: float = 30.0
    # Policy: a fault stands for something between the client and Fullstory, unless told otherwise.
    remembers_faults: bool = False
    rate_limit: RateLimit | None = None
    max_body: int = 50_000_000
    batch: BatchRules = attrs.field(factory=BatchRules)
    journal_bytes: int = KEEP_BYTES
    keeps_history: bool = False
    draw: Callable[[], float] = attrs.field(default=random.random, repr=False)
    faults: Faults = attrs.field(init=False)
    job_faults: JobFaults = attrs.field(init=False, factory=JobFaults)
    _users: Users = attrs.field(init=False, repr=False)
    _applied: Applied = attrs.field(init=False, repr=False)
    _jobs: Jobs = attrs.field(init=False, repr=False)
    _backstage: Backstage = attrs.field(init=False, repr=False)
    _front: Front = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.faults = Faults(draw=self.draw)
        self._users = Users(clock=self.clock, deletion_seconds=self.deletion_seconds)
        self._applied = Applied(keeps_history=self.keeps_history)
        writer = Writer(users=self._users, applied=self._applied, oversized=self.oversized)
        self._jobs = Jobs(rules=self.batch, clock=self.clock, write=writer.write_item, faults=self.job_faults)
        self._backstage = Backstage(
            vendor=self._api(writer),
            faults=self.faults,
            limiter=Limiter(limit=self.rate_limit, clock=self.clock),
            journal=Journal(keep_bytes=self.journal_bytes),
        )
        self._front = Front(backstage=self._backstage, max_body=self.max_body)

    @property
    def users(self) -> Mapping[str, FullstoryUser]:
        """The users by Fullstory id, as they stand now."""
        return self._users.all()

    @property
    def requests(self) -> Sequence[RecordedRequest]:
        """The requests in order of arrival, as they stand now."""
        return self._backstage.journal.entries

    @property
    def jobs(self) -> Sequence[BatchJob]:
        """The batch imports in order of arrival, as they stand now."""
        return self._jobs.all()

    @property
    def applied(self) -> Mapping[str, int]:
        """How often each user was written to, alone or in a batch, by uid or else by Fullstory id."""
        return self._applied.counts

    @property
    def total_applied(self) -> int:
        """How often all users together were written to."""
        return self._applied.total

    def history(self, user_id: str) -> Sequence[JsonValue]:
        """Return what was applied to the user with that uid, or else that Fullstory id, as sent, oldest first.

        Raises:
            HistoryNotKeptError: The emulator was made without `keeps_history=True`.
        """
        return self._applied.history(user_id)

    def by_uid(self, uid: str) -> FullstoryUser | None:
        """Return the user with that uid, unless it is being deleted."""
        return self._users.by_uid(uid)

    def reset(self) -> None:
        """Forget users, jobs, requests, faults and counts."""
        self._backstage.reset()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._front(scope, receive, send)

    def _api(self, writer: Writer) -> Api:
        listing = Listing(users=self._users, page_size=self.page_size, clock=self.clock)
        pages = JobPages(page_size=self.batch.page_size, last_page=self.batch.last_page)
        worker = Worker(self._jobs)
        single = SingleUsers(users=self._users, listing=listing, writer=writer)
        batch = BatchImports(rules=self.batch, users=self._users, jobs=self._jobs, pages=pages, worker=worker)
        return Api(
            api_keys=self.api_keys,
            users=self._users,
            applied=self._applied,
            listing=listing,
            jobs=self._jobs,
            job_pages=pages,
            worker=worker,
            replays=Replays(self.clock),
            # "batch" would be taken for the id of a user.
            routes=(*batch.routes(), *single.routes()),
            remembers_faults=self.remembers_faults,
        )
