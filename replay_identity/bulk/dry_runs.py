"""A run without the vendors: what it would send, refuse and lose, and how long a quota would make it take."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from ..adapters.protocols import BatchItem, IdentityBackend, Plan, SupportsBatch, SupportsMany
from ..ledger import Ledger
from ..outcomes import Accepted, Broken, Outcome, Rejected, Skipped
from ..router import Route
from ..traits import UserTraits
from .batches import word
from .options import DeliveryOptions
from .report import SyncReport
from .run import Intake, OnProgress, User
from .stats import Tally
from .worker import Lane, lanes_to

Target: TypeAlias = IdentityBackend | Route


def check_user(user: UserTraits, targets: Iterable[Target]) -> tuple[Outcome, ...]:
    """Return what would become of *user* at each backend if the vendor only kept to its published limits.

    An `Accepted` carries what would be adjusted, a `Rejected` the violations; nothing is sent.
    """
    return tuple(_check(user, target) for target in targets)


def check(users: Iterable[UserTraits], targets: Iterable[Target]) -> Tally:
    """Return what would become of *users* at each backend; see `check_user`."""
    asked = tuple(targets)
    tally = Tally()
    for user in users:
        tally.add(check_user(user, asked))
    return tally


def _check(user: UserTraits, target: Target) -> Outcome:
    try:
        plan = target.plan(user)
    except Exception as error:  # noqa: BLE001  # One adapter's bug must not hide another's answer.
        return Broken(target.name, type(error).__name__)  # Its text may quote a value.
    return plan if isinstance(plan, Skipped) else _foresee(plan)


def _foresee(plan: Plan) -> Outcome:
    if plan.violations:
        return Rejected(plan.backend, plan.violations)
    if plan.request is None:
        return Skipped(plan.backend, "nothing to send")
    return Accepted(plan.backend, adjustments=plan.adjustments)


# A job is created, asked after at least once, and has at least one page of users taken and one of users refused.
_REQUESTS_PER_JOB: Final = 4


@attrs.frozen
class Effort:
    """What a run would take at one backend.

    Attributes:
        requests: Requests; where several users share one, or with batches, at least so many, since how full each is,
            how often a job is asked after and how long the vendor's pages are is not known beforehand.
        jobs: Batches.
        seconds: How long the requests take at the quota of requests per minute, or None where none is set.
    """

    requests: int
    jobs: int
    seconds: float | None


@attrs.frozen
class Rehearsal:
    """What a run would come to if every vendor kept to its published limits and took everything at once.

    Attributes:
        report: The books.
        effort: What it would take, by name of the backend.
    """

    report: SyncReport
    effort: Mapping[str, Effort]

    def as_dict(self) -> dict[str, Any]:
        """Return the rehearsal as JSON has it."""
        return {**self.report.as_dict(), "effort": {name: attrs.asdict(effort) for name, effort in self.effort.items()}}


def rehearse(
    users: Iterable[User],
    backends: Iterable[IdentityBackend | Route],
    *,
    ledger: Ledger | None,
    options: Mapping[str, DeliveryOptions] | None = None,
    on_progress: OnProgress | None = None,
) -> Rehearsal:
    """Return what `sync` would do, and do it to a copy of the *ledger*, which is thrown away.

    Raises:
        ConfigurationError: There is no backend, two have one name, or *options* names another.
        LedgerError: The ledger cannot be read, or there is no room for its copy.
        SourceError: Not even the first row can be read.
    """
    with Ledger.scratch(ledger) as scratch:
        lanes = lanes_to(backends, scratch, options)
        report = SyncReport(books=tuple(lane.books for lane in lanes))
        for _ in Intake(lanes, scratch, report).take(users):
            if on_progress is not None:
                on_progress([lane.progress() for lane in lanes])
        effort = {lane.books.backend: _rehearse(lane) for lane in lanes}
    return Rehearsal(report, effort)


def _rehearse(lane: Lane) -> Effort:
    """Settle everyone due at one backend as if it took all that its limits allow."""
    backend, options = lane.delivery.route.backend, lane.delivery.options
    if isinstance(backend, SupportsBatch):
        jobs = _count_jobs(lane, backend)
        requests = jobs * _REQUESTS_PER_JOB
    else:
        at_once = options.users_at_once(backend.most_users.maximum) if isinstance(backend, SupportsMany) else 1
        jobs, requests = 0, math.ceil(_count_users(lane) / at_once)
    lane.outbox.flush()
    lane.close_books()
    quota = options.requests_per_minute
    return Effort(requests, jobs, None if quota is None else requests * 60 / quota)


def _count_users(lane: Lane) -> int:
    """Return how many users would be sent without a batch."""
    count = 0
    while (claim := lane.outbox.next()) is not None:
        (outcome,) = check_user(claim.user, [lane.delivery.route])
        lane.outbox.settle(claim, outcome)
        count += isinstance(outcome, Accepted)
    return count


def _count_jobs(lane: Lane, backend: SupportsBatch) -> int:
    """Return how many batches would be sent."""
    route, options = lane.delivery.route, lane.delivery.options
    most, jobs, users, size = options.users_at_once(backend.batch_limits.users.maximum), 0, 0, 0
    while (claim := lane.outbox.next()) is not None:
        item = word(route, backend, claim.user)
        if not isinstance(item, BatchItem):
            lane.outbox.settle(claim, item)
        elif item.content is None:
            lane.outbox.settle(claim, Rejected(route.name, item.violations))
        else:
            lane.outbox.settle(claim, Accepted(route.name, adjustments=item.adjustments))
            users, size = users + 1, size + len(item.content) + 1
            if users >= most or size >= options.batch_bytes:
                jobs, users, size = jobs + 1, 0, 0
    return jobs + bool(users)
