"""Whether the vendors hold of users what they should, by asking them."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import tee
from typing import Any, Final, TypeAlias

import attrs

from ..adapters.exchange import Exchange
from ..adapters.protocols import Comparison, SupportsCompare
from ..adapters.responses import adapter_error, checked_outcome
from ..outcomes import Misconfigured, Outcome, explain
from ..retry import RetryPolicy
from ..router import Route, as_routes
from ..traits import UserTraits
from ..transport import ConcurrentSender, ConcurrentTransport, concurrent_sender
from ..transport.rate_limiter import AdaptiveLimiter
from .dry_runs import BackendOrRoute
from .options import DeliveryOptions
from .stats import MOST_PATHS, OTHER, BackendStats, most_frequent

OnDifference: TypeAlias = Callable[[UserTraits, Comparison], None]
OnAnswer: TypeAlias = Callable[[], None]

# Seconds that one vendor is listened to before it is the next one's turn.
_TICK: Final = 0.01
_ATTEMPTS: Final = 4


@attrs.define
class BackendComparison:
    """How what one vendor holds differs from what it should.

    Attributes:
        compared: Users whom the vendor told of.
        same: Users of whom it holds what it should.
        missing: Users whom it does not have.
        different: Users of whom it holds something else.
        differing: Users by path at which it holds another value.
        absent: Users by path at which it holds none.
        extra: Users by path at which it holds one too many.
        unanswered: What came of the users whom it did not tell of.
        problem: Why the vendor was not asked about the rest, or None.
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
            counts.update({self._bounded(path) for path in paths})

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON has them, the most frequent first."""
        return {
            **{name: getattr(self, name) for name in ("compared", "same", "missing", "different", "problem")},
            **{name: dict(most_frequent(getattr(self, name))) for name in ("differing", "absent", "extra")},
            "unanswered": self.unanswered.as_dict(),
        }

    def _bounded(self, path: str) -> str:
        if path not in self._paths:
            if len(self._paths) >= MOST_PATHS:
                return OTHER
            self._paths.add(path)
        return path


@attrs.frozen
class ComparisonReport:
    """How what the vendors hold differs from what they should.

    Attributes:
        backends: The counts by name of the backend.
        unsupported: Names of the backends that cannot be compared.
    """

    backends: Mapping[str, BackendComparison]
    unsupported: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Tell whether every vendor holds what it should of all whom it told of."""
        return all(backend.compared == backend.same for backend in self.backends.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON has them."""
        backends = {name: backend.as_dict() for name, backend in self.backends.items()}
        return {"backends": backends, "unsupported": self.unsupported}


def sample(users: Iterable[UserTraits], count: int, *, seed: int | None = None) -> list[UserTraits]:
    """Return so many of *users*, each as likely as any other, and the same ones for the same *seed*."""
    dice = random.Random(seed)  # noqa: S311  # Nobody gains by guessing it.
    chosen: list[UserTraits] = []
    for index, user in enumerate(users):
        if index < count:
            chosen.append(user)
        elif (row_id := dice.randrange(index + 1)) < count:
            chosen[row_id] = user
    return chosen


def compare(  # Two to give, and one for each thing that may be set or listened to.
    users: Iterable[UserTraits],
    targets: Iterable[BackendOrRoute],
    *,
    options: Mapping[str, DeliveryOptions] | None = None,
    ignore_extra: bool = False,
    on_difference: OnDifference | None = None,
    on_answer: OnAnswer | None = None,
    transport: Callable[[int], ConcurrentSender] = concurrent_sender,
) -> ComparisonReport:
    """Ask every backend that can tell what its vendor holds of *users*, and count what differs.

    Args:
        users: What the vendors should hold.
        targets: Backends, or routes to them; their names must differ. What a route keeps away is not compared.
        options: How fast and how patiently, by name of the backend.
        ignore_extra: Whether what a vendor holds beyond what it should is no difference.
        on_difference: Is told each user who differs at a vendor, and how.
        on_answer: Is called once for each user and backend.
        transport: Makes what sends so many requests at once.

    Raises:
        ConfigurationError: There is no backend, or two have one name.
    """
    routes = as_routes(targets)
    asked = [route for route in routes if isinstance(route.backend, SupportsCompare)]
    unsupported = tuple(route.name for route in routes if route not in asked)
    with ExitStack() as stack:
        readings: list[_BackendComparer] = []
        for route, own_users in zip(asked, tee(users, len(asked)), strict=True):
            chosen = (options or {}).get(route.name) or DeliveryOptions()
            connection = _transport(transport(chosen.connections), chosen)
            stack.callback(connection.close)
            reading = _BackendComparer(
                route, own_users, connection, chosen.patience, ignore_extra, on_difference, on_answer
            )
            readings.append(reading)
        while busy := [reading for reading in readings if reading.go_on()]:
            for reading in busy:
                reading.transport.poll(_TICK)
    return ComparisonReport({reading.route.name: reading.counts for reading in readings}, unsupported)


def _transport(sender: ConcurrentSender, options: DeliveryOptions) -> ConcurrentTransport:
    first, longest = options.wait_initial, options.wait_max
    limiter = AdaptiveLimiter(options.connections, options.requests_per_minute, wait_initial=first, wait_max=longest)
    retry = RetryPolicy(_ATTEMPTS, wait_initial=first, wait_max=longest, total=1e9)
    return ConcurrentTransport(sender, limiter, retry=retry, timeout=options.timeout)


@attrs.define
class _BackendComparer:
    """One vendor that is asked about users, many at once."""

    route: Route
    users: Iterator[UserTraits]
    transport: ConcurrentTransport
    patience: float
    ignore_extra: bool
    on_difference: OnDifference | None
    on_answer: OnAnswer | None
    counts: BackendComparison = attrs.field(init=False, factory=BackendComparison)

    def go_on(self) -> bool:
        """Ask about as many users as may be in flight, and tell whether any answer is still to come."""
        limiter = self.transport.limiter
        if limiter.failure is not None and limiter.failing_for > self.patience:
            self._give_up(f"nothing but failures for {self.patience:g} s, the last one {limiter.failure.cause}")
        while limiter.allows(self.transport.in_flight) and (user := next(self.users, None)) is not None:
            self.transport.submit(_compared(self.route, user), partial(self._handle, user))
        return self.transport.in_flight > 0

    def _handle(self, user: UserTraits, answer: Comparison | Outcome) -> None:
        if self.on_answer is not None:
            self.on_answer()
        if not isinstance(answer, Comparison):
            self.counts.unanswered.add(answer)
            if isinstance(answer, Misconfigured):
                self._give_up(explain(answer))
            return
        if self.ignore_extra:
            answer = attrs.evolve(answer, extra=())
        self.counts.add(answer)
        if self.on_difference is not None and not answer.is_same:
            self.on_difference(user, answer)

    def _give_up(self, problem: str) -> None:
        """Ask about nobody else; the answers under way are still counted."""
        if self.counts.problem is None:
            self.counts.problem = problem
            self.users = iter(())
            self.transport.stop()


def _compared(route: Route, user: UserTraits) -> Exchange[Comparison | Outcome]:
    """Compare what the backend may see of *user*; one adapter's bug must not hide another's answer."""
    try:
        seen = route.apply(user)
        if not isinstance(seen, UserTraits):
            return seen
        backend: Any = route.backend
        exchange: Exchange[object] = backend.compare(seen)
        answer = yield from exchange
    except Exception as error:  # noqa: BLE001  # As above.
        return adapter_error(route.name, error)
    return (
        answer
        if isinstance(answer, Comparison) and answer.backend == route.name
        else checked_outcome(route.name, answer)
    )
