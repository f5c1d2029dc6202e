"""Dry runs: what a run would send, reject and lose, without sending anything."""

import math
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final

import attrs

from ..adapters.protocols import IdentityBackend, Plan, SupportsBatch, SupportsMultiIdentify
from ..errors import ConfigurationError
from ..ledger import Ledger
from ..outcomes import Accepted, Broken, Outcome, Skipped
from ..router import Route
from ..traits import UserTraits
from .changes import ChangePlanner, Unsent
from .mirror import Mirror, MirrorRun
from .options import DeliveryOptions
from .outbox import BitSet
from .repeated import Users, as_rows
from .report import SyncReport
from .run import Ingest, OnProgress, inspected_at_first, open_ledger
from .stats import Stats
from .worker import BackendWorker, make_worker, routes_with_options

# A job takes one request to create it, at least one poll, and a page each of imported and of rejected users.
_REQUESTS_PER_JOB: Final = 4


@attrs.frozen
class Estimate:
    """What a run would take at one backend.

    Attributes:
        requests: Number of requests. A lower bound where users share a request: how full each one is, how often a job
            is polled and how many pages its results have is not known beforehand.
        jobs: Number of import jobs.
        seconds: Duration of the requests at the quota of requests per minute, or None if none is set.
    """

    requests: int
    jobs: int
    seconds: float | None


@attrs.frozen
class DryRunReport:
    """The result of a run if every vendor kept to its published limits and accepted everything at once.

    Attributes:
        report: The report of that run.
        estimate: What it would take, by name of the backend.
    """

    report: SyncReport
    estimate: Mapping[str, Estimate]

    def as_dict(self) -> dict[str, Any]:
        """Return the report and the estimates as JSON-compatible values."""
        estimate = {name: attrs.asdict(estimate) for name, estimate in self.estimate.items()}
        return {**self.report.as_dict(), "estimate": estimate}


def dry_run(
    users: Users,
    backends: Iterable[IdentityBackend | Route],
    *,
    ledger: Ledger | str | Path | None,
    options: Mapping[str, DeliveryOptions] | None = None,
    on_progress: OnProgress | None = None,
    same_account: bool = False,
    mirror: Mirror | None = None,
) -> DryRunReport:
    """Return what `sync` would do, without sending anything or changing the ledger.

    Args:
        users: `UserTraits`, rows from `read_users`, or whatever `read_rows` reads: dicts, rows of a database, a frame.
            Invalid rows are only counted in the report.
        backends: Backends, or routes to them, with distinct names.
        ledger: A ledger, or the path of its file, of which a temporary copy is used. None, or a file that does not
            exist, is an empty ledger.
        options: Delivery options by name of the backend.
        on_progress: Called with the progress of each backend while *users* are read.
        same_account: True if the account of each backend is the one used before, with another key; see `sync`.
        mirror: Report which users vanished, and whether `sync` would delete them.

    Raises:
        ConfigurationError: There is no backend, two have the same name, or *options* names an unknown one.
        LedgerError: The ledger cannot be read, or there is no room for its copy.
        SourceError: The source could not be read at all.
    """
    settings = routes_with_options(backends, options)
    with _temporary_copy(ledger) as copy:
        given = inspected_at_first(as_rows(users), copy)
        workers = [make_worker(route, copy, chosen, same_account=same_account) for route, chosen in settings]
        report = SyncReport(backends=tuple(worker.report for worker in workers))
        mirror_run = None if mirror is None else MirrorRun.begin(mirror, copy)
        rows = given if mirror_run is None else mirror_run.track(given)
        ingest = Ingest(workers, copy, report, BitSet())
        for _ in chain(ingest.look_ahead(rows), ingest.ingest(rows)):
            if on_progress is not None:
                on_progress([worker.progress() for worker in workers])
        if mirror_run is not None:
            mirror_run.list_vanished(mirror_run.count(report))
        return DryRunReport(report, {worker.report.backend: _settle_all(worker) for worker in workers})


def check_user(user: UserTraits, backends: Iterable[IdentityBackend | Route]) -> tuple[Outcome, ...]:
    """Return the outcome of *user* at each backend if its vendor kept to its published limits; nothing is sent.

    An `Accepted` lists the adjustments, a `Rejected` the violations.
    """
    return tuple(_check(user, backend if isinstance(backend, Route) else Route(backend)) for backend in backends)


def check(users: Iterable[UserTraits], backends: Iterable[IdentityBackend | Route]) -> Stats:
    """Count the outcomes of `check_user` for all *users*; `dry_run` also takes rows and frames.

    Raises:
        ConfigurationError: They are not users.
    """
    routes = [backend if isinstance(backend, Route) else Route(backend) for backend in backends]
    stats = Stats()
    for user in users:
        if not isinstance(user, UserTraits):  # pyright: ignore[reportUnnecessaryIsInstance]  # Callers may not check.
            raise ConfigurationError("users", "expected UserTraits", "pass rows and frames to dry_run")
        stats.add(check_user(user, routes))
    return stats


def _check(user: UserTraits, route: Route) -> Outcome:
    try:
        plan = route.plan(user)
    except Exception as error:  # noqa: BLE001  # A bug in one adapter must not hide another's outcome.
        return Broken(route.name, type(error).__name__)  # The message may quote a value.
    return plan if isinstance(plan, Skipped) else _expected_outcome(plan)


def _expected_outcome(plan: Plan) -> Outcome:
    return plan.unsent if plan.request is None else Accepted(plan.backend, adjustments=plan.adjustments)


@contextmanager
def _temporary_copy(ledger: Ledger | str | Path | None) -> Generator[Ledger]:
    # Opening a file that does not exist would create it.
    original = ledger if isinstance(ledger, Ledger) or (ledger is not None and Path(ledger).exists()) else None
    with open_ledger(original) as opened, Ledger.temporary_copy(opened) as copy:
        yield copy


def _settle_all(worker: BackendWorker) -> Estimate:
    """Settle all pending users of one backend as its limits allow, and estimate what sending them would take."""
    backend, options = worker.delivery.route.backend, worker.delivery.options
    if isinstance(backend, SupportsBatch):
        jobs = _settle_by_batch(worker, backend)
        requests = jobs * _REQUESTS_PER_JOB
    else:
        max_users = options.max_users(backend.max_users.maximum) if isinstance(backend, SupportsMultiIdentify) else 1
        jobs, requests = 0, math.ceil(_settle_by_user(worker) / max_users)
    worker.outbox.flush()
    worker.close_report()
    quota = options.requests_per_minute
    return Estimate(requests, jobs, None if quota is None else requests * 60 / quota)


def _settle_by_user(worker: BackendWorker) -> int:
    """Settle all users and return the number of users to send."""
    outbox, route = worker.outbox, worker.delivery.route
    planner, count = ChangePlanner(route, outbox), 0
    while (claim := outbox.next()) is not None:
        change = planner.change(claim)
        if isinstance(change, Unsent):
            outbox.settle(change.claim, change.outcome, lost=change.lost)
            continue
        (outcome,) = check_user(claim.user, [route]) if change.plan is None else (_expected_outcome(change.plan),)
        outbox.settle(change.claim, outcome)
        count += isinstance(outcome, Accepted)
    return count


def _settle_by_batch(worker: BackendWorker, backend: SupportsBatch) -> int:
    """Settle all users and return the number of batches to send."""
    outbox, route, options = worker.outbox, worker.delivery.route, worker.delivery.options
    planner, max_users = ChangePlanner(route, outbox), options.max_batch_users(backend.batch_limits)
    jobs, users, size = 0, 0, 0
    while (claim := outbox.next()) is not None:
        change = planner.encoded_change(claim, backend)
        if isinstance(change, Unsent):
            outbox.settle(change.claim, change.outcome, lost=change.lost)
            continue
        outbox.settle(change.claim, Accepted(route.name, adjustments=change.adjustments))
        users, size = users + 1, size + len(change.content) + 1
        if users >= max_users or size >= options.batch_bytes:
            jobs, users, size = jobs + 1, 0, 0
    return jobs + bool(users)
