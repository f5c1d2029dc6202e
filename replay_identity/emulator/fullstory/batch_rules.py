"""The limits of batch imports, and what the documents leave open about them.

Limits: 2026-11-21, https://developer.fullstory.com/server/users/create-batch-user-import-job/.
"""

from collections import deque
from typing import Any, Literal, TypeAlias

import attrs
from attrs import validators

# "COMPLETED: without any errors; FAILED: has failures, including partial failures" is `spec` (2026-11-21,
# https://github.com/fullstorydev/fullstory-node-sdk/blob/main/specs/users.sdk.swagger.json). A job that is
# COMPLETED with an error is the example at https://developer.fullstory.com/server/asynchronous-workflows/: `lenient`.
FinalStatus: TypeAlias = Literal["spec", "lenient", "always-failed"]

LastPage: TypeAlias = Literal["vary", "null", "empty", "absent"]


@attrs.frozen(kw_only=True)
class BatchRules:
    """How a fake Fullstory runs batch imports.

    Attributes:
        max_items: Items of a request, over which 400 is answered.
        max_bytes: Bytes of a request, over which 413 is answered; None is no limit of its own.
        max_running: Jobs that run at once; further ones wait.
        max_jobs: Jobs that run or wait, from which on 429 is answered.
        max_operations: Items of all jobs that run or wait, from which on 429 is answered.
        job_seconds: How long a job runs before its items are applied, by the emulator's clock.
        job_polls: How many polls of its status have to find a job running before its items are applied.
        result_seconds: How long a finished job can be asked for; None is for ever.
        final_status: `spec`: FAILED as soon as one item failed; `lenient`: COMPLETED with errors;
            `always-failed`: FAILED without any.
        shows_zero_errors: Whether a status says `"errors": 0`, or nothing about errors.
        page_size: Results on a page.
        last_page: What stands for the next page's token on the last page; `vary` takes turns.
        shows_details: Whether an imported user is shown with all that is known of it, or by its id alone.
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
    # Policy: "Only included for failed imports" is taken at its word, though the schema calls it required.
    shows_zero_errors: bool = False
    # Policy: the documents name no size, and no parameter to choose one.
    page_size: int = attrs.field(default=1000, validator=validators.ge(1))
    # Policy: "", null and nothing have all been seen or documented for lists.
    last_page: LastPage = attrs.field(default="vary", validator=validators.in_(("vary", "null", "empty", "absent")))
    # Policy: only the id is required in the schema of a result.
    shows_details: bool = True


def _is_count(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is not None and (not isinstance(value, int) or value < 0):
        raise ValueError(f"{attribute.name} must be a whole number from 0, or None")


@attrs.frozen(kw_only=True)
class JobFault:
    """What goes wrong with one job; without any field set, nothing does.

    Attributes:
        seconds: How long the job runs, in place of the rules' `job_seconds`; `math.inf` is for ever.
        applies: Only so many of its items are handled, in order, and then the job is FAILED; 0 is a job that
            failed as a whole.
        lists_items: Whether the items that were not handled are listed as errors, or are not heard of again.
        says: A status that polls tell in place of the true one, such as UNKNOWN.
        polls: How many polls are told so; None is all of them.
        vanishes: The job can not be found by anybody, though it runs.
    """

    seconds: float | None = attrs.field(default=None, validator=validators.optional(validators.ge(0)))
    applies: int | None = attrs.field(default=None, validator=_is_count)
    lists_items: bool = False
    says: str | None = None
    polls: int | None = attrs.field(default=1, validator=_is_count)
    vanishes: bool = False


NO_FAULT = JobFault()


@attrs.define
class JobFaults:
    """The faults that wait for jobs, first added first taken; safe to use from any thread."""

    _waiting: deque[JobFault] = attrs.field(init=False, factory=deque[JobFault])

    def add(self, fault: JobFault, *, times: int = 1) -> None:
        """Let *fault* happen to each of the next *times* jobs that are accepted."""
        self._waiting.extend([fault] * times)

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        self._waiting.clear()

    def take(self) -> JobFault:
        """Return what goes wrong with the next job."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return NO_FAULT
