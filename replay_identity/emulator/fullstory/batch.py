"""The endpoints of batch imports."""

from collections.abc import Sequence
from typing import Final

import attrs

from ..http import JsonObject, JsonValue, ReceivedRequest, VendorResponse, json_response
from .batch_rules import BatchRules
from .errors import http_error, invalid
from .jobs import EmulatedJob, EmulatedJobs, JobPage, JobPages, JobRunner, ResultKind
from .properties import parse_object
from .routes import ApiRoute, Level
from .single import check_parameters, user_json, wants_schema
from .users import FullstoryUsers

PROCESSING: Final = 202

# Policy: the documents show no body for 202; a page without results is the one easiest to mistake for the end.
STILL_PROCESSING: Final[JsonObject] = {"results": [], "total_records": "0"}

IMPORT_FIELDS: Final = ("id", "uid", "display_name", "email", "properties", "schema", "type_conflicts")

# Policy: a field without a value is null, except these, which are omitted as in the examples.
OMITTED_IF_NULL: Final = {"uid", "display_name", "email"}

# Index of the job's id in the segments of the path.
JOB_ID: Final = 3


@attrs.frozen(kw_only=True)
class BatchEndpoints:
    """Create batch imports and return their status and results."""

    rules: BatchRules
    users: FullstoryUsers
    jobs: EmulatedJobs
    pages: JobPages
    runner: JobRunner

    def routes(self) -> Sequence[ApiRoute]:
        """Return the routes with the key level that each needs."""
        collection = ("v2", "users", "batch")
        job = (*collection, "*")
        # "Standard keys will work for create, update, and batch (create/status) requests" (2026-11-21,
        # https://developer.fullstory.com/server/v2/authentication/). Policy: results count as viewing users.
        write, read = Level.STANDARD, Level.ARCHITECT
        return (
            ApiRoute(method="POST", path=collection, level=write, handler=self.create, is_idempotent=True),
            ApiRoute(method="GET", path=job, level=write, handler=self.status),
            ApiRoute(method="GET", path=(*job, "imports"), level=read, handler=self.imports),
            ApiRoute(method="GET", path=(*job, "errors"), level=read, handler=self.errors),
        )

    def create(self, request: ReceivedRequest) -> VendorResponse:
        """Create a job that imports the users in the body."""
        job = self.jobs.accept(read_items(request.body, rules=self.rules))
        response = json_response(200, {"job": job.metadata(job.status)}, applied=True)
        self.runner.run_due()
        return response

    def status(self, request: ReceivedRequest) -> VendorResponse:
        """Return the status of a job with its counts."""
        job = self._job(request)
        errors: JsonObject = {"errors": len(job.errors)} if job.errors or self.rules.shows_zero_errors else {}
        # Policy: while a job runs, the counts are those of the items applied so far.
        body: JsonObject = {"imports": len(job.imports), **errors, "job": job.metadata(job.reported_status)}
        job.polls += 1
        return json_response(200, body)

    def imports(self, request: ReceivedRequest) -> VendorResponse:
        """Return one page of the imported users."""
        check_parameters(request.query, {"page_token", "include_schema"})
        with_schema = wants_schema(request)
        job = self._job(request)
        if job.finished is None:
            return json_response(PROCESSING, STILL_PROCESSING)

        page = self._page(request, "imports", len(job.imports))
        results = [self._import_json(user_id, with_schema=with_schema) for user_id in job.imports[page.results]]
        return json_response(200, {"results": results, **page.fields})

    def errors(self, request: ReceivedRequest) -> VendorResponse:
        """Return one page of the failed items."""
        check_parameters(request.query, {"page_token"})
        job = self._job(request)
        if job.finished is None:
            return json_response(PROCESSING, STILL_PROCESSING)

        page = self._page(request, "errors", len(job.errors))
        return json_response(200, {"results": job.errors[page.results], **page.fields})

    def _job(self, request: ReceivedRequest) -> EmulatedJob:
        return self.jobs.find(request.segments[JOB_ID])

    def _page(self, request: ReceivedRequest, kind: ResultKind, total: int) -> JobPage:
        token = request.query.get("page_token")
        return self.pages.page(request.segments[JOB_ID], kind, total=total, token=token)

    def _import_json(self, user_id: str, *, with_schema: bool) -> JsonValue:
        user = self.users.find(user_id) if self.rules.shows_details else None
        if user is None:
            return {"id": user_id}
        # Policy: the user is returned as it is when the page is read, not as the item left it.
        fields = user_json(user, with_schema=with_schema)
        return {name: fields[name] for name in IMPORT_FIELDS if fields[name] is not None or name not in OMITTED_IF_NULL}


def read_items(body: bytes, *, rules: BatchRules) -> Sequence[JsonObject]:
    """Return the items of a batch.

    Raises:
        FullstoryHttpError: The whole batch is rejected.
    """
    if rules.max_bytes is not None and len(body) > rules.max_bytes:
        raise http_error(413)

    value = parse_object(body)
    if "requests" not in value:
        raise invalid("requests is required", code="required_field")

    items = value["requests"]
    # Policy: a body that does not have the documented shape, or has no items, is rejected as a whole.
    if len(value) > 1 or not isinstance(items, list) or not items:
        raise invalid("The body must hold requests, a list of users, and nothing else")

    if len(items) > rules.max_items:
        raise invalid(f"requests must have at most {rules.max_items} items")

    users = [item for item in items if isinstance(item, dict)]
    if len(users) < len(items):
        raise invalid("Each of the requests must be an object")
    return users
