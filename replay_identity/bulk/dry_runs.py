"""A run without the vendors: what it would send, refuse and lose, and how long a quota would make it take."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from ..adapters.protocols import EncodedUser, IdentityBackend, Plan, SupportsBatch, SupportsMultiIdentify
from ..ledger import Ledger
from ..outcomes import Accepted, Broken, Outcome, Rejected, Skipped
from ..router import Route
from ..traits import UserTraits
from .batches import word
from .options import DeliveryOptions
from .report import SyncReport
from .run import Ingest, OnProgress, User
from .stats import Stats
from .worker import BackendWorker, make_workers

BackendOrRoute: TypeAlias = IdentityBackend | Route


def check_user(user: UserTraits, targets: Iterable[BackendOrRoute]) -> tuple[Outcome, ...]:
    """Return what would become of *user* at each backend if the vendor only kept to its published limits.

    An `Accepted` carries what would be adjusted, a `Rejected` the violations; nothing is sent.
    """
    return tuple(_check(user, target) for target in targets)


def check(users: Iterable[UserTraits], targets: Iterable[BackendOrRoute]) -> Stats:
    """Return what would become of *users* at each backend; see `check_user`."""
    asked = tuple(targets)
    stats = Stats()
    for user in users:
        stats.add(check_user(user, asked))
    return stats


def _check(user: UserTraits, target: BackendOrRoute) -> Outcome:
    try:
        plan = target.plan(user)
    except Exception as error:  # noqa: BLE001  # One adapter's bug must not hide another's answer.
        return Broken(target.name, type(error).__name__)  # Its text may quote a value.
    return plan if isinstance(plan, Skipped) else _foresee(plan)


def _foresee(plan: Plan) -> Outcome:
    return plan.unsent if plan.request is None else Accepted(plan.backend, adjustments=plan.adjustments)


# A job is created, asked after at least once, and has at least one page of users taken and one of users refused.
_REQUESTS_PER_JOB: Final = 4


@attrs.frozen
class Estimate:
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
class DryRunReport:
    """What a run would come to if every vendor kept to its published limits and took everything at once.

    Attributes:
        report: The books.
        estimate: What it would take, by name of the backend.
    """

    report: SyncReport
    estimate: Mapping[str, Estimate]

    def as_dict(self) -> dict[str, Any]:
        """Return the rehearsal as JSON has it."""
        return {
            **self.report.as_dict(),
            "effort": {name: attrs.asdict(estimate) for name, estimate in self.estimate.items()},
        }


def dry_run(
    users: Iterable[User],
    backends: Iterable[IdentityBackend | Route],
    *,
    ledger: Ledger | None,
    options: Mapping[str, DeliveryOptions] | None = None,
    on_progress: OnProgress | None = None,
) -> DryRunReport:
    """Return what `sync` would do, and do it to a copy of the *ledger*, which is thrown away.

    Raises:
        ConfigurationError: There is no backend, two have one name, or *options* names another.
        LedgerError: The ledger cannot be read, or there is no room for its copy.
        SourceError: Not even the first row can be read.
    """
    with Ledger.temporary_copy(ledger) as scratch:
        workers = make_workers(backends, scratch, options)
        report = SyncReport(backends=tuple(worker.report for worker in workers))
        for _ in Ingest(workers, scratch, report).take(users):
            if on_progress is not None:
                on_progress([worker.progress() for worker in workers])
        estimate = {worker.report.backend: _dry_run(worker) for worker in workers}
    return DryRunReport(report, estimate)


def _dry_run(worker: BackendWorker) -> Estimate:
    """Settle everyone due at one backend as if it took all that its limits allow."""
    backend, options = worker.delivery.route.backend, worker.delivery.options
    if isinstance(backend, SupportsBatch):
        jobs = _count_jobs(worker, backend)
        requests = jobs * _REQUESTS_PER_JOB
    else:
        at_once = options.users_at_once(backend.max_users.maximum) if isinstance(backend, SupportsMultiIdentify) else 1
        jobs, requests = 0, math.ceil(_count_users(worker) / at_once)
    worker.outbox.flush()
    worker.close_report()
    quota = options.requests_per_minute
    return Estimate(requests, jobs, None if quota is None else requests * 60 / quota)


def _count_users(worker: BackendWorker) -> int:
    """Return how many users would be sent without a batch."""
    count = 0
    while (claim := worker.outbox.next()) is not None:
        (outcome,) = check_user(claim.user, [worker.delivery.route])
        worker.outbox.settle(claim, outcome)
        count += isinstance(outcome, Accepted)
    return count


def _count_jobs(worker: BackendWorker, backend: SupportsBatch) -> int:
    """Return how many batches would be sent."""
    route, options = worker.delivery.route, worker.delivery.options
    most, jobs, users, size = options.users_at_once(backend.batch_limits.users.maximum), 0, 0, 0
    while (claim := worker.outbox.next()) is not None:
        item = word(route, backend, claim.user)
        if not isinstance(item, EncodedUser):
            worker.outbox.settle(claim, item)
        elif item.content is None:
            worker.outbox.settle(claim, Rejected(route.name, item.violations))
        else:
            worker.outbox.settle(claim, Accepted(route.name, adjustments=item.adjustments))
            users, size = users + 1, size + len(item.content) + 1
            if users >= most or size >= options.batch_bytes:
                jobs, users, size = jobs + 1, 0, 0
    return jobs + bool(users)
