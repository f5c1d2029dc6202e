"""The limits of batch imports, and what the documents leave open about them.

Limits: 2026-11-21, https://developer.fullstory.com/server/users/create-batch-user-import-job/.
"""

from typing import Literal, TypeAlias

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
