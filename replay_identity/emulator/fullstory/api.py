"""Fullstory's API: authenticate, route and apply requests."""

import asyncio
from collections.abc import Mapping, Sequence

import attrs

from ..http import JsonValue, ReceivedRequest, VendorResponse, json_response
from ..journal import WriteLog
from ..vendor import Delay, View
from .errors import FullstoryHttpError, http_error
from .exports import STORAGE, ExportEndpoints
from .idempotency import IdempotencyCache
from .jobs import EmulatedJobs, JobPages, JobRunner
from .routes import ApiRoute, Level, find_route, level_of, require_level
from .single import StreamedImports, UserListing, user_json
from .users import FullstoryUsers


@attrs.define(kw_only=True)
class FullstoryApi:
    """Fullstory's rules and state, without HTTP."""

    api_keys: Mapping[str, Level] = attrs.field(repr=False)
    users: FullstoryUsers
    applied: WriteLog
    listing: UserListing
    jobs: EmulatedJobs
    job_pages: JobPages
    runner: JobRunner
    exports: ExportEndpoints
    streams: StreamedImports
    idempotency: IdempotencyCache
    routes: Sequence[ApiRoute]
    replays_faults: bool
    organisation: str
    email: str

    async def respond(self, request: ReceivedRequest, delay: Delay) -> VendorResponse:
        """Await *delay*, apply the request and return the response."""
        if request.segments[:1] == (STORAGE,):
            await delay()
            return self.exports.download(request)

        try:
            level = level_of(request, self.api_keys)
            route = find_route((*self.routes, self._me_route(level)), request)
            require_level(level, route.level)
            stored = self.idempotency.claim(request) if route.is_idempotent else None
        except FullstoryHttpError as error:
            return error.response

        if stored is not None:
            return stored

        if route.is_idempotent:
            return await self._respond_once(route, request, delay)
        await delay()
        return self._call(route, request)

    def error_response(self, status: int) -> VendorResponse:
        """Return Fullstory's error response for *status*."""
        return http_error(status).response

    def on_injected_failure(self, request: ReceivedRequest, response: VendorResponse) -> None:
        """Store the failure under its idempotency key if `replays_faults`."""
        is_idempotent = any(route.is_idempotent and route.matches(request) for route in self.routes)
        if self.replays_faults and is_idempotent and not self.idempotency.has_key(request):
            self.idempotency.store(request, response)

    def debug_views(self) -> Mapping[str, View]:
        """Return the views of the state by name."""
        return {
            "users": self._users_json,
            "jobs": self._jobs_json,
            "exports": self.exports.as_json,
            "applied": self.applied.as_json,
        }

    def clear(self) -> None:
        """Delete users, jobs, exports, page tokens, idempotency keys and counts."""
        self.exports.clear()
        self.streams.clear()
        self.jobs.clear()
        self.job_pages.clear()
        self.users.clear()
        self.listing.clear()
        self.idempotency.clear()
        self.applied.clear()

    def _users_json(self) -> JsonValue:
        return {"users": [user_json(user, with_schema=True) for user in self.users.all().values()]}

    def _jobs_json(self) -> JsonValue:
        return {"jobs": [attrs.asdict(job) for job in self.jobs.all()]}

    async def _respond_once(self, route: ApiRoute, request: ReceivedRequest, delay: Delay) -> VendorResponse:
        try:
            await delay()
        except asyncio.CancelledError:
            # The server stops, but another one may serve this emulator later.
            self.idempotency.release(request)
            raise
        response = self._call(route, request)
        self.idempotency.store(request, response)
        return response

    def _call(self, route: ApiRoute, request: ReceivedRequest) -> VendorResponse:
        self.runner.run_due()
        try:
            return route.handler(request)
        except FullstoryHttpError as error:
            return error.response

    def _me_route(self, level: Level) -> ApiRoute:
        def me(_: ReceivedRequest) -> VendorResponse:
            # 2026-09, https://github.com/fullstorydev/sekizui (8f3699a). Policy: a key has no scopes and no client.
            body: JsonValue = {
                "orgId": self.organisation,
                "embedPartnerId": "",
                "email": self.email,
                "clientId": "",
                "role": level.role,
                "scopes": [],
            }
            return json_response(200, body)

        # Policy: a key below Standard can ask as well, or nobody could report its role.
        return ApiRoute(method="GET", path=("me",), level=min(Level), handler=me)
