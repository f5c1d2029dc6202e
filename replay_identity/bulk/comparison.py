"""Compare what vendors store with what they should store."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import tee
from typing import Any, Final, TypeAlias

import attrs

from ..adapters.exchange import Exchange
from ..adapters.protocols import Comparison, IdentityBackend, SupportsCompare
from ..adapters.responses import adapter_error, checked_outcome
from ..outcomes import Misconfigured, Outcome, explain
from ..router import Route, as_routes
from ..traits import UserTraits
from ..transport import ConcurrentTransport, concurrent_sender
from .options import DeliveryOptions
from .outcome_handler import describe_outage
from .stats import BackendStats, bounded, most_frequent
from .worker import SenderFactory, make_limiter, make_retry

OnDifference: TypeAlias = Callable[[UserTraits, Comparison], None]
OnResult: TypeAlias = Callable[[], None]

# Seconds to wait for one vendor's responses before turning to the next vendor.
_POLL_INTERVAL_S: Final = 0.01


@attrs.define
class BackendComparison:
    """How the users stored by one vendor differ from what it should store.

    Attributes:
        compared: Number of users compared.
        same: Number of users without a difference.
        missing: Number of users that the vendor does not have.
        different: Number of users that the vendor stores differently.
        differing: Number of users by path at which the vendor stores another value.
        absent: Number of users by path at which the vendor stores nothing.
        extra: Number of users by path at which the vendor stores a value that it should not have.
        unanswered: Outcomes of the users that could not be compared.
        problem: Why the other users were not compared, or None.
    """

    compared: int = 0
    same: int = 0
    missing: int = 0
    different: int = 0
    differing: Counter[str] = attrs.field(factory=Counter[str])
    absent: Counter[str] = attrs.field(factory=Counter[str])
    extra: Counter[str] = attrs.field(factory=Counter[str])
    unanswered: BackendStats = attrs.field(factory=BackendStats)
    problem: str | None = None
    _paths: set[str] = attrs.field(init=False, factory=set[str])

    def add(self, comparison: Comparison) -> None:
        """Count *comparison*."""
        self.compared += 1
        if comparison.is_same:
            self.same += 1
        elif comparison.missing:
            self.missing += 1
        else:
            self.different += 1
        for counts, paths in (
            (self.differing, comparison.differing),
            (self.absent, comparison.absent),
            (self.extra, comparison.extra),
        ):
            counts.update({bounded(path, self._paths) for path in paths})

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON-compatible values, the most frequent first."""
        return {
            **{name: getattr(self, name) for name in ("compared", "same", "missing", "different", "problem")},
            **{name: dict(most_frequent(getattr(self, name))) for name in ("differing", "absent", "extra")},
            "unanswered": self.unanswered.as_dict(),
        }


@attrs.frozen
class ComparisonReport:
    """How the users stored by several vendors differ from what they should store.

    Attributes:
        backends: Counts by name of the backend.
        unsupported: Names of the backends that cannot be compared.
    """

    backends: Mapping[str, BackendComparison]
    unsupported: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Return True if no compared user differs at any vendor."""
        return all(backend.compared == backend.same for backend in self.backends.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON-compatible values."""
        backends = {name: backend.as_dict() for name, backend in self.backends.items()}
        return {"backends": backends, "unsupported": self.unsupported}


def sample(users: Iterable[UserTraits], count: int, *, seed: int | None = None) -> list[UserTraits]:
    """Return *count* random *users*, each with the same probability; the same *seed* draws the same users."""
    rng = random.Random(seed)  # noqa: S311  # Nobody gains by guessing it.
    chosen: list[UserTraits] = []
    for index, user in enumerate(users):
        if index < count:
            chosen.append(user)
        elif (replaced := rng.randrange(index + 1)) < count:
            chosen[replaced] = user
    return chosen


def compare(
    users: Iterable[UserTraits],
    backends: Iterable[IdentityBackend | Route],
    *,
    options: Mapping[str, DeliveryOptions] | None = None,
    ignore_extra: bool = False,
    on_difference: OnDifference | None = None,
    on_result: OnResult | None = None,
    transport: SenderFactory = concurrent_sender,
) -> ComparisonReport:
    """Compare *users* with what each vendor stores, and count the differences.

    Args:
        users: What the vendors should store.
        backends: Backends, or routes to them, with distinct names. What a route filters out is not compared.
        options: Delivery options by name of the backend.
        ignore_extra: Ignore traits that only the vendor has.
        on_difference: Called with each user who differs at a vendor, and the comparison.
        on_result: Called once for each user and backend.
        transport: Factory for the concurrent sender; receives the maximum number of connections.

    Raises:
        ConfigurationError: There is no backend, or two have the same name.
    """
    routes = as_routes(backends)
    supported = [route for route in routes if isinstance(route.backend, SupportsCompare)]
    unsupported = tuple(route.name for route in routes if route not in supported)
    with ExitStack() as stack:
        comparers: list[_BackendComparer] = []
        for route, own_users in zip(supported, tee(users, len(supported)), strict=True):
            chosen = (options or {}).get(route.name) or DeliveryOptions()
            connection = make_transport(transport, chosen)
            stack.callback(connection.close)
            comparers.append(
                _BackendComparer(route, own_users, connection, chosen.patience, ignore_extra, on_difference, on_result)
            )
        while busy := [comparer for comparer in comparers if comparer.submit()]:
            for comparer in busy:
                comparer.transport.poll(_POLL_INTERVAL_S)
    return ComparisonReport({comparer.route.name: comparer.counts for comparer in comparers}, unsupported)


def make_transport(make_sender: SenderFactory, options: DeliveryOptions) -> ConcurrentTransport:
    """Return a transport with these options; the caller closes it."""
    return ConcurrentTransport(
        make_sender(options.connections), make_limiter(options), retry=make_retry(options), timeout=options.timeout
    )


@attrs.define
class _BackendComparer:
    """Compares users with those of one vendor, many at once."""

    route: Route
    users: Iterator[UserTraits]
    transport: ConcurrentTransport
    patience: float
    ignore_extra: bool
    on_difference: OnDifference | None
    on_result: OnResult | None
    counts: BackendComparison = attrs.field(init=False, factory=BackendComparison)

    def submit(self) -> bool:
        """Submit as many users as may be in flight; return False once there are no more users and responses."""
        limiter = self.transport.limiter
        if (problem := describe_outage(limiter, self.patience)) is not None:
            self._give_up(problem)
        while limiter.allows(self.transport.in_flight) and (user := next(self.users, None)) is not None:
            self.transport.submit(_compare_user(self.route, user), partial(self._handle, user))
        return self.transport.in_flight > 0

    def _handle(self, user: UserTraits, result: Comparison | Outcome) -> None:
        if self.on_result is not None:
            self.on_result()
        if not isinstance(result, Comparison):
            self.counts.unanswered.add(result)
            if isinstance(result, Misconfigured):
                self._give_up(explain(result))
            return
        if self.ignore_extra:
            result = attrs.evolve(result, extra=())
        self.counts.add(result)
        if self.on_difference is not None and not result.is_same:
            self.on_difference(user, result)

    def _give_up(self, problem: str) -> None:
        """Submit no more users; responses to requests in flight still count."""
        if self.counts.problem is None:
            self.counts.problem = problem
            self.users = iter(())
            self.transport.stop()


def _compare_user(route: Route, user: UserTraits) -> Exchange[Comparison | Outcome]:
    """Compare what the backend may see of *user*."""
    try:
        seen = route.apply(user)
        if not isinstance(seen, UserTraits):
            return seen
        backend: Any = route.backend
        exchange: Exchange[object] = backend.compare(seen)
        result = yield from exchange
    except Exception as error:  # noqa: BLE001  # A bug in one adapter must not hide another's result.
        return adapter_error(route.name, error)
    if isinstance(result, Comparison) and result.backend == route.name:
        return result
    return checked_outcome(route.name, result)
