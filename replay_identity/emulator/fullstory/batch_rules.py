"""The limits of batch imports, the choices that the documents leave open, and the faults of jobs.

Limits: 2026-11-21, https://developer.fullstory.com/server/users/create-batch-user-import-job/.
"""

from collections import deque
from typing import Any, Final, Literal, TypeAlias

import attrs
from attrs import validators

# "COMPLETED: without any errors; FAILED: has failures, including partial failures" is `spec` (2026-11-21,
# https://github.com/fullstorydev/fullstory-node-sdk/blob/main/specs/users.sdk.swagger.json). A job that is
# COMPLETED with an error is the example at https://developer.fullstory.com/server/asynchronous-workflows/: `lenient`.
FinalStatus: TypeAlias = Literal["spec", "lenient", "always-failed"]

LastPage: TypeAlias = Literal["vary", "null", "empty", "absent"]


@attrs.frozen(kw_only=True)
class BatchRules:
    """How the emulated Fullstory runs batch imports.

    Attributes:
        max_items: Maximum items of a request; more get a 400.
        max_bytes: Maximum bytes of a request; more get a 413. None for no limit.
        max_running: Maximum number of running jobs; further ones wait.
        max_jobs: Number of running and waiting jobs from which a new one gets a 429.
        max_operations: Number of items in running and waiting jobs from which a new job gets a 429.
        job_seconds: Seconds, by the emulator's clock, that a job runs before its items are applied.
        job_polls: Number of status polls before a job's items are applied.
        result_seconds: Seconds for which a finished job can be read; None is forever.
        final_status: `spec`: FAILED if any item failed; `lenient`: COMPLETED even with errors;
            `always-failed`: FAILED even without errors.
        shows_zero_errors: Whether a status without errors contains `"errors": 0`.
        page_size: Results per page.
        last_page: Value of the next page's token on the last page; `vary` cycles through the three.
        shows_details: Whether an imported user is returned with all fields or only with its id.
    """

    max_items: int = 50_000
    # Policy: no limit in bytes is documented.
    max_bytes: int | None = None
    max_running: int = attrs.field(default=100, validator=validators.ge(1))
    max_jobs: int = 200
    max_operations: int = 500_000
    job_seconds: float = 0.0
    job_polls: int = 0
    # Policy: the documents do not say how long results can be read.
    result_seconds: float | None = None
    final_status: FinalStatus = attrs.field(
        default="spec", validator=validators.in_(("spec", "lenient", "always-failed"))
    )
    # Policy: "Only included for failed imports" is taken literally, though the schema marks it as required.
    shows_zero_errors: bool = False
    # Policy: the documents give no page size and no parameter to choose one.
    page_size: int = attrs.field(default=1000, validator=validators.ge(1))
    # Policy: "", null and a missing field have all been seen or documented for lists.
    last_page: LastPage = attrs.field(default="vary", validator=validators.in_(("vary", "null", "empty", "absent")))
    # Policy: only the id is required in the schema of a result.
    shows_details: bool = True


def _is_count(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is not None and (not isinstance(value, int) or value < 0):
        raise ValueError(f"{attribute.name}: expected a whole number of at least 0, or None")


@attrs.frozen(kw_only=True)
class JobFault:
    """What goes wrong with one job; by default nothing.

    Attributes:
        seconds: Seconds that the job runs, instead of `BatchRules.job_seconds`; `math.inf` is forever.
        max_applied: Apply only this many items, in order, and then fail the job; 0 fails the whole job.
        lists_unapplied: Whether the items that were not applied are listed as errors or are missing from the results.
        reported_status: Status that polls report instead of the real one, such as UNKNOWN.
        reported_polls: Number of polls that report it; None is all of them.
        hidden: Respond to every request about the job with 404, although it runs.
    """

    seconds: float | None = attrs.field(default=None, validator=validators.optional(validators.ge(0)))
    max_applied: int | None = attrs.field(default=None, validator=_is_count)
    lists_unapplied: bool = False
    reported_status: str | None = None
    reported_polls: int | None = attrs.field(default=1, validator=_is_count)
    hidden: bool = False


NO_JOB_FAULT: Final = JobFault()


@attrs.define
class JobFaults:
    """A thread-safe queue of faults for the next jobs, in the order in which they were added."""

    _queue: deque[JobFault] = attrs.field(init=False, factory=deque[JobFault])

    def add(self, fault: JobFault, *, times: int = 1) -> None:
        """Inject *fault* into each of the next *times* jobs."""
        self._queue.extend([fault] * times)

    def clear(self) -> None:
        """Remove all faults."""
        self._queue.clear()

    def take(self) -> JobFault:
        """Remove and return the fault of the next job."""
        try:
            return self._queue.popleft()
        except IndexError:
            return NO_JOB_FAULT
