"""One batch import: what it is to do, and what became of it."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import attrs

from ..answer import JsonObject, JsonValue
from .job_faults import JobFault
from .refusal import RefusalError

JobStatus: TypeAlias = Literal["PROCESSING", "COMPLETED", "FAILED"]


@attrs.frozen(kw_only=True)
class BatchJob:
    """A batch import as it stands: its items, and how many of them were imported or failed."""

    id: str
    status: JobStatus
    items: int
    imports: int
    errors: int
    polls: int
    """How often its status was asked for."""


@attrs.define(kw_only=True, eq=False)
class Job:
    """A batch import on its way."""

    id: str
    size: int
    seconds: float
    fault: JobFault
    items: Sequence[JsonObject] = attrs.field(repr=False)
    created: float
    started: float = math.inf
    finished: float | None = None
    status: JobStatus = "PROCESSING"
    polls: int = 0
    position: int = 0
    imports: list[str] = attrs.field(factory=list[str], repr=False)
    errors: list[JsonValue] = attrs.field(factory=list[JsonValue], repr=False)

    @property
    def due(self) -> float:
        """When its items are applied, as far as that is a matter of time."""
        return self.started + self.seconds

    @property
    def end(self) -> int:
        """How many of its items will be handled."""
        return self.size if self.fault.applies is None else min(self.size, self.fault.applies)

    @property
    def told_status(self) -> str:
        """The status that the next poll is told."""
        says, polls = self.fault.says, self.fault.polls
        if says is None or (polls is not None and self.polls >= polls):
            return self.status
        return says

    def fail(self, items: Sequence[JsonObject], error: RefusalError) -> None:
        """List *items* as failed."""
        # The one documented code of an item is invalid_parameter (2026-11-21,
        # https://developer.fullstory.com/server/asynchronous-workflows/). Policy: it stands for every value refused.
        code = "invalid_parameter" if error.code == "invalid_argument" else error.code
        self.errors.extend({"message": error.message, "code": code, "user": item} for item in items)

    def metadata(self, status: str) -> JsonObject:
        """Return the job as Fullstory shows it."""
        shown: JsonObject = {"id": self.id, "status": status, "created": rfc3339(self.created)}
        return shown if self.finished is None else {**shown, "finished": rfc3339(self.finished)}

    def snapshot(self) -> BatchJob:
        """Return the job as it stands."""
        return BatchJob(
            id=self.id,
            status=self.status,
            items=self.size,
            imports=len(self.imports),
            errors=len(self.errors),
            polls=self.polls,
        )


def rfc3339(seconds: float) -> str:
    """Return a time as Fullstory writes it: milliseconds without the zeros at their end."""
    moment = datetime.fromtimestamp(seconds, UTC)
    fraction = f".{moment.microsecond // 1000:03}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"
