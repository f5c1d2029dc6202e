"""From a request to an endpoint: key, level, route, idempotency."""

import asyncio
from collections.abc import Mapping, Sequence

import attrs

from ..http import JsonValue, ReceivedRequest, VendorResponse, json_response
from ..journal import WriteLog
from ..vendor import Delay, View
from .errors import FullstoryHttpError, failure
from .idempotency import IdempotencyCache
from .jobs import EmulatedJobs, JobPages, JobRunner
from .routes import ROLES, ApiRoute, Level, find_route, level_of, require
from .single import UserListing, user_json
from .users import FullstoryUsers


@attrs.define(kw_only=True)
class FullstoryApi:
    """Fullstory's rules and state, without any HTTP."""

    api_keys: Mapping[str, Level] = attrs.field(repr=False)
    users: FullstoryUsers
    applied: WriteLog
    listing: UserListing
    jobs: EmulatedJobs
    job_pages: JobPages
    worker: JobRunner
    replays: IdempotencyCache
    routes: Sequence[ApiRoute]
    replays_faults: bool

    async def respond(self, request: ReceivedRequest, delay: Delay) -> VendorResponse:
        """Act on the request after *delay*, and answer it."""
        try:
            level = level_of(request, self.api_keys)
            route = find_route((*self.routes, _me(level)), request)
            require(level, route.level)
            replay = self.replays.claim(request) if route.is_idempotent else None
        except FullstoryHttpError as http_error:
            return http_error.answer

        if replay is not None:
            return replay

        if route.is_idempotent:
            return await self._answer_once(route, request, delay)
        await delay()
        return self._call(route, request)

    def error_response(self, status: int) -> VendorResponse:
        """Return Fullstory's words for an error status."""
        return failure(status)

    def on_injected_failure(self, request: ReceivedRequest, response: VendorResponse) -> None:
        """Keep the failure under its idempotency key, if told to."""
        is_idempotent = any(route.is_idempotent and route.matches(request) for route in self.routes)
        if self.replays_faults and is_idempotent and not self.replays.knows(request):
            self.replays.keep(request, response)

    def debug_views(self) -> Mapping[str, View]:
        """Return what there is to look at, by name."""
        return {"users": self._everybody, "jobs": self._all_jobs, "applied": self.applied.as_json}

    def clear(self) -> None:
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

    async def _answer_once(self, route: ApiRoute, request: ReceivedRequest, delay: Delay) -> VendorResponse:
        try:
            await delay()
        except asyncio.CancelledError:
            # The server stops. Another one may serve this emulator.
            self.replays.release(request)
            raise
        answer = self._call(route, request)
        self.replays.keep(request, answer)
        return answer

    def _call(self, route: ApiRoute, request: ReceivedRequest) -> VendorResponse:
        self.worker.run_due()
        try:
            return route.endpoint(request)
        except FullstoryHttpError as http_error:
            return http_error.answer


def _me(level: Level) -> ApiRoute:
    def me(_: ReceivedRequest) -> VendorResponse:
        # 2026-11-21, https://developer.fullstory.com/me/.
        return json_response(200, {"email": "api@example.com", "orgId": "EMULATOR", "role": ROLES[level]})

    return ApiRoute(method="GET", path=("me",), level=Level.STANDARD, endpoint=me)
