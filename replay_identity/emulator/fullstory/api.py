"""From a request to an endpoint: key, level, route, idempotency."""

import asyncio
from collections.abc import Mapping, Sequence

import attrs

from ..http import JsonValue, ReceivedRequest, VendorResponse, json_response
from ..journal import WriteLog
from ..vendor import Delay, View
from .errors import RefusalError, failure
from .idempotency import Replays
from .jobs import JobPages, Jobs, Worker
from .routes import ROLES, Level, Route, find_route, level_of, require
from .single import Listing, user_json
from .users import Users


@attrs.define(kw_only=True)
class Api:
    """Fullstory's rules and state, without any HTTP."""

    api_keys: Mapping[str, Level] = attrs.field(repr=False)
    users: Users
    applied: WriteLog
    listing: Listing
    jobs: Jobs
    job_pages: JobPages
    worker: Worker
    replays: Replays
    routes: Sequence[Route]
    remembers_faults: bool

    async def answer(self, received: ReceivedRequest, delay: Delay) -> VendorResponse:
        """Act on the request after *delay*, and answer it."""
        try:
            level = level_of(received, self.api_keys)
            route = find_route((*self.routes, _me(level)), received)
            require(level, route.level)
            replay = self.replays.claim(received) if route.is_idempotent else None
        except RefusalError as refusal:
            return refusal.answer

        if replay is not None:
            return replay

        if route.is_idempotent:
            return await self._answer_once(route, received, delay)
        await delay()
        return self._call(route, received)

    def failure(self, status: int) -> VendorResponse:
        """Return Fullstory's words for an error status."""
        return failure(status)

    def on_injected_failure(self, received: ReceivedRequest, answer: VendorResponse) -> None:
        """Keep the failure under its idempotency key, if told to."""
        is_idempotent = any(route.is_idempotent and route.matches(received) for route in self.routes)
        if self.remembers_faults and is_idempotent and not self.replays.knows(received):
            self.replays.keep(received, answer)

    def debug_views(self) -> Mapping[str, View]:
        """Return what there is to look at, by name."""
        return {"users": self._everybody, "jobs": self._all_jobs, "applied": self.applied.as_json}

    def forget(self) -> None:
        """Forget users, jobs, page tokens, idempotency keys and counts."""
        self.jobs.clear()
        self.job_pages.clear()
        self.users.clear()
        self.listing.clear()
        self.replays.clear()
        self.applied.clear()

    def _everybody(self) -> JsonValue:
        return {"users": [user_json(user, with_schema=True) for user in self.users.all().values()]}

    def _all_jobs(self) -> JsonValue:
        return {"jobs": [attrs.asdict(job) for job in self.jobs.all()]}

    async def _answer_once(self, route: Route, received: ReceivedRequest, delay: Delay) -> VendorResponse:
        try:
            await delay()
        except asyncio.CancelledError:
            # The server stops. Another one may serve this emulator.
            self.replays.release(received)
            raise
        answer = self._call(route, received)
        self.replays.keep(received, answer)
        return answer

    def _call(self, route: Route, received: ReceivedRequest) -> VendorResponse:
        self.worker.run_due()
        try:
            return route.endpoint(received)
        except RefusalError as refusal:
            return refusal.answer


def _me(level: Level) -> Route:
    def me(_: ReceivedRequest) -> VendorResponse:
        # 2026-11-21, https://developer.fullstory.com/me/.
        return json_response(200, {"email": "api@example.com", "orgId": "EMULATOR", "role": ROLES[level]})

    return Route(method="GET", path=("me",), level=Level.STANDARD, endpoint=me)
