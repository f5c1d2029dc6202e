"""The endpoints for importing many users at a time."""

from collections.abc import Sequence

import attrs

from ..http import JsonObject, JsonValue, ReceivedRequest, VendorResponse, json_response
from .batch_rules import BatchRules
from .errors import http_error, invalid
from .jobs import EmulatedJob, EmulatedJobs, JobPage, JobPages, JobRunner, Kind
from .properties import parse_object
from .routes import ApiRoute, Level
from .single import user_json, wants_schema
from .users import FullstoryUsers

PROCESSING = 202

# Policy: the documents show no body for 202; a page without results is the one easiest to mistake for an end.
STILL_PROCESSING: JsonObject = {"results": [], "total_records": "0"}

IMPORTED = ("id", "uid", "display_name", "email", "properties", "schema", "type_conflicts")

# Policy: what a user does not have is null, but these are left out, as they are in the examples.
LEFT_OUT = {"uid", "display_name", "email"}

# The place of the job's id in the path.
JOB_ID = 3


@attrs.frozen(kw_only=True)
class BatchEndpoints:
    """Create batch imports, and tell what became of them."""

    rules: BatchRules
    users: FullstoryUsers
    jobs: EmulatedJobs
    pages: JobPages
    worker: JobRunner

    def routes(self) -> Sequence[ApiRoute]:
        """Return the endpoints with the level each needs."""
        everyone = ("v2", "users", "batch")
        one = (*everyone, "*")
        # "Standard keys will work for create, update, and batch (create/status) requests" (2026-11-21,
        # https://developer.fullstory.com/server/v2/authentication/). Policy: results count as viewing users.
        write, read = Level.STANDARD, Level.ARCHITECT
        return (
            ApiRoute(method="POST", path=everyone, level=write, endpoint=self.create, is_idempotent=True),
            ApiRoute(method="GET", path=one, level=write, endpoint=self.status),
            ApiRoute(method="GET", path=(*one, "imports"), level=read, endpoint=self.imports),
            ApiRoute(method="GET", path=(*one, "errors"), level=read, endpoint=self.errors),
        )

    def create(self, request: ReceivedRequest) -> VendorResponse:
        """Take on a job that imports the users in the body."""
        job = self.jobs.accept(read_items(request.body, rules=self.rules))
        answer = json_response(200, {"job": job.metadata(job.status)}, applied=True)
        self.worker.run_due()
        return answer

    def status(self, request: ReceivedRequest) -> VendorResponse:
        """Return the job with its counts."""
        job = self._job(request)
        errors: JsonObject = {"errors": len(job.errors)} if job.errors or self.rules.shows_zero_errors else {}
        # Policy: while a job is under way, the counts are those of the items handled so far.
        shown: JsonObject = {"imports": len(job.imports), **errors, "job": job.metadata(job.told_status)}
        job.polls += 1
        return json_response(200, shown)

    def imports(self, request: ReceivedRequest) -> VendorResponse:
        """Return one page of the users imported."""
        _require_parameters(request, {"page_token", "include_schema"})
        with_schema = wants_schema(request)
        job = self._job(request)
        if job.finished is None:
            return json_response(PROCESSING, STILL_PROCESSING)

        page = self._page(request, "imports", len(job.imports))
        results = [self._imported(user_id, with_schema=with_schema) for user_id in job.imports[page.shown]]
        return json_response(200, {"results": results, **page.fields})

    def errors(self, request: ReceivedRequest) -> VendorResponse:
        """Return one page of the items that failed."""
        _require_parameters(request, {"page_token"})
        job = self._job(request)
        if job.finished is None:
            return json_response(PROCESSING, STILL_PROCESSING)

        page = self._page(request, "errors", len(job.errors))
        return json_response(200, {"results": job.errors[page.shown], **page.fields})

    def _job(self, request: ReceivedRequest) -> EmulatedJob:
        return self.jobs.find(request.segments[JOB_ID])

    def _page(self, request: ReceivedRequest, kind: Kind, total: int) -> JobPage:
        token = request.query.get("page_token")
        return self.pages.page(request.segments[JOB_ID], kind, total=total, token=token)

    def _imported(self, user_id: str, *, with_schema: bool) -> JsonValue:
        user = self.users.find(user_id) if self.rules.shows_details else None
        if user is None:
            return {"id": user_id}
        # Policy: a user is shown as it stands when the page is read, and not as the item left it.
        shown = user_json(user, with_schema=with_schema)
        return {name: shown[name] for name in IMPORTED if shown[name] is not None or name not in LEFT_OUT}


def read_items(body: bytes, *, rules: BatchRules) -> Sequence[JsonObject]:
    """Return the items of a batch, or refuse it as a whole."""
    if rules.max_bytes is not None and len(body) > rules.max_bytes:
        raise http_error(413)

    value = parse_object(body)
    if "requests" not in value:
        raise invalid("requests is required", code="required_field")

    items = value["requests"]
    # Policy: a body that is not of the documented shape is refused as a whole, and so is one without items.
    if len(value) > 1 or not isinstance(items, list) or not items:
        raise invalid("The body must hold requests, a list of users, and nothing else")

    if len(items) > rules.max_items:
        raise invalid(f"requests must have at most {rules.max_items} items")

    users = [item for item in items if isinstance(item, dict)]
    if len(users) < len(items):
        raise invalid("Each of the requests must be an object")
    return users


def _require_parameters(request: ReceivedRequest, known: set[str]) -> None:
    # Policy: unknown parameters are refused, as they are by the list.
    unknown = request.query.keys() - known
    if unknown:
        raise invalid(f"Unknown parameter {min(unknown)}")
